//! Since when memstores do not answer, and whether anybody else sees them.
//!
//!     silent ── 50 s ──► missing ──► doubted, in the routes ── 10 s ──► gone
//!       ▲                                     │ another frontend vouches
//!       └─────────────────────────────────────┘
//!
//! So a frontend that is cut off from a memstore asks again every minute, and takes nothing away from it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::plan::Presence;

/// One that does not answer for so long may not be there. A restart takes less.
const MISSING_AFTER: Duration = Duration::from_secs(50);
/// How long other frontends may take to vouch for it: they look every two seconds at the least.
const VOUCHED_WITHIN: Duration = Duration::from_secs(10);

/// Those that do not answer, by their ids.
#[derive(Debug, Default)]
pub(super) struct Absences {
    absent: BTreeMap<u64, Absence>,
}

#[derive(Debug)]
struct Absence {
    since: Instant,
    doubted: Option<Instant>,
}

impl Absences {
    /// The memstore answers.
    pub(super) fn end(&mut self, id: u64) {
        self.absent.remove(&id);
    }

    /// This frontend has journaled its doubt. Others may vouch for the memstore before it looks again.
    pub(super) fn doubts(&mut self, id: u64, now: Instant) {
        if let Some(absence) = self.absent.get_mut(&id) {
            absence.doubted.get_or_insert(now);
        }
    }

    /// What it means that the memstore does not answer, which is doubted in the routes, or is not.
    pub(super) fn see(&mut self, id: u64, is_doubted: bool, now: Instant) -> Presence {
        let absence = self.absent.entry(id).or_insert(Absence { since: now, doubted: None });
        match (is_doubted, absence.doubted) {
            (true, None) => absence.doubted = Some(now),
            (true, Some(_)) | (false, None) => {}
            (false, Some(_)) => *absence = Absence { since: now, doubted: None },
        }
        let is_missing = MISSING_AFTER <= now.duration_since(absence.since);
        let stands = |doubted| VOUCHED_WITHIN <= now.duration_since(doubted);
        match (is_missing, absence.doubted) {
            (false, _) => Presence::Away,
            (true, Some(doubted)) if stands(doubted) => Presence::Gone,
            (true, _) => Presence::Missing,
        }
    }

    /// Forgets the others.
    pub(super) fn keep(&mut self, is_known: impl Fn(u64) -> bool) {
        self.absent.retain(|id, _| is_known(*id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memstore_is_gone_when_nobody_vouches_for_it_in_time() {
        let (mut absences, start) = (Absences::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(absences.see(1, false, at(0)), Presence::Away, "nobody knows since when");
        assert_eq!(absences.see(1, false, at(49)), Presence::Away);
        assert_eq!(absences.see(1, false, at(50)), Presence::Missing);
        assert_eq!(absences.see(1, true, at(52)), Presence::Missing);
        assert_eq!(absences.see(1, true, at(61)), Presence::Missing);
        assert_eq!(absences.see(1, true, at(62)), Presence::Gone);
        absences.end(1);
        assert_eq!(absences.see(1, false, at(63)), Presence::Away);
        absences.keep(|id| id != 1);
        assert_eq!(absences.see(1, false, at(200)), Presence::Away, "it is another one");
    }

    #[test]
    fn who_vouches_at_once_is_heard() {
        let (mut absences, start) = (Absences::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        absences.see(1, false, at(0));
        assert_eq!(absences.see(1, false, at(50)), Presence::Missing);
        absences.doubts(1, at(50));
        assert_eq!(absences.see(1, false, at(51)), Presence::Away);
        assert_eq!(absences.see(1, false, at(101)), Presence::Missing, "that is long ago");
    }

    #[test]
    fn what_others_see_is_not_gone() {
        let (mut absences, start) = (Absences::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        absences.see(1, false, at(0));
        assert_eq!(absences.see(1, true, at(50)), Presence::Missing);
        assert_eq!(absences.see(1, false, at(55)), Presence::Away, "somebody has vouched for it");
        assert_eq!(absences.see(1, true, at(60)), Presence::Away, "another one doubts it; this one waits");
        assert_eq!(absences.see(1, true, at(105)), Presence::Gone);
    }
}
