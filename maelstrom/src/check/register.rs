//! lin-kv: each key is a register that is read, written, and compared and set; linearizable by itself.
//!
//! A refusal tells something, too: 20 that there was no such key, 22 that it held something else.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use super::Findings;
use super::history::{self, Outcome};
use super::linearize::{Effect, Linearizability, Span, linearize};

pub const KEY_DOES_NOT_EXIST: u64 = 20;
pub const PRECONDITION_FAILED: u64 = 22;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Read { key: i64 },
    Write { key: i64, value: i64 },
    Cas { key: i64, from: i64, to: i64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Value(Option<i64>),
    Done,
}

pub type Operation = history::Operation<Call, Answer>;

impl Call {
    pub fn key(&self) -> i64 {
        match self {
            Self::Read { key } | Self::Write { key, .. } | Self::Cas { key, .. } => *key,
        }
    }
}

pub fn check(history: &[Operation]) -> Findings {
    let mut by_key: BTreeMap<i64, Vec<&Operation>> = BTreeMap::new();
    for operation in history {
        by_key.entry(operation.call.key()).or_default().push(operation);
    }
    let mut findings = Findings::default();
    for (key, operations) in by_key {
        check_key(key, &operations, &mut findings);
    }
    findings
}

fn check_key(key: i64, operations: &[&Operation], findings: &mut Findings) {
    let (told, spans): (Vec<&Operation>, Vec<Span>) =
        operations.iter().filter_map(|operation| Some((*operation, span(operation)?))).unzip();
    match linearize(&spans) {
        Linearizability::Yes => {}
        Linearizability::Unknown { why } => findings.undecided.push(format!("key {key}: {why}")),
        Linearizability::No { span, states, open } => {
            let states: Vec<_> = states.iter().map(|state| value_or_absent(*state)).collect();
            let mut story =
                vec![told[span].to_string(), format!("before that, key {key} was {}", states.join(" or "))];
            story.extend(open.iter().map(|index| format!("open at the time: {}", told[*index])));
            findings.found("not linearizable", story);
        }
    }
}

/// What is known of an operation; `None` if it tells nothing.
fn span(operation: &Operation) -> Option<Span> {
    let effect = match (&operation.call, &operation.outcome) {
        (Call::Read { .. }, Outcome::Ok { answer: Answer::Value(value), .. }) => Effect::Is(*value),
        (Call::Read { .. } | Call::Cas { .. }, Outcome::Fail { code: KEY_DOES_NOT_EXIST, .. }) => {
            Effect::Is(None)
        }
        (Call::Cas { from, .. }, Outcome::Fail { code: PRECONDITION_FAILED, .. }) => Effect::ExistsNot(*from),
        (Call::Read { .. }, _) | (_, Outcome::Fail { .. }) => return None,
        (Call::Write { value, .. }, _) => Effect::Write(*value),
        (Call::Cas { from, to, .. }, _) => Effect::CompareAndSet { from: *from, to: *to },
    };
    Some(Span { effect, invoked: operation.invoked, answered: operation.answered() })
}

fn value_or_absent(value: Option<i64>) -> String {
    value.map_or_else(|| "absent".to_owned(), |value| value.to_string())
}

impl Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { key } => write!(f, "read {key}"),
            Self::Write { key, value } => write!(f, "write {key} := {value}"),
            Self::Cas { key, from, to } => write!(f, "cas {key}: {from} → {to}"),
        }
    }
}

impl Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => f.write_str(&value_or_absent(*value)),
            Self::Done => f.write_str("ok"),
        }
    }
}

#[cfg(test)]
mod planted {
    use super::*;
    use crate::check::Verdict;
    use crate::check::history::planted::{fail, info, ok};

    const READ: Call = Call::Read { key: 7 };

    fn write(value: i64) -> Call {
        Call::Write { key: 7, value }
    }

    fn cas(from: i64, to: i64) -> Call {
        Call::Cas { key: 7, from, to }
    }

    fn value(value: i64) -> Answer {
        Answer::Value(Some(value))
    }

    fn verdict(history: &[Operation]) -> Verdict {
        check(history).verdict()
    }

    #[test]
    fn a_stale_read_is_found() {
        let history = [
            ok(1, 0, 1, write(1), Answer::Done),
            ok(1, 2, 3, write(2), Answer::Done),
            ok(2, 4, 5, READ, value(1)),
        ];
        assert_eq!(check(&history).names(), ["not linearizable"]);
        let concurrent = ok(2, 2, 5, READ, value(1));
        assert_eq!(verdict(&[history[0].clone(), history[1].clone(), concurrent]), Verdict::Valid);
    }

    #[test]
    fn a_lost_update_is_found() {
        let twice = [
            ok(1, 0, 1, write(1), Answer::Done),
            ok(1, 2, 4, cas(1, 2), Answer::Done),
            ok(2, 2, 4, cas(1, 3), Answer::Done),
        ];
        assert_eq!(verdict(&twice), Verdict::Invalid);
    }

    #[test]
    fn an_unknown_write_may_happen_later_or_never_but_not_before_its_call() {
        let unknown = info(1, 3, write(9));
        let first = ok(2, 0, 1, write(1), Answer::Done);
        let later =
            [first.clone(), unknown.clone(), ok(2, 5, 6, READ, value(1)), ok(2, 7, 8, READ, value(9))];
        assert_eq!(verdict(&later), Verdict::Valid);
        let never = [first.clone(), unknown.clone(), ok(2, 5, 6, READ, value(1))];
        assert_eq!(verdict(&never), Verdict::Valid);
        let early = [first.clone(), ok(2, 1, 2, READ, value(9)), unknown.clone()];
        assert_eq!(verdict(&early), Verdict::Invalid);
        let undone = [first, unknown, ok(2, 5, 6, READ, value(9)), ok(2, 7, 8, READ, value(1))];
        assert_eq!(verdict(&undone), Verdict::Invalid);
    }

    #[test]
    fn a_refusal_is_an_observation() {
        let wrote = ok(1, 0, 1, write(1), Answer::Done);
        assert_eq!(
            verdict(&[wrote.clone(), fail(2, 2, 3, cas(1, 2), PRECONDITION_FAILED)]),
            Verdict::Invalid
        );
        assert_eq!(verdict(&[wrote.clone(), fail(2, 2, 3, cas(4, 2), PRECONDITION_FAILED)]), Verdict::Valid);
        assert_eq!(verdict(&[wrote.clone(), fail(2, 2, 3, cas(4, 2), KEY_DOES_NOT_EXIST)]), Verdict::Invalid);
        assert_eq!(verdict(&[wrote, fail(2, 2, 3, READ, KEY_DOES_NOT_EXIST)]), Verdict::Invalid);
        assert_eq!(verdict(&[fail(2, 2, 3, READ, KEY_DOES_NOT_EXIST)]), Verdict::Valid);
    }

    #[test]
    fn a_failed_write_never_happened() {
        let history = [fail(1, 0, 1, write(1), 11), ok(2, 2, 3, READ, value(1))];
        assert_eq!(verdict(&history), Verdict::Invalid);
    }

    #[test]
    fn keys_are_registers_of_their_own() {
        let other = Call::Write { key: 8, value: 2 };
        let history = [
            ok(1, 0, 1, write(1), Answer::Done),
            ok(1, 2, 3, other, Answer::Done),
            ok(2, 4, 5, READ, value(1)),
        ];
        assert_eq!(verdict(&history), Verdict::Valid);
    }
}
