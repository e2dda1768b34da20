//! `txn-list-append` and `txn-rw-register`: reads of all keys at one revision, and what follows from them written in one
//! transaction, if nobody has changed those keys meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use frontend::answer::{OpAnswer, TxnAnswer};
use frontend::operation::{Compare, Op, Put, Range, Relation, Subject, Txn};
use frontend::{Client, KeyRange, KeyValue};
use serde_json::{Value, json};

use super::{Answer, field, key, parsed, text, unread, unwritten};
use crate::message::{Body, Refusal};

const KIND: &str = "txn";

/// How long others may be quicker. Clients wait for 5 s.
const PATIENCE: Duration = Duration::from_secs(4);

/// One step: read, append, or write.
struct Step {
    does: Does,
    key: Value,
    value: Value,
}

#[derive(Clone, Copy, PartialEq)]
enum Does {
    Read,
    Append,
    Write,
}

pub(super) async fn run(client: &Client, request: &Body) -> Answer {
    let steps = steps(field(request, "txn")?)?;
    let keys: BTreeSet<Bytes> = steps.iter().map(|step| key(KIND, &step.key)).collect();
    let range = |key: &Bytes| Op::Range(Range::all(KeyRange::Single(key.clone())));
    let reads = Txn { success: keys.iter().map(range).collect(), ..Txn::default() };
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let answer = client.txn(&reads).await.map_err(unread)?;
        let read: BTreeMap<Bytes, Option<&KeyValue>> = keys.iter().cloned().zip(found(&answer)).collect();
        let (done, written) = apply(&steps, &read)?;
        if written.is_empty() {
            return Ok(done);
        }
        let unchanged = |(key, kv): (&Bytes, &Option<&KeyValue>)| Compare {
            keys: KeyRange::Single(key.clone()),
            subject: Subject::Mod(kv.map_or(0, |kv| kv.mod_revision.to_wire())),
            relation: Relation::Equal,
        };
        let put = |(key, value): (Bytes, Value)| Op::Put(Put::new(key, text(&value)));
        let txn = Txn {
            compares: read.iter().map(unchanged).collect(),
            success: written.into_iter().map(put).collect(),
            failure: Vec::new(),
        };
        if client.txn(&txn).await.map_err(unwritten)?.succeeded {
            return Ok(done);
        }
    }
    Err(Refusal::Conflict)
}

/// What the ranges of a transaction have found, in their order.
pub(super) fn found(answer: &TxnAnswer) -> impl Iterator<Item = Option<&KeyValue>> {
    answer.answers.iter().map(|answer| match answer {
        OpAnswer::Range(range) => range.kvs.first(),
        _ => None,
    })
}

fn steps(txn: &Value) -> Result<Vec<Step>, Refusal> {
    let step = |step: &Value| {
        let [does, key, value] = step.as_array()?.as_slice() else { return None };
        let does = match does.as_str()? {
            "r" => Does::Read,
            "append" => Does::Append,
            "w" => Does::Write,
            _ => return None,
        };
        Some(Step { does, key: key.clone(), value: value.clone() })
    };
    let steps = txn.as_array().and_then(|steps| steps.iter().map(step).collect::<Option<Vec<_>>>());
    steps.ok_or_else(|| {
        Refusal::Malformed("a transaction is a list of [\"r\"|\"append\"|\"w\", key, value]".to_owned())
    })
}

/// Does the steps one after the other. Answers the reply, and what is to be written.
fn apply(
    steps: &[Step],
    read: &BTreeMap<Bytes, Option<&KeyValue>>,
) -> Result<(Value, BTreeMap<Bytes, Value>), Refusal> {
    let (mut done, mut written) = (Vec::with_capacity(steps.len()), BTreeMap::<Bytes, Value>::new());
    for Step { does, key: of, value } in steps {
        let key = key(KIND, of);
        let now = match (written.get(&key), read.get(&key).copied().flatten()) {
            (Some(written), _) => written.clone(),
            (None, Some(kv)) => parsed(&kv.value)?,
            (None, None) => Value::Null,
        };
        let (name, told) = match does {
            Does::Read => ("r", now),
            Does::Write => {
                written.insert(key, value.clone());
                ("w", value.clone())
            }
            Does::Append => {
                let mut list = match now {
                    Value::Null => Vec::new(),
                    Value::Array(list) => list,
                    _ => return Err(Refusal::Malformed(format!("key {of} holds no list"))),
                };
                list.push(value.clone());
                written.insert(key, Value::Array(list));
                ("append", value.clone())
            }
        };
        done.push(json!([name, of, told]));
    }
    Ok((json!({ "type": "txn_ok", "txn": done }), written))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_sees_what_it_has_written() {
        let steps =
            steps(&json!([["r", 1, null], ["append", 1, 7], ["append", 1, 8], ["r", 1, null], ["w", 2, 3]]))
                .expect("they are well formed");
        let (done, written) = apply(&steps, &BTreeMap::new()).expect("there is nothing");
        let txn = json!([["r", 1, null], ["append", 1, 7], ["append", 1, 8], ["r", 1, [7, 8]], ["w", 2, 3]]);
        assert_eq!(done, json!({ "type": "txn_ok", "txn": txn }));
        let expected = [(key(KIND, &json!(1)), json!([7, 8])), (key(KIND, &json!(2)), json!(3))];
        assert_eq!(written, expected.into_iter().collect());
    }

    #[test]
    fn what_is_no_transaction_is_refused() {
        for txn in [json!(1), json!([1]), json!([["x", 1, 2]]), json!([["r", 1]])] {
            assert!(matches!(super::steps(&txn), Err(Refusal::Malformed(_))), "{txn}");
        }
    }
}
