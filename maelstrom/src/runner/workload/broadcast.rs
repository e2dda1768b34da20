//! broadcast: messages that every node is to know in the end. What must hold is what holds of a set that grows. There is
//! no topology: each slot begins with a message, by which its node learns what is played.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::g_set::GSet;
use super::{Fields, Workload};
use crate::check::Findings;
use crate::check::g_set::{Answer, Call, Operation, check};
use crate::runner::message::integers;

#[derive(Debug, Default)]
pub struct Broadcast {
    messages: GSet,
    /// The slots that have begun.
    begun: BTreeSet<usize>,
}

impl Workload for Broadcast {
    type Call = Call;
    type Answer = Answer;

    fn next(&mut self, slot: usize, random: &mut StdRng) -> Call {
        if self.begun.insert(slot) { self.messages.add() } else { self.messages.next(slot, random) }
    }

    fn next_final(&mut self, slot: usize) -> Option<Call> {
        self.messages.next_final(slot)
    }

    fn kind(call: &Call) -> &'static str {
        match call {
            Call::Add { .. } => "broadcast",
            Call::Read => "read",
        }
    }

    fn request(call: &Call) -> Value {
        match call {
            Call::Add { element } => json!({"message": element}),
            Call::Read => json!({}),
        }
    }

    fn answer(call: &Call, fields: &mut Fields) -> Result<Answer, String> {
        Ok(match call {
            Call::Add { .. } => Answer::Done,
            Call::Read => Answer::Elements(integers(&fields.list("messages")?)?),
        })
    }

    fn check(history: &[Operation]) -> Findings {
        check(history)
    }
}
