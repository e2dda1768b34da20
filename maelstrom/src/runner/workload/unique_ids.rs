//! unique-ids: as many as there is time for.

use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::{Fields, Workload};
use crate::check::Findings;
use crate::check::unique_ids::{Generate, Id, Operation, check};

#[derive(Debug, Default)]
pub struct UniqueIds;

impl Workload for UniqueIds {
    type Call = Generate;
    type Answer = Id;

    fn next(&mut self, _: usize, _: &mut StdRng) -> Generate {
        Generate
    }

    fn kind(_: &Generate) -> &'static str {
        "generate"
    }

    fn request(_: &Generate) -> Value {
        json!({})
    }

    fn answer(_: &Generate, fields: &mut Fields) -> Result<Id, String> {
        Ok(Id(fields.take("id")?.to_string()))
    }

    fn check(history: &[Operation]) -> Findings {
        check(history)
    }
}
