//! Requests that chance would not find: borders, oddities, refusals. In order; later ones stand on earlier ones.

use bytes::Bytes;
use proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::etcdserverpb::{
    AlarmRequest, CompactionRequest, Compare, DeleteRangeRequest, HashKvRequest, LeaseGrantRequest,
    LeaseLeasesRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest, PutRequest, RangeRequest, RequestOp,
    TxnRequest, request_op,
};

use super::request::Request;

mod oddities;
mod streams;
mod transactions;

pub use streams::large_values;

fn put(key: &'static str, value: &'static str) -> PutRequest {
    PutRequest { key: key.into(), value: value.into(), ..PutRequest::default() }
}

fn get(key: &'static str, range_end: &'static str) -> RangeRequest {
    RangeRequest { key: key.into(), range_end: range_end.into(), ..RangeRequest::default() }
}

fn delete(key: &'static str, range_end: &'static str) -> DeleteRangeRequest {
    DeleteRangeRequest { key: key.into(), range_end: range_end.into(), prev_kv: true }
}

fn op(request: request_op::Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

fn op_put(key: &'static str, value: &'static str) -> RequestOp {
    op(request_op::Request::RequestPut(put(key, value)))
}

fn op_get(key: &'static str, range_end: &'static str) -> RequestOp {
    op(request_op::Request::RequestRange(get(key, range_end)))
}

fn op_delete(key: &'static str, range_end: &'static str) -> RequestOp {
    op(request_op::Request::RequestDeleteRange(delete(key, range_end)))
}

fn op_txn(txn: TxnRequest) -> RequestOp {
    op(request_op::Request::RequestTxn(txn))
}

fn txn(compare: Vec<Compare>, success: Vec<RequestOp>, failure: Vec<RequestOp>) -> TxnRequest {
    TxnRequest { compare, success, failure }
}

fn compare(key: &'static str, target: CompareTarget, result: CompareResult, union: TargetUnion) -> Compare {
    Compare {
        key: key.into(),
        target: target as i32,
        result: result as i32,
        target_union: Some(union),
        range_end: Bytes::new(),
    }
}

fn version(key: &'static str, result: CompareResult, version: i64) -> Compare {
    compare(key, CompareTarget::Version, result, TargetUnion::Version(version))
}

fn puts(count: usize, from: usize) -> Vec<RequestOp> {
    let put = |number| PutRequest { key: format!("many/{number}").into(), ..PutRequest::default() };
    (from..from + count).map(|number| op(request_op::Request::RequestPut(put(number)))).collect()
}

/// All of them.
#[must_use]
pub fn corpus() -> Vec<Request> {
    [
        keys_and_ranges(),
        puts_and_deletes(),
        transactions::transactions(),
        transactions::nested(),
        limits(),
        leases(),
        streams::streams(),
        compactions(),
        oddities::oddities(),
    ]
    .concat()
}

fn keys_and_ranges() -> Vec<Request> {
    let mut requests: Vec<Request> =
        ["b", "a", "c", "k3", "m", "m\u{0}", "z", "/registry/l/1", "/registry/k"]
            .map(|key| Request::Put(put(key, "value")))
            .into();
    let ranges = [
        ("a", ""),
        ("a", "c"),
        ("a", "b\u{0}"),
        ("b", "b"),
        ("c", "a"),
        ("a", "\u{0}"),
        ("\u{0}", "\u{0}"),
        ("", ""),
        ("", "b"),
        ("", "\u{0}"),
        ("zz", "\u{0}"),
        ("m", "m\u{0}\u{0}"),
        ("/registry/", "/registry0"),
    ];
    for (key, end) in ranges {
        let range = get(key, end);
        requests.push(Request::Range(range.clone()));
        for limit in [-1, 1, 2, 100] {
            requests.push(Request::Range(RangeRequest { limit, ..range.clone() }));
        }
        for revision in [-1, 1, 2, 5, 1_000_000] {
            requests.push(Request::Range(RangeRequest { revision, limit: 2, ..range.clone() }));
        }
        requests.push(Request::Range(RangeRequest { count_only: true, limit: 1, ..range.clone() }));
        requests.push(Request::Range(RangeRequest { count_only: true, keys_only: true, ..range.clone() }));
        requests.push(Request::Range(RangeRequest { keys_only: true, serializable: true, ..range.clone() }));
        for sort_order in 0..=3 {
            for sort_target in [0, 2, 3, 5, -1] {
                requests.push(Request::Range(RangeRequest {
                    sort_order,
                    sort_target,
                    limit: 3,
                    ..range.clone()
                }));
            }
        }
        for bound in [1, 3, 6] {
            let range = range.clone();
            requests.push(Request::Range(RangeRequest {
                min_mod_revision: bound,
                limit: 2,
                ..range.clone()
            }));
            requests.push(Request::Range(RangeRequest {
                max_mod_revision: bound,
                limit: 2,
                ..range.clone()
            }));
            requests.push(Request::Range(RangeRequest {
                max_create_revision: bound,
                count_only: true,
                ..range
            }));
        }
    }
    requests
}

fn puts_and_deletes() -> Vec<Request> {
    vec![
        Request::Put(put("", "value")),
        Request::Put(put("empty", "")),
        Request::Put(PutRequest { prev_kv: true, ..put("a", "again") }),
        Request::Put(PutRequest { prev_kv: true, ..put("new", "first") }),
        Request::Put(PutRequest { ignore_value: true, ..put("a", "") }),
        Request::Put(PutRequest { ignore_value: true, ..put("a", "value") }),
        Request::Put(PutRequest { ignore_value: true, ..put("nowhere", "") }),
        Request::Put(PutRequest { ignore_lease: true, ..put("a", "kept lease") }),
        Request::Put(PutRequest { ignore_lease: true, lease: 9, ..put("a", "value") }),
        Request::Put(PutRequest { ignore_lease: true, ..put("nowhere", "value") }),
        Request::Put(PutRequest { ignore_lease: true, ignore_value: true, ..put("a", "") }),
        Request::Put(PutRequest { lease: 404, ..put("a", "value") }),
        Request::Put(PutRequest { lease: -404, ..put("a", "value") }),
        Request::Range(get("a", "")),
        Request::Delete(delete("", "")),
        Request::Delete(delete("", "\u{0}")),
        Request::Delete(delete("nowhere", "")),
        Request::Delete(delete("c", "a")),
        Request::Delete(delete("a", "c")),
        Request::Range(get("a", "c")),
        Request::Put(put("a", "a new life")),
        Request::Range(get("a", "")),
        Request::Delete(delete("m", "\u{0}")),
    ]
}

fn limits() -> Vec<Request> {
    let large = |bytes: usize| PutRequest {
        key: "large".into(),
        value: vec![b'v'; bytes].into(),
        ..PutRequest::default()
    };
    let inner = |count| op_txn(txn(vec![], puts(count, 1000), vec![]));
    let outer = |count, within| txn(vec![], [puts(count, 0), vec![inner(within)]].concat(), vec![]);
    let compares = |count| txn(vec![version("a", CompareResult::Equal, 1); count], vec![], vec![]);
    vec![
        Request::Txn(txn(vec![], puts(128, 0), vec![])),
        Request::Txn(txn(vec![], puts(129, 0), vec![])),
        Request::Txn(txn(vec![], vec![], puts(129, 0))),
        Request::Txn(compares(128)),
        Request::Txn(compares(129)),
        Request::Txn(outer(63, 64)),
        Request::Txn(outer(63, 65)),
        Request::Txn(outer(126, 1)),
        Request::Txn(outer(127, 1)),
        Request::Put(large(1_000_000)),
        Request::Put(large(1_572_700)),
        Request::Put(large(1_572_864)),
        Request::Put(large(2_000_000)),
        Request::Delete(delete("large", "")),
        Request::Delete(delete("many/", "many0")),
    ]
}

fn leases() -> Vec<Request> {
    let grant = |id, ttl| Request::Grant(LeaseGrantRequest { ttl, id });
    let ask = |id| Request::TimeToLive(LeaseTimeToLiveRequest { id, keys: true });
    let revoke = |id| Request::Revoke(LeaseRevokeRequest { id });
    vec![
        grant(100, 5_000),
        grant(100, 5_000),
        grant(-100, 5_000),
        grant(101, 9_000_000_000),
        grant(102, 9_000_000_001),
        ask(100),
        ask(404),
        ask(0),
        Request::Put(PutRequest { lease: 100, ..put("l2", "v") }),
        Request::Put(PutRequest { lease: 100, ..put("l1", "v") }),
        Request::Put(PutRequest { lease: -100, ..put("z1", "v") }),
        ask(100),
        Request::Put(PutRequest { lease: -100, ..put("l1", "moved") }),
        Request::Put(PutRequest { ignore_lease: true, ..put("l2", "kept") }),
        ask(100),
        ask(-100),
        Request::Put(put("z1", "detached")),
        ask(-100),
        Request::Delete(delete("l1", "")),
        Request::Txn(txn(
            vec![compare("l2", CompareTarget::Lease, CompareResult::Equal, TargetUnion::Lease(100))],
            vec![op(request_op::Request::RequestPut(PutRequest { lease: 100, ..put("a1", "v") }))],
            vec![],
        )),
        Request::Txn(txn(
            vec![],
            vec![
                op_put("gone?", "v"),
                op(request_op::Request::RequestPut(PutRequest { lease: 404, ..put("a2", "v") })),
            ],
            vec![],
        )),
        Request::Range(get("gone?", "")),
        Request::Leases(LeaseLeasesRequest {}),
        revoke(404),
        revoke(0),
        revoke(100),
        revoke(100),
        revoke(-100),
        revoke(101),
        Request::Leases(LeaseLeasesRequest {}),
        Request::Range(get("a", "\u{0}")),
        Request::Alarm(AlarmRequest::default()),
    ]
}

fn compactions() -> Vec<Request> {
    let compact = |revision, physical| Request::Compact(CompactionRequest { revision, physical });
    let at = |revision| Request::Range(RangeRequest { revision, ..get("a", "\u{0}") });
    let hash = |revision| Request::HashKv(HashKvRequest { revision });
    let hash_of_compacted = |revision| Request::HashOfCompacted(HashKvRequest { revision });
    vec![
        hash(0),
        hash(5),
        hash(1_000_000),
        compact(1_000_000, false),
        compact(-1, false),
        compact(10, true),
        compact(10, true),
        compact(9, false),
        compact(0, false),
        compact(-1, false),
        at(9),
        at(10),
        at(11),
        hash(9),
        hash_of_compacted(10),
        hash(0),
        Request::Txn(txn(
            vec![],
            vec![op(request_op::Request::RequestRange(RangeRequest { revision: 9, ..get("a", "") }))],
            vec![],
        )),
        compact(40, true),
        hash(0),
        hash(39),
        hash_of_compacted(40),
        hash(41),
        hash(45),
        at(40),
        Request::Stream(RangeRequest { revision: 39, ..get("a", "\u{0}") }),
        Request::Stream(RangeRequest { revision: 40, ..get("a", "\u{0}") }),
    ]
}
