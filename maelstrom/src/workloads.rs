//! What Maelstrom's clients ask for, in the store's terms: each request is one transaction, or one that is tried again
//! when others were quicker.

mod collection;
mod kafka;
mod register;
mod transaction;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;
use frontend::operation::Range;
use frontend::{Client, Error, KeyRange};
use serde_json::{Value, json};

use crate::ids::Ids;
use crate::message::{Body, Message, Refusal, body};

/// What is the same for all requests to a node.
pub(crate) struct Workloads {
    ids: Ids,
    counts: bool,
    /// A node that was told of a topology, or of a message, plays broadcast.
    broadcasts: AtomicBool,
}

impl Workloads {
    pub(crate) fn new(node: &str, counts: bool) -> Workloads {
        Workloads { ids: Ids::of(node), counts, broadcasts: AtomicBool::new(false) }
    }

    /// Answers what needs no store.
    pub(crate) fn alone(&self, message: &Message) -> Option<Body> {
        Some(match message.kind() {
            "echo" => body(json!({ "type": "echo_ok", "echo": message.body.get("echo") })),
            "generate" => body(json!({ "type": "generate_ok", "id": self.ids.next() })),
            "topology" => {
                self.broadcasts.store(true, Relaxed);
                body(json!({ "type": "topology_ok" }))
            }
            "broadcast" => {
                self.broadcasts.store(true, Relaxed);
                return None;
            }
            _ => return None,
        })
    }
}

type Answer = Result<Value, Refusal>;

/// Answers a request out of the store.
pub(crate) async fn answers(workloads: &Workloads, client: &Client, request: &Body) -> Body {
    let kind = request.get("type").and_then(Value::as_str).unwrap_or_default();
    let answer = match kind {
        "read" if request.contains_key("key") => register::read(client, request).await,
        "write" => register::write(client, request).await,
        "cas" => register::cas(client, request).await,
        "txn" => transaction::run(client, request).await,
        "add" => collection::add(client, request, &workloads.ids).await,
        "broadcast" => collection::broadcast(client, request).await,
        "read" if workloads.counts => collection::sum(client).await,
        "read" if workloads.broadcasts.load(Relaxed) => collection::messages(client).await,
        "read" => collection::elements(client).await,
        "send" => kafka::send(client, request, &workloads.ids).await,
        "poll" => kafka::poll(client, request).await,
        "commit_offsets" => kafka::commit(client, request).await,
        "list_committed_offsets" => kafka::committed(client, request).await,
        other => Err(Refusal::NotSupported(other.to_owned())),
    };
    answer.map_or_else(|refusal| refusal.body(), body)
}

fn field<'a>(request: &'a Body, name: &str) -> Result<&'a Value, Refusal> {
    request.get(name).ok_or_else(|| Refusal::Malformed(format!("the request has no {name:?}")))
}

/// Keys of different kinds never meet, and neither do 1 and "1".
fn key(kind: &str, of: &Value) -> Bytes {
    Bytes::from(format!("{kind}/{of}"))
}

fn text(value: &Value) -> Bytes {
    Bytes::from(value.to_string())
}

/// What this node has written, read back.
fn parsed(bytes: &[u8]) -> Answer {
    serde_json::from_slice(bytes).map_err(|error| Refusal::Malformed(format!("a value is no JSON: {error}")))
}

/// All keys of a kind.
fn all(kind: &str) -> Range {
    Range::all(KeyRange::Range { start: format!("{kind}/").into(), end: format!("{kind}0").into() })
}

/// Of a read: it has changed nothing.
fn unread(error: Error) -> Refusal {
    Refusal::Unavailable(error.to_string())
}

/// Of a write: only what was refused before it went to the journal has certainly not happened.
fn unwritten(error: Error) -> Refusal {
    match error {
        Error::Overloaded | Error::NoSpace | Error::CorruptCluster | Error::RequestTooLarge => {
            Refusal::Unavailable(error.to_string())
        }
        Error::TooManyOperations => Refusal::Malformed(error.to_string()),
        _ => Refusal::Unknown(error.to_string()),
    }
}
