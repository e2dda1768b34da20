//! echo: what comes back is what was sent.

use std::fmt::{self, Display};

use super::{Findings, history};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Echo(pub String);

pub type Operation = history::Operation<Echo, Echo>;

pub fn check(history: &[Operation]) -> Findings {
    let mut findings = Findings::default();
    for operation in history {
        if operation.answer().is_some_and(|answer| *answer != operation.call) {
            findings.found("not an echo", vec![operation.to_string()]);
        }
    }
    findings
}

impl Display for Echo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "echo {:?}", self.0)
    }
}

#[test]
fn another_answer_is_found() {
    use super::history::planted::ok;
    let echo = |text: &str| Echo(text.to_owned());
    assert!(check(&[ok(1, 0, 1, echo("a"), echo("a"))]).anomalies.is_empty());
    assert_eq!(check(&[ok(1, 0, 1, echo("a"), echo("b"))]).names(), ["not an echo"]);
}
