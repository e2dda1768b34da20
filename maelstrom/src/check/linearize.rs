//! Whether one register's operations can have happened one after the other, each between its call and its answer.
//!
//! Walks the history in time with all configurations that explain it so far: the register's state, and which of the
//! open operations have happened. At an answer only those are kept in which that operation has happened; what else
//! happened before it is tried out then and no earlier (Lowe's just-in-time linearization). Two things keep the set small:
//! an observation that fits happens at once, since it changes nothing, and of several unanswered operations that do the
//! same the earliest goes first, since they can stand in for each other.

use std::collections::{HashSet, VecDeque};

use super::history::Moment;

/// What an operation does to a register. An absent register is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Is(Option<i64>),
    /// It exists and holds something else: why a compare-and-set was refused.
    ExistsNot(i64),
    Write(i64),
    CompareAndSet {
        from: i64,
        to: i64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub effect: Effect,
    pub invoked: Moment,
    /// `None`: at any later time, or never.
    pub answered: Option<Moment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Linearizability {
    Yes,
    /// The first operation whose answer nothing explains, with what the register may have held and what was open then.
    No {
        span: usize,
        states: Vec<Option<i64>>,
        open: Vec<usize>,
    },
    Unknown {
        why: &'static str,
    },
}

/// Steps after which we give up. A step takes some microseconds.
pub const STEPS_MAX: usize = 3_000_000;

/// As many as a word has bits.
const OPEN_MAX: usize = 64;

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Configuration {
    state: Option<i64>,
    /// Bit n: the operation in slot n has happened, though it is still open.
    happened: u64,
}

struct Walk<'a> {
    spans: &'a [Span],
    /// The open operations; one that is never answered stays.
    slots: [Option<usize>; OPEN_MAX],
    configurations: HashSet<Configuration>,
    steps_left: usize,
}

pub fn linearize(spans: &[Span]) -> Linearizability {
    linearize_within(spans, STEPS_MAX)
}

fn linearize_within(spans: &[Span], steps_max: usize) -> Linearizability {
    let mut walk = Walk {
        spans,
        slots: [None; OPEN_MAX],
        configurations: HashSet::from([Configuration { state: None, happened: 0 }]),
        steps_left: steps_max,
    };
    for (_, answered, span) in in_time(spans) {
        let outcome = if answered { walk.answer(span) } else { walk.invoke(span) };
        if outcome != Linearizability::Yes {
            return outcome;
        }
    }
    Linearizability::Yes
}

/// Calls before answers of the same moment: they may overlap.
fn in_time(spans: &[Span]) -> Vec<(Moment, bool, usize)> {
    let mut events = Vec::with_capacity(2 * spans.len());
    for (index, span) in spans.iter().enumerate() {
        // An observation that was never told to anybody says nothing.
        if span.answered.is_none() && matches!(span.effect, Effect::Is(_) | Effect::ExistsNot(_)) {
            continue;
        }
        events.push((span.invoked, false, index));
        events.extend(span.answered.map(|at| (at, true, index)));
    }
    events.sort_unstable();
    events
}

impl Walk<'_> {
    fn invoke(&mut self, span: usize) -> Linearizability {
        let Some(free) = self.slots.iter().position(Option::is_none) else {
            return Linearizability::Unknown { why: "more than 64 operations are open on one key" };
        };
        self.slots[free] = Some(span);
        let before = std::mem::take(&mut self.configurations);
        self.configurations = before.into_iter().map(|configuration| self.observed(configuration)).collect();
        Linearizability::Yes
    }

    fn answer(&mut self, span: usize) -> Linearizability {
        let slot = self.slots.iter().position(|open| *open == Some(span)).expect("it was invoked before");
        let before = std::mem::take(&mut self.configurations);
        let mut after = HashSet::new();
        let mut seen: HashSet<Configuration> = before.iter().copied().collect();
        let mut waiting: VecDeque<Configuration> = before.iter().copied().collect();
        while let Some(configuration) = waiting.pop_front() {
            if configuration.happened & (1 << slot) != 0 {
                after.insert(Configuration {
                    happened: configuration.happened & !(1 << slot),
                    ..configuration
                });
                continue;
            }
            let Some(left) = self.steps_left.checked_sub(1) else {
                return Linearizability::Unknown { why: "too many orders of concurrent operations to try" };
            };
            self.steps_left = left;
            for next in self.successors(configuration) {
                if seen.insert(next) {
                    waiting.push_back(next);
                }
            }
        }
        if after.is_empty() {
            return self.unexplained(span, &before);
        }
        self.slots[slot] = None;
        self.configurations = after;
        Linearizability::Yes
    }

    fn unexplained(&self, span: usize, before: &HashSet<Configuration>) -> Linearizability {
        let mut states: Vec<_> = before.iter().map(|configuration| configuration.state).collect();
        states.sort_unstable();
        states.dedup();
        let open = self.slots.iter().flatten().copied().filter(|open| *open != span).collect();
        Linearizability::No { span, states, open }
    }

    /// One more of the open operations happens.
    fn successors(&self, configuration: Configuration) -> Vec<Configuration> {
        let mut next = Vec::new();
        for (slot, span) in self.open(configuration) {
            let Some(state) = apply(self.spans[span].effect, configuration.state) else { continue };
            // Nobody needs an unanswered operation to happen that changes nothing, or before its twin.
            let unanswered = self.spans[span].answered.is_none();
            if unanswered && (state == configuration.state || self.has_earlier_twin(span, configuration)) {
                continue;
            }
            let happened = configuration.happened | (1 << slot);
            next.push(self.observed(Configuration { state, happened }));
        }
        next
    }

    fn has_earlier_twin(&self, span: usize, configuration: Configuration) -> bool {
        let this = &self.spans[span];
        let mut others = self.open(configuration).map(|(_, other)| (other, &self.spans[other]));
        others.any(|(other, twin)| {
            twin.answered.is_none()
                && twin.effect == this.effect
                && (twin.invoked, other) < (this.invoked, span)
        })
    }

    /// The same with all observations made that fit.
    fn observed(&self, configuration: Configuration) -> Configuration {
        let mut happened = configuration.happened;
        for (slot, span) in self.open(configuration) {
            let effect = self.spans[span].effect;
            let observes = matches!(effect, Effect::Is(_) | Effect::ExistsNot(_));
            if observes && apply(effect, configuration.state).is_some() {
                happened |= 1 << slot;
            }
        }
        Configuration { happened, ..configuration }
    }

    /// Those that have not happened yet.
    fn open(&self, configuration: Configuration) -> impl Iterator<Item = (usize, usize)> {
        let open = self.slots.iter().enumerate().filter_map(|(slot, span)| span.map(|span| (slot, span)));
        open.filter(move |(slot, _)| configuration.happened & (1 << slot) == 0)
    }
}

/// The state afterwards, if the operation can have had this effect in this state.
fn apply(effect: Effect, state: Option<i64>) -> Option<Option<i64>> {
    let fits = match effect {
        Effect::Is(value) => state == value,
        Effect::ExistsNot(value) => state.is_some_and(|held| held != value),
        Effect::Write(_) => true,
        Effect::CompareAndSet { from, .. } => state == Some(from),
    };
    fits.then_some(match effect {
        Effect::Is(_) | Effect::ExistsNot(_) => state,
        Effect::Write(value) | Effect::CompareAndSet { to: value, .. } => Some(value),
    })
}

#[cfg(test)]
mod tests;
