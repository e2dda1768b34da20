//! Requests of every kind, one after another, against the model: the same answer field by field, and the same keys.

use std::collections::BTreeMap;

use bytes::Bytes;
use journal::{LeaseId, Write};
use proptest::prelude::*;
use proto::etcdserverpb as wire;
use tonic::Status;
use wire::compare::TargetUnion;
use wire::request_op::Request;

use super::plan::Look;
use super::*;
use crate::arrange::Fetch;
use crate::etcd::{pack, validate};
use crate::model::Model;
use crate::operation::{Range, Txn};
use crate::requests::{delete_request, put_request, txn_request};

/// Facts applied one after another: what memstores do, without their reasons to be fast.
struct Facts {
    states: Vec<BTreeMap<Bytes, KeyValue>>,
    compacted: Revision,
    leases: Vec<LeaseId>,
}

impl Facts {
    fn new() -> Facts {
        Facts { states: vec![BTreeMap::new()], compacted: Revision::ZERO, leases: vec![LeaseId(7)] }
    }

    fn revision(&self) -> Revision {
        Revision(self.states.len() as u64)
    }

    fn find(&self, keys: &KeyRange, at: Revision, fetch: Fetch) -> Found {
        let state = &self.states[usize::try_from(at.0).expect("small") - 1];
        let inside: Vec<_> = state.values().filter(|kv| keys.contains(&kv.key)).cloned().collect();
        let count = inside.len() as u64;
        let mut kvs: Vec<_> = inside
            .into_iter()
            .filter(|kv| fetch.bounds.admit(kv.mod_revision, kv.create_revision))
            .take(if fetch.limit == 0 { usize::MAX } else { fetch.limit })
            .collect();
        match fetch.projection {
            memstore::Projection::Full => {}
            memstore::Projection::KeysOnly => kvs.iter_mut().for_each(|kv| kv.value.clear()),
            memstore::Projection::CountOnly => kvs.clear(),
        }
        Found { kvs, count, parts: vec![Part { keys: keys.clone(), at }] }
    }

    fn look(&self, look: &Look) -> Found {
        self.find(&look.keys, self.revision(), Fetch::all(look.projection))
    }

    fn range(&self, range: &Range) -> Result<Found, Error> {
        let at = range.past().unwrap_or(self.revision());
        if at > self.revision() {
            return Err(Error::FutureRevision);
        }
        if at < self.compacted {
            return Err(Error::Compacted);
        }
        Ok(self.find(&range.keys, at, range.fetch()))
    }

    fn run(&mut self, plan: &Plan) -> Result<crate::answer::TxnAnswer, Error> {
        let found = plan.looks.iter().map(|look| self.look(look)).collect();
        let ranges = plan.ranges.iter().map(|range| self.range(range)).collect();
        let unknown = |lease: &LeaseId| *lease != LeaseId::NONE && !self.leases.contains(lease);
        let outcome = evaluate(plan, found, ranges).map_err(|refused| {
            if refused.leases.iter().any(unknown) { Error::LeaseNotFound } else { refused.error }
        })?;
        let mut put_leases = outcome.writes.iter().filter_map(|write| match write {
            Write::Put { lease, .. } => Some(lease),
            Write::Delete { .. } => None,
        });
        if put_leases.any(unknown) {
            return Err(Error::LeaseNotFound);
        }
        self.apply(&outcome.writes);
        Ok(outcome.answers.settle(plan, self.revision()))
    }

    fn apply(&mut self, writes: &[Write]) {
        if writes.is_empty() {
            return;
        }
        let mut state = self.states.last().expect("there is always one").clone();
        let revision = self.revision().next();
        for write in writes {
            match write.clone() {
                Write::Put { key, value, lease } => {
                    let kv = state.entry(key.clone()).or_insert(KeyValue {
                        key,
                        create_revision: revision,
                        ..KeyValue::default()
                    });
                    (kv.value, kv.lease, kv.mod_revision) = (value, lease, revision);
                    kv.version += 1;
                }
                Write::Delete { key } => assert!(state.remove(&key).is_some(), "only what exists is deleted"),
            }
        }
        self.states.push(state);
    }

    fn txn(&mut self, request: wire::TxnRequest) -> Result<wire::TxnResponse, Status> {
        let limits = validate::Limits { txn_operations_max: 8, ..validate::Limits::default() };
        let txn: Txn = validate::txn(request, &limits)?;
        let compared: Vec<_> = looks_of_compares(&txn).iter().map(|look| self.look(look)).collect();
        let plan = choose(&txn, &compared, self.compacted == Revision::ZERO);
        let answer = self.run(&plan)?;
        let header = header(answer.revision);
        Ok(pack::txn(answer, header))
    }
}

fn header(revision: Revision) -> Option<wire::ResponseHeader> {
    Some(wire::ResponseHeader { revision: revision.to_wire(), ..wire::ResponseHeader::default() })
}

#[derive(Clone, Debug)]
enum Step {
    Put(wire::PutRequest),
    Delete(wire::DeleteRangeRequest),
    Txn(wire::TxnRequest),
    Compact(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => put_request().prop_map(Step::Put),
        1 => delete_request().prop_map(Step::Delete),
        8 => txn_request().prop_map(Step::Txn),
        1 => (1..20u64).prop_map(Step::Compact),
    ]
}

fn texts<T>(answer: Result<T, Status>) -> Result<T, (i32, String)> {
    answer.map_err(|status| (status.code() as i32, status.message().to_owned()))
}

fn run(steps: Vec<Step>) {
    let mut facts = Facts::new();
    let mut model = Model::new(8);
    model.leases.insert(7);
    let limits = validate::Limits::default();
    for step in steps {
        let shown = format!("{step:#?}");
        match step {
            Step::Put(request) => {
                let expected = model.put(&request);
                let answer = validate::put(request, &limits).and_then(|put| {
                    let plan = Plan::of_put(&put);
                    facts.run(&plan).map(|answer| answer.only())
                });
                let answer = answer.map(|answer| match answer {
                    crate::answer::OpAnswer::Put(answer) => {
                        let header = header(answer.revision);
                        pack::put(answer, header)
                    }
                    other => panic!("{other:?}"),
                });
                assert_eq!(texts(answer.map_err(Status::from)), texts(expected), "{shown}");
            }
            Step::Delete(request) => {
                let expected = model.delete_range(&request);
                let answer = validate::delete_range(request, &limits).and_then(|delete| {
                    let plan = Plan::of_delete(&delete);
                    facts.run(&plan).map(|answer| answer.only())
                });
                let answer = answer.map(|answer| match answer {
                    crate::answer::OpAnswer::DeleteRange(answer) => {
                        let header = header(answer.revision);
                        pack::delete_range(answer, header)
                    }
                    other => panic!("{other:?}"),
                });
                assert_eq!(texts(answer.map_err(Status::from)), texts(expected), "{shown}");
            }
            Step::Txn(request) => {
                let expected = model.txn(&request);
                assert_eq!(texts(facts.txn(request)), texts(expected), "{shown}");
            }
            Step::Compact(revision) => {
                let revision = revision.min(facts.revision().0);
                let request =
                    wire::CompactionRequest { revision: Revision(revision).to_wire(), physical: false };
                if model.compact(&request).is_ok() {
                    facts.compacted = Revision(revision);
                }
            }
        }
        assert_eq!(facts.revision().to_wire(), model.revision(), "{shown}");
        let everything = wire::RangeRequest {
            key: Bytes::from_static(b"\0"),
            range_end: Bytes::from_static(b"\0"),
            ..wire::RangeRequest::default()
        };
        let all = facts.find(&KeyRange::all(), facts.revision(), Fetch::all(memstore::Projection::Full));
        let kvs: Vec<proto::mvccpb::KeyValue> = all.kvs.into_iter().map(Into::into).collect();
        assert_eq!(kvs, model.range(&everything).expect("all keys can be read").kvs, "{shown}");
    }
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
