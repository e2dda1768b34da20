//! Requests one after another, and whether each is answered as a program that is too simple to be wrong answers it:
//! field by field, and with the same keys behind it.

use std::collections::BTreeMap;

use bytes::Bytes;
use journal::{KeyRange, LeaseId, Revision, Write};
use memstore::KeyValue;
use proto::etcdserverpb as wire;
use tonic::Status;

use super::plan::Look;
use super::{Found, Part, Plan, choose, evaluate, looks_of_compares};
use crate::arrange::Fetch;
use crate::error::Error;
use crate::etcd::{pack, validate};
use crate::model::Model;
use crate::operation::{Range, Txn};

/// A request, or what makes old revisions go.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Put(wire::PutRequest),
    Delete(wire::DeleteRangeRequest),
    Txn(wire::TxnRequest),
    Compact(u64),
}

/// Facts applied one after another: what memstores do, without their reasons to be fast.
pub(super) struct Facts {
    states: Vec<BTreeMap<Bytes, KeyValue>>,
    compacted: Revision,
    leases: Vec<LeaseId>,
}

impl Facts {
    pub(super) fn new() -> Facts {
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

    pub(super) fn look(&self, look: &Look) -> Found {
        self.find(&look.keys, self.revision(), Fetch::all(look.projection))
    }

    pub(super) fn range(&self, range: &Range) -> Result<Found, Error> {
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

fn texts<T>(answer: Result<T, Status>) -> Result<T, (i32, String)> {
    answer.map_err(|status| (status.code() as i32, status.message().to_owned()))
}

/// # Panics
/// Where an answer is another.
pub(crate) fn run(steps: Vec<Step>) {
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
