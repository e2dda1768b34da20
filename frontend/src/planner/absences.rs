//! Since when memstores do not answer.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::plan::Presence;

/// One that does not answer for so long counts as not there. A restart takes less.
const GONE_AFTER: Duration = Duration::from_secs(60);

/// Those that do not answer, by their ids.
#[derive(Debug, Default)]
pub(super) struct Absences {
    since: BTreeMap<u64, Instant>,
}

impl Absences {
    /// What it means that the memstore is up now, or is not. `None`: it is there.
    pub(super) fn see(&mut self, id: u64, is_up: bool, now: Instant) -> Option<Presence> {
        if is_up {
            self.since.remove(&id);
            return None;
        }
        let since = *self.since.entry(id).or_insert(now);
        Some(if GONE_AFTER <= now.duration_since(since) { Presence::Gone } else { Presence::Away })
    }

    /// Forgets the others.
    pub(super) fn keep(&mut self, is_known: impl Fn(u64) -> bool) {
        self.since.retain(|id, _| is_known(*id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memstore_is_gone_after_a_minute_without_a_word() {
        let (mut absences, start) = (Absences::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(absences.see(1, false, at(0)), Some(Presence::Away), "nobody knows since when");
        assert_eq!(absences.see(1, false, at(59)), Some(Presence::Away));
        assert_eq!(absences.see(1, false, at(60)), Some(Presence::Gone));
        assert_eq!(absences.see(1, true, at(61)), None);
        assert_eq!(absences.see(1, false, at(62)), Some(Presence::Away));
        absences.keep(|id| id != 1);
        assert_eq!(absences.see(1, false, at(200)), Some(Presence::Away), "it is another one");
    }
}
