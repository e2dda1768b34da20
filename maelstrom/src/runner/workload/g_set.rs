//! g-set: mostly adds, each of another element, and a last read by every slot.

use std::collections::BTreeSet;

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::{Fields, Workload};
use crate::check::Findings;
use crate::check::g_set::{Answer, Call, Operation, check};
use crate::runner::message::integers;

#[derive(Debug, Default)]
pub struct GSet {
    element: i64,
    /// The slots that have read for the last time.
    read: BTreeSet<usize>,
}

impl GSet {
    /// Another element than all before.
    pub(super) fn add(&mut self) -> Call {
        self.element += 1;
        Call::Add { element: self.element }
    }
}

impl Workload for GSet {
    type Call = Call;
    type Answer = Answer;

    fn next(&mut self, _: usize, random: &mut StdRng) -> Call {
        if random.random_ratio(1, 10) {
            return Call::Read;
        }
        self.add()
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
            Call::Add { element } => json!({"element": element}),
            Call::Read => json!({}),
        }
    }

    fn answer(call: &Call, fields: &mut Fields) -> Result<Answer, String> {
        Ok(match call {
            Call::Add { .. } => Answer::Done,
            Call::Read => Answer::Elements(integers(&fields.list("value")?)?),
        })
    }

    fn check(history: &[Operation]) -> Findings {
        check(history)
    }
}
