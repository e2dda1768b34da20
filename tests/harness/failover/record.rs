//! What clients know of their writes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Why an attempt came to nothing without a word of the member.
pub(super) const CONNECTION_LOST: &str = "connection lost";
pub(super) const NO_ANSWER: &str = "no answer";
pub(super) const NOT_CONNECTED: &str = "not connected";

/// How a write is made, which says how often it may have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// A transaction that puts the key if it is not there: once, however often it is tried.
    Guarded,
    /// A put. Each attempt of unknown outcome may have happened.
    Put,
}

impl Way {
    pub(super) fn of(number: u64) -> Way {
        if number.is_multiple_of(2) { Way::Guarded } else { Way::Put }
    }
}

/// One write, when its client has done with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) number: u64,
    pub(super) due: Instant,
    /// `None`: no member acknowledged it before its deadline.
    pub(super) acknowledged: Option<Instant>,
    /// How often it may have happened.
    pub(super) attempts: u32,
}

/// All writes of a load.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) written: Vec<Written>,
    /// Attempts that were not acknowledged, by why.
    pub(super) complaints: BTreeMap<String, u64>,
    /// The newest moment at which a write was begun that is acknowledged.
    pub(super) newest: Option<Instant>,
}

impl Record {
    pub(super) fn complain(&mut self, of: String) {
        *self.complaints.entry(of).or_default() += 1;
    }

    pub(super) fn acknowledged(&self) -> impl Iterator<Item = Instant> {
        self.written.iter().filter_map(|written| written.acknowledged)
    }

    /// The time that one in a hundred acknowledged writes took, at least.
    pub(super) fn p99(&self) -> Duration {
        let took = |written: &Written| Some(written.acknowledged?.duration_since(written.due));
        let mut took: Vec<Duration> = self.written.iter().filter_map(took).collect();
        took.sort_unstable();
        took.get(took.len() * 99 / 100).copied().unwrap_or_default()
    }

    /// The longest time without an acknowledgement, and when it began.
    pub(super) fn longest_gap(&self) -> (Duration, Instant) {
        let mut moments: Vec<Instant> = self.acknowledged().collect();
        moments.sort_unstable();
        let gaps = moments.windows(2).map(|pair| (pair[1] - pair[0], pair[0]));
        gaps.max().unwrap_or((Duration::ZERO, Instant::now()))
    }
}
