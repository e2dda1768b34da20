//! kafka: every slot sends, reads on from where it is, and now and then commits that and asks how far others are.
//! After the faults each slot reads its share of the keys from the beginning until there is no more.

use std::collections::BTreeMap;

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Map, Value, json};

use super::keys::Keys;
use super::{Fields, Workload};
use crate::check::Findings;
use crate::check::history::Phase;
use crate::check::kafka::{Answer, Call, Offsets, Operation, check};
use crate::runner::message::integer;

#[derive(Debug)]
pub struct Kafka {
    keys: Keys,
    message: i64,
    /// By slot: from where it reads on.
    positions: BTreeMap<usize, Offsets>,
    /// What is left to read after the faults, each key from where.
    rest: Option<Offsets>,
}

impl Default for Kafka {
    fn default() -> Self {
        Self { keys: Keys::new(4, 300), message: 0, positions: BTreeMap::new(), rest: None }
    }
}

impl Kafka {
    fn active(&self, random: &mut StdRng) -> String {
        self.keys.draw(random).to_string()
    }

    fn poll(&self, slot: usize, random: &mut StdRng) -> Call {
        let known = self.positions.get(&slot);
        let from = (0..2).map(|_| {
            let key = self.active(random);
            let position = known.and_then(|known| known.get(&key)).copied().unwrap_or_default();
            (key, position)
        });
        Call::Poll { from: from.collect() }
    }

    /// Up to what the slot has read.
    fn commit(&self, slot: usize, random: &mut StdRng) -> Option<Call> {
        let key = self.active(random);
        let position = *self.positions.get(&slot)?.get(&key)?;
        Some(Call::Commit { offsets: Offsets::from([(key, position - 1)]) })
    }
}

impl Workload for Kafka {
    type Call = Call;
    type Answer = Answer;

    fn next(&mut self, slot: usize, random: &mut StdRng) -> Call {
        let drawn = match random.random_range(0..10) {
            0..4 => Some(self.poll(slot, random)),
            4 => self.commit(slot, random),
            5 => Some(Call::ListCommitted { keys: vec![self.active(random)] }),
            _ => None,
        };
        drawn.unwrap_or_else(|| {
            let key = self.keys.draw(random);
            self.keys.spend(key, 1);
            self.message += 1;
            Call::Send { key: key.to_string(), message: self.message }
        })
    }

    fn next_final(&mut self, _: usize) -> Option<Call> {
        let used = || self.keys.used().into_iter().map(|key| (key.to_string(), 0)).collect();
        let (key, from) = self.rest.get_or_insert_with(used).pop_first()?;
        Some(Call::Poll { from: Offsets::from([(key, from)]) })
    }

    fn ended(&mut self, slot: usize, operation: &Operation) {
        let Some(Answer::Messages(messages)) = operation.answer() else { return };
        for (key, list) in messages {
            let Some((offset, _)) = list.last() else { continue };
            let next = offset.saturating_add(1);
            if operation.phase == Phase::Final {
                self.rest.get_or_insert_default().insert(key.clone(), next);
            } else {
                self.positions.entry(slot).or_default().insert(key.clone(), next);
            }
        }
    }

    fn kind(call: &Call) -> &'static str {
        match call {
            Call::Send { .. } => "send",
            Call::Poll { .. } => "poll",
            Call::Commit { .. } => "commit_offsets",
            Call::ListCommitted { .. } => "list_committed_offsets",
        }
    }

    fn request(call: &Call) -> Value {
        match call {
            Call::Send { key, message } => json!({"key": key, "msg": message}),
            Call::Poll { from: offsets } | Call::Commit { offsets } => json!({"offsets": offsets}),
            Call::ListCommitted { keys } => json!({"keys": keys}),
        }
    }

    fn answer(call: &Call, fields: &mut Fields) -> Result<Answer, String> {
        Ok(match call {
            Call::Send { .. } => Answer::Offset(fields.integer("offset")?),
            Call::Poll { .. } => Answer::Messages(messages(fields.object("msgs")?)?),
            Call::Commit { .. } => Answer::Done,
            Call::ListCommitted { .. } => {
                let offsets = fields.object("offsets")?.into_iter();
                Answer::Committed(
                    offsets.map(|(key, at)| Ok((key, integer(&at)?))).collect::<Result<_, String>>()?,
                )
            }
        })
    }

    fn check(history: &[Operation]) -> Findings {
        check(history)
    }
}

fn messages(told: Map<String, Value>) -> Result<BTreeMap<String, Vec<(i64, i64)>>, String> {
    let pair = |pair: &Value| match pair.as_array().map(Vec::as_slice) {
        Some([offset, message]) => Ok((integer(offset)?, integer(message)?)),
        _ => Err(format!("{pair} is no pair of an offset and a message")),
    };
    let keys = told.into_iter().map(|(key, list)| {
        let list = list.as_array().ok_or_else(|| format!("the messages of {key} are no list"))?;
        Ok((key, list.iter().map(pair).collect::<Result<_, String>>()?))
    });
    keys.collect()
}
