//! Figures that the log keeps of itself: plain counters that anybody may read at any time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// From 1/32 ms to 8.192 s, four steps in each doubling: every bound of etcd's histograms is among them.
const BOUNDS: usize = 18 * 4 + 1;

/// How long something took, counted.
#[derive(Debug)]
pub struct Histogram {
    counts: [AtomicU64; BOUNDS + 1],
    sum_nanoseconds: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { counts: [const { AtomicU64::new(0) }; BOUNDS + 1], sum_nanoseconds: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Counts one observation.
    pub fn observe(&self, took: Duration) {
        let bucket = (0..BOUNDS).find(|&bucket| took <= bound(bucket)).unwrap_or(BOUNDS);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.sum_nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// How many took at most `upto`, for any bound `0.001 s * 2^k` with k from -5 to 13.
    #[must_use]
    pub fn at_most(&self, upto: Duration) -> u64 {
        (0..BOUNDS).filter(|&bucket| bound(bucket) <= upto).map(|bucket| self.count_in(bucket)).sum()
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        (0..=BOUNDS).map(|bucket| self.count_in(bucket)).sum()
    }

    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_nanoseconds.load(Ordering::Relaxed))
    }

    fn count_in(&self, bucket: usize) -> u64 {
        self.counts[bucket].load(Ordering::Relaxed)
    }
}

/// The longest time that bucket counts.
fn bound(bucket: usize) -> Duration {
    let (doublings, quarters) = (bucket / 4, bucket % 4);
    Duration::from_nanos((31_250 << doublings) / 4 * (4 + quarters as u64))
}

/// How long the tasks of a thread kept it from doing anything else, and the longest of that.
#[derive(Debug, Default)]
pub struct Pauses {
    /// Each poll of a task.
    pub took: Histogram,
    longest_nanoseconds: AtomicU64,
}

impl Pauses {
    /// Counts one poll.
    pub fn observe(&self, took: Duration) {
        self.took.observe(took);
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        // Read before it is written: almost none is longer than all before it.
        if self.longest_nanoseconds.load(Ordering::Relaxed) < nanoseconds {
            self.longest_nanoseconds.fetch_max(nanoseconds, Ordering::Relaxed);
        }
    }

    /// The longest since the process began.
    #[must_use]
    pub fn longest(&self) -> Duration {
        Duration::from_nanos(self.longest_nanoseconds.load(Ordering::Relaxed))
    }
}

/// The figures of the log and of what waits for it.
#[derive(Debug, Default)]
pub struct LogMetrics {
    /// Each write that waited for the disk.
    pub syncs: Histogram,
    /// What was written, with padding.
    pub written_bytes: AtomicU64,
    /// Appends that wait for their commit, as the sequencer last saw it.
    pub pending: AtomicU64,
    /// Each turn of the sequencer's task: one event, and all that follows from it.
    pub turns: Histogram,
    /// Each poll of a task on the journal's thread.
    pub pauses: Pauses,
}

impl LogMetrics {
    pub(crate) fn written(&self, bytes: usize) {
        self.written_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_of_etcd_are_exact() {
        let histogram = Histogram::default();
        for k in 0..14 {
            let etcd = Duration::from_millis(1 << k);
            assert!((0..BOUNDS).any(|bucket| bound(bucket) == etcd), "{etcd:?}");
            histogram.observe(etcd);
            assert_eq!(histogram.at_most(etcd), k + 1);
        }
        histogram.observe(Duration::from_secs(60));
        assert_eq!(histogram.count(), 15);
    }
}
