//! How long a planned step waits until it is taken.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::plan::{Step, Why};

/// For so long the same step has to be the next one, unless it is urgent.
const SETTLES_IN: Duration = Duration::from_secs(3);

/// The same of a replica too many that somebody else has made: it is on its way from one memstore to another, and whoever
/// moves it knows which one goes. Behind this he has given up.
const OTHERS_END_IN: Duration = Duration::from_secs(60);

/// The step that waits, and since when.
#[derive(Debug, Default)]
pub(super) struct Patience {
    waits: Option<(Step, Instant)>,
    /// Partitions that have more replicas because this planner wanted it.
    grown: BTreeSet<u64>,
}

impl Patience {
    /// The step that is planned now, once it is time to take it.
    pub(super) fn ripe(&mut self, planned: Option<Step>, now: Instant) -> Option<Step> {
        let step = planned.or_else(|| {
            self.waits = None;
            None
        })?;
        let since = self.waits.filter(|(waits, _)| is_same(waits, &step)).map_or(now, |(_, since)| since);
        let is_ripe = step.is_urgent() || self.settles_in(&step) <= now.duration_since(since);
        self.waits = (!is_ripe).then_some((step, since));
        is_ripe.then_some(step)
    }

    /// This planner has taken the step.
    pub(super) fn taken(&mut self, step: &Step) {
        match step {
            Step::Add { partition, .. } => drop(self.grown.insert(*partition)),
            Step::Remove { partition, .. } => drop(self.grown.remove(partition)),
            Step::Split { .. } | Step::Forget { .. } | Step::Doubt { .. } | Step::Vouch { .. } => {}
        }
    }

    /// Forgets partitions that are not there any more.
    pub(super) fn keep(&mut self, is_there: impl Fn(u64) -> bool) {
        self.grown.retain(|partition| is_there(*partition));
    }

    fn settles_in(&self, step: &Step) -> Duration {
        match step {
            Step::Remove { partition, why: Why::Excess, .. } if !self.grown.contains(partition) => {
                OTHERS_END_IN
            }
            _ => SETTLES_IN,
        }
    }
}

/// Which of the replicas is one too many may change from moment to moment while they are about alike.
fn is_same(a: &Step, b: &Step) -> bool {
    match (a, b) {
        (
            Step::Remove { partition: a, why: Why::Excess, .. },
            Step::Remove { partition: b, why: Why::Excess, .. },
        ) => a == b,
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADD: Step = Step::Add { partition: 1, memstore: 1, why: Why::Lacking };

    fn remove(memstore: u64, why: Why) -> Option<Step> {
        Some(Step::Remove { partition: 1, memstore, why })
    }

    #[test]
    fn a_step_is_taken_that_stays_the_next_one() {
        let (mut patience, start) = (Patience::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let remove = |memstore| remove(memstore, Why::Gone);
        assert_eq!(patience.ripe(remove(1), at(0)), None);
        assert_eq!(patience.ripe(remove(1), at(2)), None);
        assert_eq!(patience.ripe(remove(2), at(3)), None, "it is another one");
        assert_eq!(patience.ripe(None, at(4)), None);
        assert_eq!(patience.ripe(remove(2), at(5)), None, "it was not, in between");
        assert_eq!(patience.ripe(remove(2), at(8)), remove(2));
        assert_eq!(patience.ripe(remove(2), at(9)), None, "it is a second one");
        assert_eq!(patience.ripe(Some(ADD), at(10)), Some(ADD));
    }

    #[test]
    fn what_somebody_else_moves_is_left_to_him_for_a_while() {
        let (mut patience, start) = (Patience::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let remove = |memstore| remove(memstore, Why::Excess);
        assert_eq!(patience.ripe(remove(1), at(0)), None);
        assert_eq!(patience.ripe(remove(2), at(30)), None, "they are about alike");
        assert_eq!(patience.ripe(remove(1), at(59)), None);
        assert_eq!(patience.ripe(remove(1), at(60)), remove(1), "he has given up");

        patience.taken(&ADD);
        assert_eq!(patience.ripe(remove(1), at(70)), None);
        assert_eq!(patience.ripe(remove(1), at(73)), remove(1), "it was this planner's own wish");
        patience.taken(&remove(1).expect("a step"));
        assert_eq!(patience.ripe(remove(2), at(80)), None);
        assert_eq!(patience.ripe(remove(2), at(90)), None, "what comes now is another's");
        patience.taken(&ADD);
        patience.keep(|_| false);
        assert_eq!(patience.ripe(remove(2), at(93)), None);
        assert_eq!(patience.grown.len(), 0);
    }
}
