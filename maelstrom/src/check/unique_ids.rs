//! unique-ids: no id is given out twice. An id is any JSON, compared as it is written.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use super::{Findings, history};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generate;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Id(pub String);

pub type Operation = history::Operation<Generate, Id>;

pub fn check(history: &[Operation]) -> Findings {
    let mut findings = Findings::default();
    let mut given: BTreeMap<&str, &Operation> = BTreeMap::new();
    for operation in history {
        let Some(Id(id)) = operation.answer() else { continue };
        if let Some(first) = given.insert(id, operation) {
            findings.found("duplicate id", vec![first.to_string(), operation.to_string()]);
        }
    }
    findings
}

impl Display for Generate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("generate")
    }
}

impl Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[test]
fn an_id_given_twice_is_found() {
    use super::history::planted::ok;
    let id = |client, id: &str| ok(client, 0, 1, Generate, Id(id.to_owned()));
    assert!(check(&[id(1, "1"), id(2, "\"1\"")]).anomalies.is_empty());
    assert_eq!(check(&[id(1, "1"), id(2, "2"), id(3, "1")]).names(), ["duplicate id"]);
}
