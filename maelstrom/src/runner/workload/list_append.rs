//! txn-list-append: few keys with many values each, so that whatever gets lost is missed.

use serde_json::Value;

use super::transactions::{Spoken, Transactions};
use crate::check::Findings;
use crate::check::list_append::{Act, Operation, check};
use crate::runner::message::integers;

pub type ListAppend = Transactions<Act>;

impl Spoken for Act {
    const WRITE: &'static str = "append";
    const WRITES_MAX: u32 = 100;

    fn answered(key: i64, told: &Value) -> Result<Option<Act>, String> {
        Ok(match told {
            Value::Null => Some(Act::Read { key, list: Some(Vec::new()) }),
            Value::Array(list) => Some(Act::Read { key, list: Some(integers(list)?) }),
            _ => None,
        })
    }

    fn check(history: &[Operation]) -> Findings {
        check(history)
    }
}
