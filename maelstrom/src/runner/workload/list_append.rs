//! txn-list-append: few keys with many values each, so that whatever gets lost is missed.

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::keys::Keys;
use super::{Fields, Workload};
use crate::check::Findings;
use crate::check::list_append::{Act, Operation, Txn, check};
use crate::runner::message::{integer, integers};

const ACTS_MAX: usize = 4;

#[derive(Debug)]
pub struct ListAppend {
    keys: Keys,
    value: i64,
    last: Option<Vec<i64>>,
}

impl Default for ListAppend {
    fn default() -> Self {
        Self { keys: Keys::new(6, 100), value: 0, last: None }
    }
}

impl Workload for ListAppend {
    type Call = Txn;
    type Answer = Txn;

    fn next(&mut self, _: usize, random: &mut StdRng) -> Txn {
        let acts = (0..random.random_range(1..=ACTS_MAX)).map(|_| {
            let key = self.keys.draw(random);
            if random.random() {
                return Act::Read { key, list: None };
            }
            self.keys.spend(key, 1);
            self.value += 1;
            Act::Append { key, value: self.value }
        });
        Txn(acts.collect())
    }

    /// Reads every key there was.
    fn next_final(&mut self, _: usize) -> Option<Txn> {
        let keys = self.last.get_or_insert_with(|| self.keys.used());
        let some = keys.split_off(keys.len().saturating_sub(ACTS_MAX));
        let reads = some.into_iter().map(|key| Act::Read { key, list: None });
        Some(Txn(reads.collect())).filter(|txn| !txn.0.is_empty())
    }

    fn ended(&mut self, _: usize, _: &Operation) {}

    fn kind(_: &Txn) -> &'static str {
        "txn"
    }

    fn request(call: &Txn) -> Value {
        let acts = call.0.iter().map(|act| match act {
            Act::Append { key, value } => json!(["append", key, value]),
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
    match (act, &parts[2]) {
        (Act::Append { key, value }, told)
            if what == "append" && on == *key && integer(told) == Ok(*value) =>
        {
            Ok(act.clone())
        }
        (Act::Read { key, .. }, Value::Null) if what == "r" && on == *key => {
            Ok(Act::Read { key: on, list: Some(Vec::new()) })
        }
        (Act::Read { key, .. }, Value::Array(list)) if what == "r" && on == *key => {
            Ok(Act::Read { key: on, list: Some(integers(list)?) })
        }
        _ => Err(format!("{told} is no answer to: {}", Txn(vec![act.clone()]))),
    }
}
