//! Whether a memstore still follows the journal. One that doesn't takes itself out, as far as others can answer.

use std::time::Duration;

use journal::Lsn;

/// How long nothing may come although the journal is further, or although nobody says how far that is.
const SILENCE_MAX: Duration = Duration::from_secs(1);

/// What was seen of it.
#[derive(Debug, Default)]
pub(super) struct Following {
    reached: Lsn,
    /// Since when it has stood still.
    stands_since: Option<Duration>,
}

impl Following {
    /// Takes note of what is applied, and of how far the journal is, as far as anybody says so. Answers whether the
    /// memstore has lost it.
    pub(super) fn is_lost(&mut self, now: Duration, applied: Lsn, journal: Option<Lsn>) -> bool {
        let has_all = journal.is_some_and(|journal| journal <= applied);
        if has_all || applied != self.reached {
            self.stands_since = None;
        }
        self.reached = applied;
        if has_all {
            return false;
        }
        let since = *self.stands_since.get_or_insert(now);
        SILENCE_MAX <= now.saturating_sub(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Milliseconds, what is applied, how far the journal is, and whether it is lost then.
    #[track_caller]
    fn check(steps: &[(u64, u64, Option<u64>, bool)]) {
        let mut following = Following::default();
        for (ms, applied, journal, lost) in steps {
            let now = Duration::from_millis(*ms);
            assert_eq!(following.is_lost(now, Lsn(*applied), journal.map(Lsn)), *lost, "at {ms} ms");
        }
    }

    #[test]
    fn one_that_has_everything_is_not_lost_however_long_nothing_happens() {
        check(&[(0, 5, Some(5), false), (9_000, 5, Some(5), false), (9_100, 5, Some(6), false)]);
    }

    #[test]
    fn one_that_lags_and_goes_on_is_not_lost() {
        check(&[(0, 5, Some(900), false), (900, 6, Some(999), false), (1_800, 7, Some(2_000), false)]);
    }

    #[test]
    fn one_that_stands_behind_the_journal_is_lost_until_it_goes_on() {
        check(&[
            (0, 5, Some(6), false),
            (900, 5, Some(7), false),
            (1_000, 5, Some(8), true),
            (1_100, 6, Some(8), false),
            (2_000, 6, Some(8), false),
            (2_100, 6, Some(8), true),
            (2_200, 8, Some(8), false),
        ]);
    }

    #[test]
    fn one_to_which_nobody_says_how_far_the_journal_is_is_lost_after_a_while() {
        check(&[
            (0, 5, None, false),
            (999, 5, None, false),
            (1_000, 5, None, true),
            (1_001, 5, Some(5), false),
        ]);
    }
}
