//! Looks at this process's memory, so that what makes it grow is refused before the system ends it.
//!
//!     resident, answers ──► Memory ──► growth: the quota, here and in frontends elsewhere; answers: `grpc/answer_room.rs`
//!
//! A memstore tells of itself in its reports, and a frontend heeds that at once: whatever is written on the way is on
//! top of what was nearly too much. It refuses growth while any memstore is short, since all that hold the keys have
//! to keep them.

use std::sync::Arc;
use std::time::Duration;

use memstore::{Memory, Memstore};
use tokio_util::sync::CancellationToken;

use crate::store::Store;

/// How often it is looked at. Meanwhile a process grows by some tens of megabytes at the most.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The same where little is left. A look takes some ten microseconds.
const LOOK_CLOSELY_EVERY: Duration = Duration::from_millis(10);

/// The task.
pub(crate) struct MemoryKeeper {
    pub(crate) memory: Arc<Memory>,
    /// The one in this process.
    pub(crate) memstore: Option<Memstore>,
    /// What clients are answered from, where there are any.
    pub(crate) store: Option<Store>,
}

impl MemoryKeeper {
    /// Runs until `closing`.
    pub(crate) async fn run(self, closing: CancellationToken) {
        tokio::select! {
            () = self.keep_looking() => {}
            () = self.keep_heeding() => {}
            () = closing.cancelled() => {}
        }
    }

    async fn keep_looking(&self) {
        loop {
            self.look();
            let pause = if self.memory.is_close() { LOOK_CLOSELY_EVERY } else { LOOK_EVERY };
            tokio::time::sleep(pause).await;
        }
    }

    /// What memstores say, those elsewhere and the one in this process.
    async fn keep_heeding(&self) {
        let Some(store) = &self.store else { return std::future::pending().await };
        loop {
            let short = store.routes().is_short_of_memory();
            store.quota().heed_memory(short);
            store.routes().memory_turned_from(short).await;
        }
    }

    fn look(&self) {
        let keys = self.memstore.as_ref().map_or(0, Memstore::bytes_in_use);
        // Where the system does not tell, there is no limit either.
        let resident = self.memory.measure().unwrap_or_default();
        if self.memory.see(resident, keys) && self.memstore.is_some() {
            tell(&self.memory, resident, keys);
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
