//! pn-counter and g-counter: additions and reads of one sum, and a last read by every slot.

use std::collections::BTreeSet;

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::{Fields, Workload};
use crate::check::Findings;
use crate::check::counter::{Answer, Call, Operation, check};

#[derive(Debug)]
pub struct Counter {
    /// A g-counter's is not negative.
    least: i64,
    /// The slots that have read for the last time.
    read: BTreeSet<usize>,
}

impl Counter {
    pub fn growing() -> Self {
        Self { least: 0, read: BTreeSet::new() }
    }

    pub fn of_both_signs() -> Self {
        Self { least: -5, read: BTreeSet::new() }
    }
}

impl Workload for Counter {
    type Call = Call;
    type Answer = Answer;

    fn next(&mut self, _: usize, random: &mut StdRng) -> Call {
        if random.random_ratio(1, 10) {
            return Call::Read;
        }
        Call::Add { delta: random.random_range(self.least..5) }
    }

    fn next_final(&mut self, slot: usize) -> Option<Call> {
        self.read.insert(slot).then_some(Call::Read)
    }

    fn kind(call: &Call) -> &'static str {
        match call {
            Call::Add { .. } => "add",
            Call::Read => "read",
        }
    }

    fn request(call: &Call) -> Value {
        match call {
            Call::Add { delta } => json!({"delta": delta}),
            Call::Read => json!({}),
        }
    }

    fn answer(call: &Call, fields: &mut Fields) -> Result<Answer, String> {
        Ok(match call {
            Call::Add { .. } => Answer::Done,
            Call::Read => Answer::Value(fields.integer("value")?),
        })
    }

    fn check(history: &[Operation]) -> Findings {
        check(history)
    }
}
