//! Figures of the follower's work, for the operator.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use journal::{Histogram, Pauses};

/// What the follower counts. Anybody may read it at any time.
#[derive(Debug, Default)]
pub struct ApplyMetrics {
    /// How long each entry took to be applied to all partitions, and told to their watchers.
    pub took: Histogram,
    /// How long each poll of a task took on the thread that applies: for so long nothing else happened there.
    pub pauses: Pauses,
    /// The most versions that a poll has worked on.
    #[cfg(test)]
    pub(crate) most_work: AtomicU64,
    /// Entries that took longer than they should.
    pub slow: AtomicU64,
    /// Entries should not take longer: those that do are logged. `None`: however long.
    pub(crate) slow_after: Option<Duration>,
}
