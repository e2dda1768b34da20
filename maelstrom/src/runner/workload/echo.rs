//! echo: short texts.

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::{Fields, Workload};
use crate::check::Findings;
use crate::check::echo::{Echo as Text, Operation, check};

#[derive(Debug, Default)]
pub struct Echo;

impl Workload for Echo {
    type Call = Text;
    type Answer = Text;

    fn next(&mut self, _: usize, random: &mut StdRng) -> Text {
        Text(format!("Please echo {}", random.random_range(0..1_000_000)))
    }

    fn kind(_: &Text) -> &'static str {
        "echo"
    }

    fn request(call: &Text) -> Value {
        json!({"echo": call.0})
    }

    fn answer(_: &Text, fields: &mut Fields) -> Result<Text, String> {
        Ok(Text(fields.text("echo")?))
    }

    fn check(history: &[Operation]) -> Findings {
        check(history)
    }
}
