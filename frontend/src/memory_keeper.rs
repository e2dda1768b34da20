//! Looks at this process's memory, so that what makes it grow is refused before the system ends it.
//!
//!     resident, answers ──► Memory ──► growth: the quota, here and in frontends elsewhere; answers: `grpc/answer_room.rs`
//!
//! A memstore tells of itself in its reports. A frontend refuses growth while any memstore is short: whatever is
//! written, all that hold the keys have to keep.

use std::sync::Arc;
use std::time::Duration;

use memstore::{Memory, Memstore};
use tokio_util::sync::CancellationToken;

use crate::grpc::AnswerRoom;
use crate::metrics::process::anonymous_bytes;
use crate::store::Store;

/// How often it is looked at. Meanwhile a process grows by some tens of megabytes at the most.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The task.
pub(crate) struct MemoryKeeper {
    pub(crate) memory: Arc<Memory>,
    pub(crate) answers: Arc<AnswerRoom>,
    /// The one in this process.
    pub(crate) memstore: Option<Memstore>,
    /// What clients are answered from, where there are any.
    pub(crate) store: Option<Store>,
}

impl MemoryKeeper {
    /// Runs until `closing`.
    pub(crate) async fn run(self, closing: CancellationToken) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        while closing.run_until_cancelled(looks.tick()).await.is_some() {
            self.look();
        }
    }

    fn look(&self) {
        let keys = self.memstore.as_ref().map_or(0, Memstore::bytes_in_use);
        // Where the system does not tell, there is no limit either.
        let resident = anonymous_bytes().unwrap_or_default().saturating_sub(self.answers.made());
        if self.memory.see(resident, keys) && self.memstore.is_some() {
            tell(&self.memory, resident, keys);
        }
        if let Some(store) = &self.store {
            store.quota().heed_memory(store.routes().is_short_of_memory());
        }
    }
}

fn tell(memory: &Memory, resident: u64, keys: u64) {
    let limit = memory.limit();
    if memory.is_short() {
        tracing::warn!(
            resident,
            limit,
            keys,
            "this memstore's memory is nearly used up, so nothing is taken that makes it grow: delete keys and compact, \
             give it more memory, or cut its partitions and add a memstore (--memory-limit-bytes says what it may use)"
        );
    } else {
        tracing::info!(resident, limit, keys, "there is memory again: writes are taken");
    }
}
