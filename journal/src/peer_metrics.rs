//! Figures that a node keeps of the others: plain counters that anybody may read at any time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// Bounds of round trips, each twice the one before: those of etcd's histogram.
const BOUNDS: usize = 16;
const FIRST_BOUND: Duration = Duration::from_micros(100);

/// Of one other node.
#[derive(Debug, Default)]
pub struct PeerMetrics {
    /// What was not answered, or not in time.
    pub failures: AtomicU64,
    /// Bytes of messages, without what carries them.
    pub sent_bytes: AtomicU64,
    pub received_bytes: AtomicU64,
    counts: [AtomicU64; BOUNDS + 1],
    sum_nanoseconds: AtomicU64,
}

impl PeerMetrics {
    /// A heartbeat was answered.
    pub(crate) fn answered(&self, took: Duration) {
        let bucket = (0..BOUNDS).find(|&bucket| took <= bound(bucket)).unwrap_or(BOUNDS);
        add(&self.counts[bucket], 1);
        add(&self.sum_nanoseconds, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn failed(&self) {
        add(&self.failures, 1);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        add(&self.sent_bytes, bytes as u64);
    }

    pub(crate) fn received(&self, bytes: usize) {
        add(&self.received_bytes, bytes as u64);
    }

    /// Round trips of heartbeats: how many took at most each bound and longer than the one before. The last bound
    /// is `None`: as long as you like.
    pub fn round_trips(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        let bounds = (0..BOUNDS).map(|bucket| Some(bound(bucket))).chain([None]);
        bounds.zip(&self.counts).map(|(bound, count)| (bound, count.load(Ordering::Relaxed)))
    }

    /// What all of them took together.
    #[must_use]
    pub fn round_trips_sum(&self) -> Duration {
        Duration::from_nanos(self.sum_nanoseconds.load(Ordering::Relaxed))
    }
}

fn bound(bucket: usize) -> Duration {
    FIRST_BOUND * (1 << bucket)
}

fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

/// Of all other nodes. Only members are counted, so that nobody can make up more of them.
#[derive(Debug, Default)]
pub struct PeersMetrics {
    peers: Mutex<BTreeMap<u64, Arc<PeerMetrics>>>,
}

impl PeersMetrics {
    /// These are the other nodes from now on.
    pub(crate) fn learn(&self, peers: impl Iterator<Item = u64>) {
        let mut known = self.peers.lock();
        *known = peers.map(|id| (id, known.get(&id).cloned().unwrap_or_default())).collect();
    }

    pub(crate) fn of(&self, peer: u64) -> Option<Arc<PeerMetrics>> {
        self.peers.lock().get(&peer).cloned()
    }

    /// In the order of their ids.
    #[must_use]
    pub fn all(&self) -> Vec<(u64, Arc<PeerMetrics>)> {
        self.peers.lock().iter().map(|(id, peer)| (*id, peer.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_falls_into_the_first_bound_that_it_keeps() {
        let peer = PeerMetrics::default();
        for micros in [100, 101, 3_276_800, 3_276_801] {
            peer.answered(Duration::from_micros(micros));
        }
        let counts: Vec<u64> = peer.round_trips().map(|(_, count)| count).collect();
        assert_eq!((counts[0], counts[1], counts[15], counts[16]), (1, 1, 1, 1));
        assert_eq!(peer.round_trips_sum(), Duration::from_micros(100 + 101 + 2 * 3_276_800 + 1));
    }

    #[test]
    fn what_is_known_of_a_member_stays_and_strangers_are_not_counted() {
        let peers = PeersMetrics::default();
        peers.learn([1, 2].into_iter());
        peers.of(2).expect("it is a member").failed();
        peers.learn([2, 3].into_iter());
        assert!(peers.of(1).is_none());
        assert_eq!(peers.of(2).expect("it is a member").failures.load(Ordering::Relaxed), 1);
    }
}
