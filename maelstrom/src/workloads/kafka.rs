//! `kafka`: logs whose offsets are the revisions of the journal, in which every message has one of its own.
//!
//!     log "7"    message/7/…  at 12   message/7/…  at 15   message/7/…  at 31      poll from 13: 15, 31

use bytes::Bytes;
use frontend::operation::{Bounds, Compare, Op, Put, Range, Relation, Sort, SortBy, Subject, Txn};
use frontend::{Client, KeyRange};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Map, Value, json};

use super::{Answer, all, field, key, parsed, text, unread, unwritten};
use crate::ids::Ids;
use crate::message::{Body, Refusal};

const OFFSETS: &str = "committed";

/// Logs read at the same time, whose answers are awaited together. A client asks for all that it knows at the end.
const LOGS_AT_ONCE: usize = 64;

/// Of each log in one answer.
const MESSAGES_MAX: usize = 1_000;

fn prefix(of: &str) -> String {
    // With its length, so that no log's name begins another's.
    format!("message/{}/{of}", of.len())
}

pub(super) async fn send(client: &Client, request: &Body, ids: &Ids) -> Answer {
    let (log, message) = (prefix(&name(field(request, "key")?)), text(field(request, "msg")?));
    let offset = client.put(format!("{log}/{}", ids.next()), message).await.map_err(unwritten)?;
    Ok(json!({ "type": "send_ok", "offset": offset.0 }))
}

pub(super) async fn poll(client: &Client, request: &Body) -> Answer {
    let log = async |(name, from): (String, i64)| {
        let range = Range {
            bounds: Bounds { min_mod: from.max(1), ..Bounds::default() },
            sort: Some(Sort { by: SortBy::Mod, descending: false, within_limit: false }),
            limit: MESSAGES_MAX,
            ..all(&prefix(&name))
        };
        let kvs = client.range_with(&range).await.map_err(unread)?.kvs;
        let message = |kv: &frontend::KeyValue| Ok(json!([kv.mod_revision.0, parsed(&kv.value)?]));
        Ok::<_, Refusal>((name, kvs.iter().map(message).collect::<Result<_, Refusal>>()?))
    };
    let messages: Map<_, _> =
        stream::iter(offsets(request)?).map(log).buffered(LOGS_AT_ONCE).try_collect().await?;
    Ok(json!({ "type": "poll_ok", "msgs": messages }))
}

/// An offset never goes back, whoever else commits one.
pub(super) async fn commit(client: &Client, request: &Body) -> Answer {
    let raised = async |(name, offset): (String, i64)| {
        let key = key(OFFSETS, &Value::String(name));
        loop {
            let (known, revision) = offset_at(client, &key).await.map_err(unwritten)?;
            if known.is_some_and(|known| offset <= known) {
                break;
            }
            let unchanged = Compare {
                keys: KeyRange::Single(key.clone()),
                subject: Subject::Mod(revision),
                relation: Relation::Equal,
            };
            let put = Op::Put(Put::new(key.clone(), text(&offset.into())));
            let txn = Txn { compares: vec![unchanged], success: vec![put], failure: Vec::new() };
            if client.txn(&txn).await.map_err(unwritten)?.succeeded {
                break;
            }
        }
        Ok::<_, Refusal>(())
    };
    stream::iter(offsets(request)?).map(raised).buffered(LOGS_AT_ONCE).try_collect::<()>().await?;
    Ok(json!({ "type": "commit_offsets_ok" }))
}

pub(super) async fn committed(client: &Client, request: &Body) -> Answer {
    let names = field(request, "keys")?.as_array().ok_or_else(malformed)?;
    let offset = async |name: String| {
        let key = key(OFFSETS, &Value::String(name.clone()));
        let (offset, _) = offset_at(client, &key).await.map_err(unread)?;
        Ok::<_, Refusal>((name, offset))
    };
    let known: Vec<(String, Option<i64>)> =
        stream::iter(names.iter().map(name)).map(offset).buffered(LOGS_AT_ONCE).try_collect().await?;
    let known = known.into_iter().filter_map(|(name, offset)| Some((name, Value::from(offset?))));
    let offsets: Map<_, _> = known.collect();
    Ok(json!({ "type": "list_committed_offsets_ok", "offsets": offsets }))
}

/// And the revision at which it was written, 0 where there is none.
async fn offset_at(client: &Client, key: &Bytes) -> Result<(Option<i64>, i64), frontend::Error> {
    let kv = client.get(key.clone()).await?;
    let offset = kv.as_ref().and_then(|kv| serde_json::from_slice(&kv.value).ok());
    Ok((offset, kv.map_or(0, |kv| kv.mod_revision.to_wire())))
}

fn offsets(request: &Body) -> Result<Vec<(String, i64)>, Refusal> {
    let offsets = field(request, "offsets")?.as_object().ok_or_else(malformed)?;
    let offset = |(name, offset): (&String, &Value)| Some((name.clone(), offset.as_i64()?));
    offsets.iter().map(offset).collect::<Option<_>>().ok_or_else(malformed)
}

/// A log is named by text in a map and may be by a number elsewhere.
fn name(of: &Value) -> String {
    of.as_str().map_or_else(|| of.to_string(), str::to_owned)
}

fn malformed() -> Refusal {
    Refusal::Malformed("\"offsets\" maps logs to numbers, and \"keys\" is a list of logs".to_owned())
}
