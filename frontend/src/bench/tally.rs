//! What was measured: latencies by operation, failures by kind.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::failure::{Failure, Kind};

/// What a client did, or what a watcher was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Put,
    Get,
    /// A put that is guarded by the revision of its key.
    Update,
    /// One page of a list.
    Page,
    /// Its latency is from the beginning of the put to its arrival at one watcher.
    Event,
}

/// What there is to say of a success beside its latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// All as expected.
    Plain,
    /// A get found nothing.
    Absent,
    /// An update found a newer revision than it knew, and wrote nothing.
    Conflict,
}

/// One thread's, and in the end everybody's.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) latencies: BTreeMap<Operation, Histogram<u64>>,
    pub(super) failures: BTreeMap<Kind, Failures>,
    pub(super) absent: u64,
    pub(super) conflicts: u64,
    pub(super) last: Option<Instant>,
}

/// How often something failed, and how it was put the first time.
#[derive(Debug)]
pub(super) struct Failures {
    pub(super) count: u64,
    pub(super) text: String,
}

impl Operation {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Update => "update",
            Self::Page => "page",
            Self::Event => "event",
        }
    }
}

impl Tally {
    pub(super) fn succeed(&mut self, operation: Operation, answer: Answer, latency: Duration, now: Instant) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.latencies.entry(operation).or_insert_with(histogram).saturating_record(nanoseconds);
        match answer {
            Answer::Plain => {}
            Answer::Absent => self.absent += 1,
            Answer::Conflict => self.conflicts += 1,
        }
        self.last = self.last.max(Some(now));
    }

    pub(super) fn fail(&mut self, failure: Failure) {
        let first = Failures { count: 0, text: failure.text };
        self.failures.entry(failure.kind).or_insert(first).count += 1;
    }

    pub(super) fn add(&mut self, other: Self) {
        for (operation, latencies) in other.latencies {
            let sum = self.latencies.entry(operation).or_insert_with(histogram);
            sum.add(latencies).expect("all have the same bounds");
        }
        for (kind, failures) in other.failures {
            let sum = self.failures.entry(kind).or_insert(Failures { count: 0, text: failures.text });
            sum.count += failures.count;
        }
        self.absent += other.absent;
        self.conflicts += other.conflicts;
        self.last = self.last.max(other.last);
    }

    /// Answers to clients: what watchers were told is counted apart.
    pub(super) fn operations(&self) -> u64 {
        self.latencies.values().map(Histogram::len).sum::<u64>() - self.events()
    }

    pub(super) fn events(&self) -> u64 {
        self.latencies.get(&Operation::Event).map_or(0, Histogram::len)
    }

    /// Each of them is an event to every watcher.
    pub(super) fn written(&self) -> u64 {
        let writes = [Operation::Put, Operation::Update].map(|operation| self.latencies.get(&operation));
        writes.into_iter().flatten().map(Histogram::len).sum::<u64>() - self.conflicts
    }

    pub(super) fn failed(&self) -> u64 {
        self.failures.values().map(|failures| failures.count).sum()
    }
}

/// Nanoseconds, from one microsecond to ten minutes, exact to one in a thousand.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 600_000_000_000, 3).expect("the bounds are in order")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_tallies_make_one() {
        let now = Instant::now();
        let mut sum = Tally::default();
        for milliseconds in [1, 3] {
            let mut tally = Tally::default();
            tally.succeed(Operation::Put, Answer::Plain, Duration::from_millis(milliseconds), now);
            tally.succeed(Operation::Get, Answer::Absent, Duration::from_millis(milliseconds), now);
            tally.succeed(Operation::Event, Answer::Plain, Duration::from_millis(milliseconds), now);
            tally.fail(Failure::timeout());
            sum.add(tally);
        }
        assert_eq!((sum.operations(), sum.events(), sum.failed(), sum.absent), (4, 2, 2, 2));
        assert_eq!(sum.latencies[&Operation::Put].max() / 10_000, 300, "the slower of the two");
    }
}
