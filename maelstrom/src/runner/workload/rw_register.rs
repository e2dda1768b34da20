//! txn-rw-register: transactions that read and write registers, each value once.

use serde_json::Value;

use super::transactions::{Spoken, Transactions};
use crate::check::Findings;
use crate::check::rw_register::{Act, Operation, check};
use crate::runner::message::integer;

pub type RwRegister = Transactions<Act>;

impl Spoken for Act {
    const WRITE: &'static str = "w";
    const WRITES_MAX: u32 = 32;

    fn answered(key: i64, told: &Value) -> Result<Option<Act>, String> {
        let value = if told.is_null() { None } else { Some(integer(told)?) };
        Ok(Some(Act::Read { key, value: Some(value) }))
    }

    fn check(history: &[Operation]) -> Findings {
        check(history)
    }
}
