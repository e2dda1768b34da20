//! Figures of the follower's work, for the operator.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use journal::Histogram;

/// What the follower counts. Anybody may read it at any time.
#[derive(Debug, Default)]
pub struct ApplyMetrics {
    /// How long each entry took to be applied to all partitions, and told to their watchers.
    pub took: Histogram,
    /// Entries that took longer than they should.
    pub slow: AtomicU64,
    /// Entries should not take longer: those that do are logged. `None`: however long.
    pub(crate) slow_after: Option<Duration>,
}
