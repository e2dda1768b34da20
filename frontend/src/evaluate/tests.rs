//! Requests of every kind, one after another, against the model: the same answer field by field, and the same keys.

use bytes::Bytes;
use proptest::prelude::*;
use proto::etcdserverpb as wire;
use wire::compare::TargetUnion;
use wire::request_op::Request;

use super::serial::{Facts, Step, run};
use super::*;
use crate::etcd::validate;
use crate::operation::Txn;
use crate::requests::{delete_request, put_request, txn_request};

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => put_request().prop_map(Step::Put),
        1 => delete_request().prop_map(Step::Delete),
        8 => txn_request().prop_map(Step::Txn),
        1 => (1..20u64).prop_map(Step::Compact),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

    #[test]
    fn every_answer_is_a_serial_etcds(steps in prop::collection::vec(step(), 1..14)) {
        run(steps);
    }
}

fn put(key: &'static str) -> Request {
    Request::RequestPut(wire::PutRequest { key: key.into(), prev_kv: true, ..wire::PutRequest::default() })
}

fn all() -> (Bytes, Bytes) {
    (Bytes::from_static(b"\0"), Bytes::from_static(b"\0"))
}

fn get_all() -> Request {
    let (key, range_end) = all();
    Request::RequestRange(wire::RangeRequest { key, range_end, ..wire::RangeRequest::default() })
}

fn delete_all() -> Request {
    let (key, range_end) = all();
    Request::RequestDeleteRange(wire::DeleteRangeRequest { key, range_end, prev_kv: true })
}

/// Succeeds at version 2, which `a` has. Version 9 is looked for in `b`, which does not exist.
fn branches_of(versions: Option<i64>, success: Vec<Request>, failure: Vec<Request>) -> wire::TxnRequest {
    let ops = |requests: Vec<Request>| {
        requests.into_iter().map(|request| wire::RequestOp { request: Some(request) }).collect()
    };
    let compare = versions.map(|version| wire::Compare {
        key: if version == 9 { "b".into() } else { "a".into() },
        target_union: Some(TargetUnion::Version(version)),
        ..wire::Compare::default()
    });
    wire::TxnRequest { compare: compare.into_iter().collect(), success: ops(success), failure: ops(failure) }
}

fn put_twice_then(txn: wire::TxnRequest) {
    let put = || Step::Put(wire::PutRequest { key: "a".into(), ..wire::PutRequest::default() });
    run(vec![put(), put(), Step::Txn(txn)]);
}

#[test]
fn a_key_put_again_after_its_deletion_begins_anew() {
    put_twice_then(branches_of(
        None,
        vec![delete_all(), put("a"), get_all(), delete_all(), get_all()],
        vec![],
    ));
}

#[test]
fn own_puts_are_counted_on_top_of_what_was_there() {
    put_twice_then(branches_of(None, vec![put("a"), put("b"), get_all()], vec![]));
}

#[test]
fn a_branch_that_is_not_taken_keeps_its_compares_to_itself() {
    let branches = || (vec![get_all()], vec![delete_all()]);
    let nested = |version| {
        let (success, failure) = branches();
        Request::RequestTxn(branches_of(Some(version), success, failure))
    };
    for outer in [2, 9] {
        put_twice_then(branches_of(Some(outer), vec![nested(9), get_all()], vec![nested(2), get_all()]));
    }
    let nested_in = |version| Request::RequestTxn(branches_of(Some(version), vec![nested(2)], vec![]));
    let both = |version| branches_of(Some(version), vec![nested(9)], vec![nested(2), nested(9)]);
    let sides = |version| vec![Request::RequestTxn(both(version)), nested(9), nested_in(9), nested_in(2)];
    for outer in [2, 9] {
        for inner in [2, 9] {
            put_twice_then(branches_of(Some(outer), sides(inner), sides(inner)));
        }
    }
}

#[test]
fn a_nested_compare_does_not_see_the_put_before_it() {
    let nested = Request::RequestTxn(branches_of(Some(2), vec![put("c")], vec![put("d")]));
    put_twice_then(branches_of(None, vec![put("a"), nested], vec![]));
}

fn plan_of(txn: &Txn, facts: &Facts) -> Vec<Read> {
    let compared: Vec<_> = looks_of_compares(txn).iter().map(|look| facts.look(look)).collect();
    let plan = choose(txn, &compared, true);
    let found = plan.looks.iter().map(|look| facts.look(look)).collect();
    let ranges = plan.ranges.iter().map(|range| facts.range(range)).collect();
    evaluate(&plan, found, ranges).expect("it is not refused").footprint
}

fn footprint_of(compares: &[(&'static str, i64)], success: Vec<Request>) -> Vec<Read> {
    let compare = |&(key, version): &(&'static str, i64)| wire::Compare {
        key: key.into(),
        target_union: Some(TargetUnion::Version(version)),
        ..wire::Compare::default()
    };
    let ops = success.into_iter().map(|request| wire::RequestOp { request: Some(request) }).collect();
    let request =
        wire::TxnRequest { compare: compares.iter().map(compare).collect(), success: ops, failure: vec![] };
    let txn = validate::txn(request, &validate::Limits::default()).expect("it is in order");
    plan_of(&txn, &Facts::new())
}

fn read(key: &'static str, end: &'static str) -> Read {
    Read::Keys { keys: KeyRange::from_wire(key.into(), end.into()), at: Revision(1) }
}

#[test]
fn a_compare_that_fails_is_all_that_the_choice_rests_on() {
    assert_eq!(footprint_of(&[("a", 0), ("b", 0)], vec![]), [read("a", ""), read("b", "")]);
    assert_eq!(footprint_of(&[("a", 0), ("b", 1), ("c", 0)], vec![]), [read("b", "")]);
}

#[test]
fn a_plain_put_rests_on_nothing_and_a_delete_on_its_keys() {
    let put = wire::PutRequest { key: "a".into(), ..wire::PutRequest::default() };
    assert_eq!(footprint_of(&[], vec![Request::RequestPut(put.clone())]), []);
    let with_prev = wire::PutRequest { prev_kv: true, ..put };
    assert_eq!(footprint_of(&[], vec![Request::RequestPut(with_prev)]), [read("a", "")]);
    let delete = wire::DeleteRangeRequest { key: "a".into(), range_end: "c".into(), prev_kv: false };
    assert_eq!(footprint_of(&[], vec![Request::RequestDeleteRange(delete)]), [read("a", "c")]);
}
