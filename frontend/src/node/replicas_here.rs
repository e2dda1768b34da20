//! What this process's memstore should hold, and whether it does.

use std::sync::Arc;

use journal::Lsn;
use memstore::{Error, Memstore, PartitionRange};
use tokio::sync::watch;

/// The memstore, and what it is wanted for. Cheap to clone.
#[derive(Clone)]
pub(super) struct ReplicasHere {
    pub(super) memstore: Memstore,
    wanted: watch::Receiver<Arc<[PartitionRange]>>,
}

impl ReplicasHere {
    pub(super) fn new(memstore: Memstore, wanted: watch::Receiver<Arc<[PartitionRange]>>) -> ReplicasHere {
        ReplicasHere { memstore, wanted }
    }

    /// Waits until it serves everything that it should, as far as `lsn`. What that is may change meanwhile.
    ///
    /// # Errors
    /// `Closed`, and what keeps a memstore from going on.
    pub(super) async fn catch_up(&self, lsn: Lsn) -> Result<(), Error> {
        let mut wanted = self.wanted.clone();
        let mut serves = self.memstore.partitions();
        loop {
            let wants = wanted.borrow_and_update().clone();
            if wants.iter().all(|range| serves.contains(range)) {
                break;
            }
            tokio::select! {
                others = self.memstore.other_partitions(&serves) => serves = others,
                changed = wanted.changed() => changed.map_err(|_| Error::Closed)?,
            }
        }
        for partition in serves.iter() {
            match self.memstore.wait(partition.id, lsn).await {
                // Others hold its keys by now.
                Ok(_) | Err(Error::WrongPartition) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
