//! How long a planned step waits until it is taken.

use std::time::{Duration, Instant};

use crate::plan::Step;

/// For so long the same step has to be the next one, unless it is urgent.
const SETTLES_IN: Duration = Duration::from_secs(3);

/// The step that waits, and since when.
#[derive(Debug, Default)]
pub(super) struct Patience {
    waits: Option<(Step, Instant)>,
}

impl Patience {
    /// The step that is planned now, once it is time to take it.
    pub(super) fn ripe(&mut self, planned: Option<Step>, now: Instant) -> Option<Step> {
        let step = planned.or_else(|| {
            self.waits = None;
            None
        })?;
        let since = self.waits.filter(|(waits, _)| *waits == step).map_or(now, |(_, since)| since);
        let is_ripe = step.is_urgent() || SETTLES_IN <= now.duration_since(since);
        self.waits = (!is_ripe).then_some((step, since));
        is_ripe.then_some(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Why;

    #[test]
    fn a_step_is_taken_that_stays_the_next_one() {
        let (mut patience, start) = (Patience::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let remove = |memstore| Some(Step::Remove { partition: 1, memstore, why: Why::Excess });
        assert_eq!(patience.ripe(remove(1), at(0)), None);
        assert_eq!(patience.ripe(remove(1), at(2)), None);
        assert_eq!(patience.ripe(remove(2), at(3)), None, "it is another one");
        assert_eq!(patience.ripe(None, at(4)), None);
        assert_eq!(patience.ripe(remove(2), at(5)), None, "it was not, in between");
        assert_eq!(patience.ripe(remove(2), at(8)), remove(2));
        assert_eq!(patience.ripe(remove(2), at(9)), None, "it is a second one");
        let add = Some(Step::Add { partition: 1, memstore: 1, why: Why::Lacking });
        assert_eq!(patience.ripe(add, at(10)), add);
    }
}
