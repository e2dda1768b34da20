//! `lin-kv`: a register for each key, with compare-and-set.

use frontend::operation::{Compare, Op, Put, Range, Relation, Subject, Txn};
use frontend::{Client, KeyRange};
use serde_json::json;

use super::{Answer, field, key, parsed, text, unread, unwritten};
use crate::message::{Body, Refusal};

const KIND: &str = "register";

pub(super) async fn read(client: &Client, request: &Body) -> Answer {
    let kv = client.get(key(KIND, field(request, "key")?)).await.map_err(unread)?;
    Ok(json!({ "type": "read_ok", "value": parsed(&kv.ok_or(Refusal::NoSuchKey)?.value)? }))
}

pub(super) async fn write(client: &Client, request: &Body) -> Answer {
    let (key, value) = (key(KIND, field(request, "key")?), text(field(request, "value")?));
    client.put(key, value).await.map_err(unwritten)?;
    Ok(json!({ "type": "write_ok" }))
}

pub(super) async fn cas(client: &Client, request: &Body) -> Answer {
    let key = key(KIND, field(request, "key")?);
    let (from, to) = (text(field(request, "from")?), text(field(request, "to")?));
    let keys = KeyRange::Single(key.clone());
    let is_it = Compare { keys: keys.clone(), subject: Subject::Value(from), relation: Relation::Equal };
    let txn = Txn {
        compares: vec![is_it],
        success: vec![Op::Put(Put::new(key, to))],
        failure: vec![Op::Range(Range::all(keys))],
    };
    let answer = client.txn(&txn).await.map_err(unwritten)?;
    match answer.succeeded {
        true => Ok(json!({ "type": "cas_ok" })),
        false if super::transaction::found(&answer).next().flatten().is_some() => Err(Refusal::Differs),
        false => Err(Refusal::NoSuchKey),
    }
}
