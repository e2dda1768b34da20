//! Transactions of up to four reads and writes on few keys, each value written once; at the end every key there was is
//! read.

use std::marker::PhantomData;

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::keys::Keys;
use super::{Fields, Workload};
use crate::check::Findings;
use crate::check::txn::{Act, Operation, Txn};
use crate::runner::message::integer;

const ACTS_MAX: usize = 4;

/// What a workload's acts are in the protocol.
pub trait Spoken: Act {
    /// How a write is asked for.
    const WRITE: &'static str;
    /// How many writes a key takes before another one takes its place.
    const WRITES_MAX: u32;

    /// A read of `key` that was answered so. `None`: no read is.
    fn answered(key: i64, told: &Value) -> Result<Option<Self>, String>;

    fn check(history: &[Operation<Self>]) -> Findings;
}

#[derive(Debug)]
pub struct Transactions<A> {
    keys: Keys,
    value: i64,
    last: Option<Vec<i64>>,
    acts: PhantomData<A>,
}

impl<A: Spoken> Default for Transactions<A> {
    fn default() -> Self {
        Self { keys: Keys::new(6, A::WRITES_MAX), value: 0, last: None, acts: PhantomData }
    }
}

impl<A: Spoken> Workload for Transactions<A> {
    type Call = Txn<A>;
    type Answer = Txn<A>;

    fn next(&mut self, _: usize, random: &mut StdRng) -> Txn<A> {
        let acts = (0..random.random_range(1..=ACTS_MAX)).map(|_| {
            let key = self.keys.draw(random);
            if random.random() {
                return A::read(key);
            }
            self.keys.spend(key, 1);
            self.value += 1;
            A::write(key, self.value)
        });
        Txn(acts.collect())
    }

    fn next_final(&mut self, _: usize) -> Option<Txn<A>> {
        let keys = self.last.get_or_insert_with(|| self.keys.used());
        let some = keys.split_off(keys.len().saturating_sub(ACTS_MAX));
        Some(Txn(some.into_iter().map(A::read).collect())).filter(|txn| !txn.0.is_empty())
    }

    fn kind(_: &Txn<A>) -> &'static str {
        "txn"
    }

    fn request(call: &Txn<A>) -> Value {
        let acts = call.0.iter().map(|act| match act.written() {
            Some(value) => json!([A::WRITE, act.key(), value]),
            None => json!(["r", act.key(), null]),
        });
        json!({"txn": acts.collect::<Vec<_>>()})
    }

    fn answer(call: &Txn<A>, fields: &mut Fields) -> Result<Txn<A>, String> {
        let told = fields.list("txn")?;
        if told.len() != call.0.len() {
            return Err(format!("the txn has {} operations instead of {}", told.len(), call.0.len()));
        }
        let acts = call.0.iter().zip(&told).map(|(act, told)| answered(act, told));
        Ok(Txn(acts.collect::<Result<_, _>>()?))
    }

    fn check(history: &[Operation<A>]) -> Findings {
        A::check(history)
    }
}

fn answered<A: Spoken>(act: &A, told: &Value) -> Result<A, String> {
    let parts = told.as_array().filter(|parts| parts.len() == 3).ok_or("an operation has three parts")?;
    let (what, key) = (parts[0].as_str().unwrap_or_default(), integer(&parts[1])?);
    let answered = match act.written() {
        _ if key != act.key() => None,
        Some(value) if what == A::WRITE && integer(&parts[2]) == Ok(value) => Some(act.clone()),
        None if what == "r" => A::answered(key, &parts[2])?,
        _ => None,
    };
    answered.ok_or_else(|| format!("{told} is no answer to: {act}"))
}
