//! `g-set`, `pn-counter`, `g-counter` and `broadcast`: what was added, however often it is asked for.

use frontend::Client;
use serde_json::{Value, json};

use super::{Answer, all, field, key, parsed, text, unread, unwritten};
use crate::ids::Ids;
use crate::message::{Body, Refusal};

const ELEMENTS: &str = "element";
const DELTAS: &str = "delta";
const MESSAGES: &str = "message";

/// To a set, or to a sum.
pub(super) async fn add(client: &Client, request: &Body, ids: &Ids) -> Answer {
    let (key, value) = match request.get("delta") {
        // Each has a key of its own, so that nobody waits for others.
        Some(delta) => (key(DELTAS, &Value::String(ids.next())), text(delta)),
        None => {
            let element = field(request, "element")?;
            (key(ELEMENTS, element), text(element))
        }
    };
    client.put(key, value).await.map_err(unwritten)?;
    Ok(json!({ "type": "add_ok" }))
}

pub(super) async fn elements(client: &Client) -> Answer {
    Ok(json!({ "type": "read_ok", "value": values(client, ELEMENTS).await? }))
}

pub(super) async fn sum(client: &Client) -> Answer {
    let deltas = values(client, DELTAS).await?;
    let sum: i64 = deltas.iter().filter_map(Value::as_i64).sum();
    Ok(json!({ "type": "read_ok", "value": sum }))
}

pub(super) async fn broadcast(client: &Client, request: &Body) -> Answer {
    let message = field(request, "message")?;
    client.put(key(MESSAGES, message), text(message)).await.map_err(unwritten)?;
    Ok(json!({ "type": "broadcast_ok" }))
}

pub(super) async fn messages(client: &Client) -> Answer {
    Ok(json!({ "type": "read_ok", "messages": values(client, MESSAGES).await? }))
}

async fn values(client: &Client, kind: &str) -> Result<Vec<Value>, Refusal> {
    let kvs = client.range_with(&all(kind)).await.map_err(unread)?.kvs;
    kvs.iter().map(|kv| parsed(&kv.value)).collect()
}
