//! txn-rw-register: transactions that read and write registers, each value once.

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::keys::Keys;
use super::{Fields, Workload};
use crate::check::Findings;
use crate::check::rw_register::{Act, Operation, Txn, check};
use crate::runner::message::integer;

const ACTS_MAX: usize = 4;

#[derive(Debug)]
pub struct RwRegister {
    keys: Keys,
    value: i64,
    last: Option<Vec<i64>>,
}

impl Default for RwRegister {
    fn default() -> Self {
        Self { keys: Keys::new(6, 32), value: 0, last: None }
    }
}

impl Workload for RwRegister {
    type Call = Txn;
    type Answer = Txn;

    fn next(&mut self, _: usize, random: &mut StdRng) -> Txn {
        let acts = (0..random.random_range(1..=ACTS_MAX)).map(|_| {
            let key = self.keys.draw(random);
            if random.random() {
                return Act::Read { key, value: None };
            }
            self.keys.spend(key, 1);
            self.value += 1;
            Act::Write { key, value: self.value }
        });
        Txn(acts.collect())
    }

    /// Reads every key there was.
    fn next_final(&mut self, _: usize) -> Option<Txn> {
        let keys = self.last.get_or_insert_with(|| self.keys.used());
        let some = keys.split_off(keys.len().saturating_sub(ACTS_MAX));
        let reads = some.into_iter().map(|key| Act::Read { key, value: None });
        Some(Txn(reads.collect())).filter(|txn| !txn.0.is_empty())
    }

    fn ended(&mut self, _: usize, _: &Operation) {}

    fn kind(_: &Txn) -> &'static str {
        "txn"
    }

    fn request(call: &Txn) -> Value {
        let acts = call.0.iter().map(|act| match act {
            Act::Write { key, value } => json!(["w", key, value]),
            Act::Read { key, .. } => json!(["r", key, null]),
        });
        json!({"txn": acts.collect::<Vec<_>>()})
    }

    fn answer(call: &Txn, fields: &mut Fields) -> Result<Txn, String> {
        let told = fields.list("txn")?;
        if told.len() != call.0.len() {
            return Err(format!("the txn has {} operations instead of {}", told.len(), call.0.len()));
        }
        let acts = call.0.iter().zip(&told).map(|(act, told)| answered(act, told));
        Ok(Txn(acts.collect::<Result<_, _>>()?))
    }

    fn check(history: &[Operation]) -> Findings {
        check(history)
    }
}

fn answered(act: &Act, told: &Value) -> Result<Act, String> {
    let parts = told.as_array().filter(|parts| parts.len() == 3).ok_or("an operation has three parts")?;
    let (what, on) = (parts[0].as_str().unwrap_or_default(), integer(&parts[1])?);
    match act {
        Act::Write { key, value } if what == "w" && on == *key && integer(&parts[2]) == Ok(*value) => {
            Ok(*act)
        }
        Act::Read { key, .. } if what == "r" && on == *key && parts[2].is_null() => {
            Ok(Act::Read { key: on, value: Some(None) })
        }
        Act::Read { key, .. } if what == "r" && on == *key => {
            Ok(Act::Read { key: on, value: Some(Some(integer(&parts[2])?)) })
        }
        _ => Err(format!("{told} is no answer to: {}", Txn(vec![*act]))),
    }
}
