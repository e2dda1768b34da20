//! Keys that a sorted range leaves in any order, because what it sorts by is equal.
//!
//! etcd sorts with Go's `sort.Sort`. Up to twelve keys that keeps the order of equal ones, and so they are compared as
//! they come. More of them it shuffles, the same way each time but by no rule that clients could know; Mainstem
//! keeps the order of keys. There, ties are brought into the order of their keys before they are compared, and of
//! those that the limit cut off, which are any of their group, only how many are left counts.

use proto::etcdserverpb::request_op::Request as Op;
use proto::etcdserverpb::response_op::Response;
use proto::etcdserverpb::{RangeRequest, RangeResponse, TxnRequest, TxnResponse};
use proto::mvccpb::KeyValue;

use super::outcome::Outcome;
use super::request::Request;

/// Go sorts as many by insertion.
const STABLE_MAX: i64 = 12;

/// The outcome with its ties in order.
pub(super) fn settled(request: &Request, mut outcome: Outcome) -> Outcome {
    match (request, &mut outcome) {
        (Request::Range(request), Outcome::Range(answer)) => settle(request, answer),
        (Request::Txn(request), Outcome::Txn(answer)) => settle_txn(request, answer),
        _ => {}
    }
    outcome
}

fn settle_txn(request: &TxnRequest, answer: &mut TxnResponse) {
    let taken = if answer.succeeded { &request.success } else { &request.failure };
    for (op, response) in taken.iter().zip(&mut answer.responses) {
        match (&op.request, &mut response.response) {
            (Some(Op::RequestRange(request)), Some(Response::ResponseRange(answer))) => {
                settle(request, answer);
            }
            (Some(Op::RequestTxn(request)), Some(Response::ResponseTxn(answer))) => {
                settle_txn(request, answer);
            }
            _ => {}
        }
    }
}

fn settle(request: &RangeRequest, answer: &mut RangeResponse) {
    if answer.count <= STABLE_MAX || request.sort_target == 0 {
        return;
    }
    let rank = |kv: &KeyValue| match request.sort_target {
        1 => (kv.version, Default::default()),
        2 => (kv.create_revision, Default::default()),
        3 => (kv.mod_revision, Default::default()),
        // Values that are left out all look equal, and then are one group.
        _ => (0, kv.value.clone()),
    };
    let groups = answer.kvs.chunk_by_mut(|one, other| rank(one) == rank(other));
    let mut last = None;
    for group in groups {
        group.sort_by(|one, other| one.key.cmp(&other.key));
        last = Some(group);
    }
    if let (Some(cut), true) = (last, answer.more) {
        cut.fill(KeyValue::default());
    }
}
