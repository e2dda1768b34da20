//! Histories by hand: requests one after the other, answered as the model answers them, ten seconds for each.

use proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::etcdserverpb::{
    CompactionRequest, Compare, LeaseGrantRequest, LeaseRevokeRequest, PutRequest, RangeRequest, RequestOp,
    TxnRequest,
};

use super::store::Store;
use super::{Sighting, Sightings};
use crate::compat::Request;
use crate::history::{self, Call, Moment, Operation, Outcome, Phase};

pub(crate) fn seconds(seconds: u64) -> Moment {
    Moment::from_secs(seconds)
}

pub(crate) fn put(key: &str, value: &str) -> Request {
    Request::Put(PutRequest { prev_kv: true, ..history::put(key, value) })
}

pub(crate) fn leased(key: &str, lease: i64) -> Request {
    Request::Put(PutRequest { lease, ..history::put(key, "leased") })
}

pub(crate) fn get(key: &str) -> Request {
    Request::Range(history::get(key))
}

pub(crate) fn glance(key: &str) -> Request {
    Request::Range(RangeRequest { serializable: true, ..history::get(key) })
}

pub(crate) fn first_of(key: &str, end: &str, limit: i64) -> Request {
    Request::Range(RangeRequest { range_end: end.to_owned().into(), limit, ..history::get(key) })
}

pub(crate) fn delete(key: &str, end: &str) -> Request {
    let mut delete = history::delete(key);
    (delete.range_end, delete.prev_kv) = (end.to_owned().into(), true);
    Request::Delete(delete)
}

/// Sets `key` if it has that value, and reads it otherwise.
pub(crate) fn swap(key: &str, from: &str, to: &str) -> Request {
    let compare = Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Value.into(),
        key: key.to_owned().into(),
        target_union: Some(TargetUnion::Value(from.to_owned().into())),
        ..Compare::default()
    };
    let op = |request| vec![RequestOp { request: Some(request) }];
    Request::Txn(TxnRequest {
        compare: vec![compare],
        success: op(proto::etcdserverpb::request_op::Request::RequestPut(history::put(key, to))),
        failure: op(proto::etcdserverpb::request_op::Request::RequestRange(history::get(key))),
    })
}

/// Puts all in one transaction.
pub(crate) fn puts(keys: &[&str], value: &str) -> Request {
    let put = |key: &&str| proto::etcdserverpb::request_op::Request::RequestPut(history::put(key, value));
    let success = keys.iter().map(|key| RequestOp { request: Some(put(key)) }).collect();
    Request::Txn(TxnRequest { success, ..TxnRequest::default() })
}

pub(crate) fn grant(id: i64, ttl: i64) -> Request {
    Request::Grant(LeaseGrantRequest { id, ttl })
}

pub(crate) fn revoke(id: i64) -> Request {
    Request::Revoke(LeaseRevokeRequest { id })
}

pub(crate) fn compact(revision: i64) -> Request {
    Request::Compact(CompactionRequest { revision, physical: true })
}

/// Operation n from 10 n to 10 n + 5, and whoever watches everything is told at once.
pub(crate) fn serial(requests: &[Request]) -> (Vec<Operation>, Sightings) {
    let leases = requests.iter().filter_map(|request| match request {
        Request::Grant(grant) => Some(grant.id),
        _ => None,
    });
    let mut store = Store::new(leases);
    let (mut history, mut sightings) = (Vec::new(), Sightings::new());
    for (number, request) in (0_u32..).zip(requests) {
        let (answer, events) = store.run(request).expect("the script is right");
        let from = seconds(10 * u64::from(number));
        let at = from + seconds(5);
        if !events.is_empty() {
            sightings.insert(store.revision(), Sighting { events, at });
        }
        history.push(Operation {
            client: number,
            call: Call { endpoint: 0, request: request.clone() },
            invoked: from,
            outcome: Outcome::Ok { at, answer },
            phase: Phase::Main,
        });
    }
    (history, sightings)
}

pub(crate) fn unknown(operation: &mut Operation) {
    operation.outcome = Outcome::Info { why: "no answer".to_owned() };
}

pub(crate) fn refused(operation: &mut Operation) {
    operation.outcome = Outcome::Fail { at: operation.answered().expect("it was answered"), code: 9 };
}

/// The same, and from `from` to `to`.
pub(crate) fn moved(operation: &mut Operation, from: u64, to: u64) {
    operation.invoked = seconds(from);
    if let Outcome::Ok { at, .. } = &mut operation.outcome {
        *at = seconds(to);
    }
}

/// The answer of another operation.
pub(crate) fn answered_as(history: &mut [Operation], number: usize, other: usize) {
    let answer = history[other].answer().expect("it was answered").clone();
    let at = history[number].answered().expect("it was answered");
    history[number].outcome = Outcome::Ok { at, answer };
}
