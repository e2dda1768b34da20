//! How long a leader may be silent, for Raft and for what stands around it.
//!
//!     last word ├──── lease ────┤ lookout asks
//!               ├──── lease ────┼─ shortest ─┬─ longest ─┤ Raft elects

use std::time::Duration;

use crate::config::Config;

/// What the timers around Raft go by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timers {
    /// As it is configured.
    pub(crate) election_timeout: Duration,
    /// For so long after a leader's word a voter elects nobody else.
    pub(crate) lease: Duration,
}

impl Timers {
    pub(crate) fn of(config: &Config) -> Timers {
        let (_, longest) = elections(config);
        Timers { election_timeout: config.election_timeout, lease: Duration::from_millis(longest) }
    }
}

/// The shortest and the longest, in milliseconds.
///
/// A follower first waits for its leader's lease, which lasts as long as the longest election timeout, and then for its
/// own: Raft misses a leader after five eighths to three quarters of what is configured, and `lookout` sooner. Voters who
/// hear of it say so in the pre-vote, so it does no harm to ask them soon.
pub(super) fn elections(config: &Config) -> (u64, u64) {
    let shortest = (milliseconds(config.election_timeout) / 4).max(milliseconds(config.heartbeat) + 1);
    (shortest, shortest + (shortest / 2).max(1))
}

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
