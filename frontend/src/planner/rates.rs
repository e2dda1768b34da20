//! How often partitions are written to, by what their memstores have counted.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Over so long at least: what is over in a moment is no reason to cut anything.
const WINDOW: Duration = Duration::from_secs(10);

/// The counts of each partition in each memstore.
#[derive(Debug, Default)]
pub(super) struct Rates {
    counted: BTreeMap<(u64, u64), Counted>,
}

#[derive(Debug)]
struct Counted {
    since: Instant,
    writes: u64,
    /// Of the window before.
    per_second: Option<u64>,
}

impl Rates {
    /// What a memstore has counted by now, named by partition and memstore.
    pub(super) fn see(&mut self, of: (u64, u64), writes: u64, now: Instant) {
        let begun = Counted { since: now, writes, per_second: None };
        let counted = self.counted.entry(of).or_insert(begun);
        let window = now.duration_since(counted.since);
        if writes < counted.writes {
            // It has begun to count anew.
            *counted = Counted { since: now, writes, per_second: None };
        } else if WINDOW <= window {
            let per_second = (writes - counted.writes) / window.as_secs().max(1);
            *counted = Counted { since: now, writes, per_second: Some(per_second) };
        }
    }

    /// Forgets the partitions that are not `known`.
    pub(super) fn keep(&mut self, known: impl Fn(u64) -> bool) {
        self.counted.retain(|(partition, _), _| known(*partition));
    }

    /// Writes per second, as far as it is known. A replica that has just caught up has counted more than there was.
    pub(super) fn of(&self, partition: u64) -> u64 {
        let counted = self.counted.range((partition, 0)..=(partition, u64::MAX));
        counted.filter_map(|(_, counted)| counted.per_second).min().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_whole_windows_and_of_the_slowest_replica() {
        let (mut rates, start) = (Rates::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        rates.see((1, 7), 100, at(0));
        rates.see((1, 7), 900, at(9));
        assert_eq!(rates.of(1), 0, "the window is not over");
        rates.see((1, 7), 1_100, at(10));
        assert_eq!((rates.of(1), rates.of(2)), (100, 0));
        rates.see((1, 8), 0, at(10));
        rates.see((1, 8), 500, at(20));
        assert_eq!(rates.of(1), 50);
        rates.see((1, 8), 10, at(21));
        assert_eq!(rates.of(1), 100, "it was started anew");
        rates.keep(|partition| partition != 1);
        assert_eq!(rates.of(1), 0);
    }
}
