//! Requests and answers on one line, as a person would note them.

use proto::etcdserverpb::compare::{CompareTarget, TargetUnion};
use proto::etcdserverpb::request_op::Request as Op;
use proto::etcdserverpb::response_op::Response;
use proto::etcdserverpb::{
    Compare, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, RangeRequest, RangeResponse,
    RequestOp, TxnRequest, TxnResponse,
};
use proto::mvccpb::event::EventType;
use proto::mvccpb::{Event, KeyValue};

use crate::compat::{Outcome, Request};

/// Longer ones are cut.
const BYTES_MAX: usize = 24;

pub(super) fn request(request: &Request) -> String {
    match request {
        Request::Range(range) => get(range),
        Request::Put(request) => put(request),
        Request::Delete(request) => delete(request),
        Request::Txn(request) => txn(request),
        Request::Compact(request) => format!("compact {}", request.revision),
        Request::Grant(request) => format!("grant lease {} for {} s", request.id, request.ttl),
        Request::Revoke(request) => format!("revoke lease {}", request.id),
        other => format!("{other:?}"),
    }
}

pub(super) fn outcome(outcome: &Outcome) -> String {
    let revision = outcome.revision().unwrap_or_default();
    match outcome {
        Outcome::Range(answer) => format!("{} @{revision}", kvs(answer)),
        Outcome::Put(answer) => format!("ok{} @{revision}", before(answer.prev_kv.as_slice())),
        Outcome::Delete(answer) => format!("{} @{revision}", deleted(answer)),
        Outcome::Txn(answer) => format!("{} @{revision}", branch(answer)),
        Outcome::Compact(_) | Outcome::Grant(_) | Outcome::Revoke(_) => format!("ok @{revision}"),
        other => format!("{other:?}"),
    }
}

fn bytes(bytes: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(BYTES_MAX)]).replace('\0', "\\0");
    if bytes.len() > BYTES_MAX { format!("{shown}… ({} bytes)", bytes.len()) } else { shown }
}

fn keys(key: &[u8], end: &[u8]) -> String {
    if end.is_empty() { bytes(key) } else { format!("[{}, {})", bytes(key), bytes(end)) }
}

fn kv(kv: &KeyValue) -> String {
    let lease = if kv.lease == 0 { String::new() } else { format!(", lease {}", kv.lease) };
    let (made, changed, version) = (kv.create_revision, kv.mod_revision, kv.version);
    format!(
        "{}={} (made {made}, changed {changed}, version {version}{lease})",
        bytes(&kv.key),
        bytes(&kv.value)
    )
}

pub(super) fn event(event: &Event) -> String {
    let what = if event.r#type == i32::from(EventType::Delete) { "gone" } else { "put" };
    let of = event.kv.as_ref().map_or_else(|| "no key".to_owned(), kv);
    format!("{what} {of}{}", before(event.prev_kv.as_slice()))
}

fn before(kvs: &[KeyValue]) -> String {
    if kvs.is_empty() {
        return String::new();
    }
    format!(", before: {}", kvs.iter().map(kv).collect::<Vec<_>>().join(", "))
}

fn get(range: &RangeRequest) -> String {
    let mut text = format!("get {}", keys(&range.key, &range.range_end));
    let mut add = |condition: bool, more: String| {
        if condition {
            text.push_str(&more);
        }
    };
    add(range.revision != 0, format!(" as of {}", range.revision));
    add(range.limit != 0, format!(", {} at most", range.limit));
    add(range.count_only, ", only how many".to_owned());
    add(range.keys_only, ", only keys".to_owned());
    add(range.serializable, ", serializable".to_owned());
    text
}

fn put(put: &PutRequest) -> String {
    let lease = if put.lease == 0 { String::new() } else { format!(" with lease {}", put.lease) };
    format!("put {} := {}{lease}", bytes(&put.key), bytes(&put.value))
}

fn delete(delete: &DeleteRangeRequest) -> String {
    format!("delete {}", keys(&delete.key, &delete.range_end))
}

fn txn(txn: &TxnRequest) -> String {
    let ops = |ops: &[RequestOp]| {
        ops.iter().filter_map(|one| one.request.as_ref()).map(op).collect::<Vec<_>>().join("; ")
    };
    if txn.compare.is_empty() {
        return format!("do {{{}}}", ops(&txn.success));
    }
    let compares: Vec<String> = txn.compare.iter().map(compare).collect();
    format!("if {} then {{{}}} else {{{}}}", compares.join(" and "), ops(&txn.success), ops(&txn.failure))
}

fn op(op: &Op) -> String {
    match op {
        Op::RequestRange(request) => get(request),
        Op::RequestPut(request) => put(request),
        Op::RequestDeleteRange(request) => delete(request),
        Op::RequestTxn(request) => txn(request),
    }
}

fn compare(compare: &Compare) -> String {
    let sign = ["=", ">", "<", "≠"].get(compare.result.unsigned_abs() as usize).unwrap_or(&"?");
    let target = CompareTarget::try_from(compare.target).map_or("?", |target| target.as_str_name());
    let value = match &compare.target_union {
        Some(TargetUnion::Value(value)) => bytes(value),
        Some(
            TargetUnion::Version(number)
            | TargetUnion::CreateRevision(number)
            | TargetUnion::ModRevision(number)
            | TargetUnion::Lease(number),
        ) => number.to_string(),
        None => "0".to_owned(),
    };
    format!("{} of {} {sign} {value}", target.to_lowercase(), keys(&compare.key, &compare.range_end))
}

fn kvs(answer: &RangeResponse) -> String {
    let more = if answer.more { ", and more" } else { "" };
    let kvs: Vec<String> = answer.kvs.iter().map(kv).collect();
    format!("{} of {}{more}: [{}]", answer.kvs.len(), answer.count, kvs.join(", "))
}

fn deleted(answer: &DeleteRangeResponse) -> String {
    format!("{} deleted{}", answer.deleted, before(&answer.prev_kvs))
}

fn branch(answer: &TxnResponse) -> String {
    let responses: Vec<String> =
        answer.responses.iter().filter_map(|one| one.response.as_ref()).map(response).collect();
    format!("{} {{{}}}", if answer.succeeded { "then" } else { "else" }, responses.join("; "))
}

fn response(response: &Response) -> String {
    match response {
        Response::ResponseRange(answer) => kvs(answer),
        Response::ResponsePut(PutResponse { prev_kv, .. }) => format!("ok{}", before(prev_kv.as_slice())),
        Response::ResponseDeleteRange(answer) => deleted(answer),
        Response::ResponseTxn(answer) => branch(answer),
    }
}
