//! One partition in this process: its state, who watches it, and how far it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use journal::Lsn;

use crate::frontier::{Applied, Frontier};
use crate::partition::Partition;
use crate::watch::{Hub, Wakes, WatchLimits};

/// Those that this process has had.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// A copy of a partition. The follower writes it; everyone else reads, waits and watches.
pub(crate) struct Replica {
    pub(crate) partition: Arc<Partition>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) frontier: Arc<Frontier>,
    /// No other of this process has it.
    pub(crate) number: u64,
}

impl Replica {
    /// `partition` stands at `applied`.
    pub(crate) fn new(partition: Partition, applied: Applied, limits: WatchLimits) -> Replica {
        let partition = Arc::new(partition);
        let hub = Arc::new(Hub::new(&partition, applied.revision, limits));
        let number = COUNT.fetch_add(1, Relaxed) + 1;
        Replica { partition, hub, frontier: Arc::new(Frontier::new(applied)), number }
    }

    /// Whether the follower applies what comes behind `lsn` to it next.
    pub(crate) fn stands_at(&self, lsn: Lsn) -> bool {
        self.frontier.applied().lsn == lsn
    }

    /// It is served no longer: who waits or watches looks for another. Who reads, reads on.
    pub(crate) fn retire(&self, wakes: &mut Wakes) {
        self.hub.move_away(wakes);
        self.frontier.close();
    }
}
