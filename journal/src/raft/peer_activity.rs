//! Activity of the other members as one node sees it: since when each has been connected without a break.
//!
//!     silent ──message──► connected since t ──message──► connected since t
//!                             │
//!                             └─ broken connection, or no message for `SILENCE_MAX` ──► silent
//!
//! A request that is not answered in time breaks nothing: a busy member is connected. A leader decides by it whether the
//! members may change, as etcd does (`--strict-reconfig-check`). Nothing that must be true rests on it.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;

/// Time that a member must have been connected before it counts when members change: etcd's `HealthInterval`.
pub(super) const HEALTH_INTERVAL: Duration = Duration::from_secs(5);

/// Longest silence of a connected member. Two followers exchange messages every five seconds
/// (`introduction::EXCHANGE_INTERVAL`), and one of these may be lost.
const SILENCE_MAX: Duration = Duration::from_secs(12);

/// Period in which messages of a member came without a break.
#[derive(Clone, Copy, Debug)]
struct Connected {
    since: Duration,
    last_message: Duration,
}

/// Activity of every other member, by node id. Bounded by the number of members.
#[derive(Debug, Default)]
pub(super) struct PeerActivity {
    peers: Mutex<BTreeMap<u64, Connected>>,
}

impl PeerActivity {
    /// Records a message of the peer, be it a request or a response.
    pub(super) fn record_message(&self, peer: u64, now: Duration) {
        let mut peers = self.peers.lock();
        let connected = peers.entry(peer).or_insert(Connected { since: now, last_message: now });
        if SILENCE_MAX < now.saturating_sub(connected.last_message) {
            connected.since = now;
        }
        connected.last_message = now;
    }

    /// Records that a connection to the peer broke, or could not be made.
    pub(super) fn record_break(&self, peer: u64) {
        self.peers.lock().remove(&peer);
    }

    /// Forgets the peers that are no members.
    pub(super) fn retain(&self, is_member: impl Fn(u64) -> bool) {
        self.peers.lock().retain(|peer, _| is_member(*peer));
    }

    /// Returns true where a message of the peer came within this time, and no connection to it broke since.
    pub(super) fn is_heard(&self, peer: u64, now: Duration, within: Duration) -> bool {
        self.peers
            .lock()
            .get(&peer)
            .is_some_and(|connected| now.saturating_sub(connected.last_message) < within)
    }

    /// Returns true where the peer has been connected for `HEALTH_INTERVAL` or longer.
    pub(super) fn is_steady(&self, peer: u64, now: Duration) -> bool {
        let connected = self.peers.lock().get(&peer).copied();
        connected.is_some_and(|Connected { since, last_message }| {
            now.saturating_sub(last_message) <= SILENCE_MAX && HEALTH_INTERVAL < now.saturating_sub(since)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: u64 = 7;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_member_is_steady_after_the_health_interval_without_a_break() {
        let activity = PeerActivity::default();
        assert!(!activity.is_steady(PEER, seconds(100)), "it was never connected");
        (10..=15).for_each(|second| activity.record_message(PEER, seconds(second)));
        assert!(!activity.is_steady(PEER, seconds(15)));
        assert!(activity.is_steady(PEER, seconds(16)));
        assert!(activity.is_heard(PEER, seconds(16), seconds(2)));
        assert!(!activity.is_heard(PEER, seconds(17), seconds(2)));
        activity.record_break(PEER);
        assert!(!activity.is_heard(PEER, seconds(16), seconds(2)));
        assert!(!activity.is_steady(PEER, seconds(16)));
        activity.record_message(PEER, seconds(17));
        assert!(!activity.is_steady(PEER, seconds(22)) && activity.is_steady(PEER, seconds(23)));
    }

    #[test]
    fn a_silent_member_begins_anew() {
        let activity = PeerActivity::default();
        activity.record_message(PEER, seconds(10));
        assert!(activity.is_steady(PEER, seconds(22)) && !activity.is_steady(PEER, seconds(23)));
        activity.record_message(PEER, seconds(23));
        assert!(!activity.is_steady(PEER, seconds(28)) && activity.is_steady(PEER, seconds(29)));
    }

    #[test]
    fn members_that_left_are_forgotten() {
        let activity = PeerActivity::default();
        (1..=3).for_each(|peer| activity.record_message(peer, seconds(0)));
        activity.retain(|peer| peer == 2);
        assert!([1, 2, 3].map(|peer| activity.is_steady(peer, seconds(6))) == [false, true, false]);
    }
}
