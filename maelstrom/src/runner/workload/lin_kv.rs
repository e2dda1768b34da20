//! lin-kv: reads, writes and compare-and-sets of few values on few keys at a time.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::keys::Keys;
use super::{Fields, Workload};
use crate::check::Findings;
use crate::check::history::Outcome;
use crate::check::register::{Answer, Call, Operation, check};

const VALUES: i64 = 5;

/// What a key may take. An operation whose outcome is unknown stays open for the checker, and weighs more.
const USES_MAX: u32 = 200;
const UNKNOWN_USES: u32 = 20;

#[derive(Debug)]
pub struct LinKv {
    keys: Keys,
    last: Option<Vec<i64>>,
}

impl LinKv {
    /// As many keys at a time that about three clients share one.
    pub fn new(clients: usize) -> Self {
        let keys = i64::try_from(clients / 3).unwrap_or(i64::MAX).max(2);
        Self { keys: Keys::new(keys, USES_MAX), last: None }
    }
}

impl Workload for LinKv {
    type Call = Call;
    type Answer = Answer;

    fn next(&mut self, _: usize, random: &mut StdRng) -> Call {
        let key = self.keys.draw(random);
        self.keys.spend(key, 1);
        let mut value = || random.random_range(0..VALUES);
        let (from, to) = (value(), value());
        match random.random_range(0..4) {
            0 | 1 => Call::Read { key },
            2 => Call::Write { key, value: to },
            _ => Call::Cas { key, from, to },
        }
    }

    fn next_final(&mut self, _: usize) -> Option<Call> {
        let key = self.last.get_or_insert_with(|| self.keys.used()).pop()?;
        Some(Call::Read { key })
    }

    fn ended(&mut self, _: usize, operation: &Operation) {
        if matches!(operation.outcome, Outcome::Info { .. }) && !matches!(operation.call, Call::Read { .. }) {
            self.keys.spend(operation.call.key(), UNKNOWN_USES);
        }
    }

    fn kind(call: &Call) -> &'static str {
        match call {
            Call::Read { .. } => "read",
            Call::Write { .. } => "write",
            Call::Cas { .. } => "cas",
        }
    }

    fn request(call: &Call) -> Value {
        match call {
            Call::Read { key } => json!({"key": key}),
            Call::Write { key, value } => json!({"key": key, "value": value}),
            Call::Cas { key, from, to } => json!({"key": key, "from": from, "to": to}),
        }
    }

    fn answer(call: &Call, fields: &mut Fields) -> Result<Answer, String> {
        Ok(match call {
            Call::Read { .. } => Answer::Value(Some(fields.integer("value")?)),
            Call::Write { .. } | Call::Cas { .. } => Answer::Done,
        })
    }

    fn timeout(latency: Duration) -> Duration {
        (latency * 10).max(Duration::from_secs(1))
    }

    fn check(history: &[Operation]) -> Findings {
        check(history)
    }
}
