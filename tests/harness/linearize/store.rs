//! The serial model, which also tells what each request changed.

use std::collections::BTreeMap;

use bytes::Bytes;
use proto::etcdserverpb::request_op::Request as Op;
use proto::etcdserverpb::response_op::Response;
use proto::etcdserverpb::{
    CompactionResponse, DeleteRangeRequest, LeaseGrantResponse, LeaseRevokeResponse, RangeRequest, RequestOp,
    ResponseHeader, TxnRequest, TxnResponse,
};
use proto::mvccpb::event::EventType;
use proto::mvccpb::{Event, KeyValue};
use tonic::Status;

use crate::compat::{Outcome, Request};
use crate::history::Answer;
use crate::model::Model;

type Keys = BTreeMap<Bytes, KeyValue>;

#[derive(Clone)]
pub(super) struct Store {
    model: Model,
}

impl Store {
    /// Empty. That a lease is there is not what this judges: all are, from the beginning.
    pub(super) fn new(leases: impl Iterator<Item = i64>) -> Store {
        let mut model = Model::new(1 << 20);
        model.leases.extend(leases);
        Store { model }
    }

    pub(super) fn revision(&self) -> i64 {
        self.model.revision()
    }

    /// What a store would answer, and the events.
    pub(super) fn run(&mut self, request: &Request) -> Result<(Answer, Vec<Event>), Status> {
        let before = self.keys();
        let (outcome, touched) = match request {
            Request::Range(range) => (Outcome::Range(self.model.range(range)?), Vec::new()),
            Request::Put(put) => (Outcome::Put(self.model.put(put)?), vec![put.key.clone()]),
            Request::Delete(delete) => {
                (Outcome::Delete(self.model.delete_range(delete)?), selected(delete, &before))
            }
            Request::Txn(txn) => {
                let answer = self.model.txn(txn)?;
                let touched = touched(txn, &answer, &before);
                (Outcome::Txn(answer), touched)
            }
            Request::Revoke(revoke) => self.revoke(revoke.id, &before)?,
            Request::Grant(_) => (
                Outcome::Grant(LeaseGrantResponse { header: self.header(), ..Default::default() }),
                Vec::new(),
            ),
            Request::Compact(_) => {
                (Outcome::Compact(CompactionResponse { header: self.header() }), Vec::new())
            }
            other => unreachable!("{other:?} is not judged"),
        };
        let events = events(&touched, &before, &self.keys(), self.revision());
        Ok((Answer::new(outcome), events))
    }

    /// The events that it would cause now.
    pub(super) fn events_of(&self, request: &Request) -> Vec<Event> {
        self.clone().run(request).map_or_else(|_| Vec::new(), |(_, events)| events)
    }

    fn header(&self) -> Option<ResponseHeader> {
        Some(ResponseHeader { revision: self.revision(), ..ResponseHeader::default() })
    }

    pub(super) fn keys(&self) -> Keys {
        let everything =
            RangeRequest { key: vec![0].into(), range_end: vec![0].into(), ..Default::default() };
        let answer = self.model.range(&everything).expect("all keys can be read");
        answer.kvs.into_iter().map(|kv| (kv.key.clone(), kv)).collect()
    }

    pub(super) fn attached(&self, lease: i64) -> Vec<KeyValue> {
        self.keys().into_values().filter(|kv| kv.lease == lease).collect()
    }

    fn revoke(&mut self, lease: i64, before: &Keys) -> Result<(Outcome, Vec<Bytes>), Status> {
        let keys: Vec<Bytes> =
            before.values().filter(|kv| kv.lease == lease).map(|kv| kv.key.clone()).collect();
        let delete = |key: &Bytes| {
            let delete = DeleteRangeRequest { key: key.clone(), ..DeleteRangeRequest::default() };
            RequestOp { request: Some(Op::RequestDeleteRange(delete)) }
        };
        let success = keys.iter().map(delete).collect();
        self.model.txn(&TxnRequest { success, ..TxnRequest::default() })?;
        Ok((Outcome::Revoke(LeaseRevokeResponse { header: self.header() }), keys))
    }
}

fn selected(delete: &DeleteRangeRequest, before: &Keys) -> Vec<Bytes> {
    before.keys().filter(|key| is_in(key, &delete.key, &delete.range_end)).cloned().collect()
}

/// Whether a range of etcd's, from `start` to `end`, has `key`.
pub(crate) fn is_in(key: &[u8], start: &[u8], end: &[u8]) -> bool {
    match end {
        [] => key == start,
        [0] => start <= key,
        _ => start <= key && key < end,
    }
}

/// The keys that a transaction may have changed, in the order of their sub-revisions.
fn touched(txn: &TxnRequest, answer: &TxnResponse, before: &Keys) -> Vec<Bytes> {
    let ops = if answer.succeeded { &txn.success } else { &txn.failure };
    let ops = ops.iter().filter_map(|op| op.request.as_ref());
    let mut keys = Vec::new();
    for (op, response) in ops.zip(&answer.responses) {
        match (op, &response.response) {
            (Op::RequestPut(put), _) => keys.push(put.key.clone()),
            (Op::RequestDeleteRange(delete), _) => keys.extend(selected(delete, before)),
            (Op::RequestTxn(nested), Some(Response::ResponseTxn(answer))) => {
                keys.extend(touched(nested, answer, before));
            }
            _ => {}
        }
    }
    keys
}

fn events(touched: &[Bytes], before: &Keys, after: &Keys, revision: i64) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    for key in touched {
        let prev_kv = before.get(key).cloned();
        let event = match after.get(key) {
            Some(kv) if kv.mod_revision == revision => {
                Event { r#type: EventType::Put.into(), kv: Some(kv.clone()), prev_kv }
            }
            None if prev_kv.is_some() => {
                let kv = KeyValue { key: key.clone(), mod_revision: revision, ..KeyValue::default() };
                Event { r#type: EventType::Delete.into(), kv: Some(kv), prev_kv }
            }
            _ => continue,
        };
        // Deletions may overlap: the first one had it.
        if !events.iter().any(|other| other.kv == event.kv) {
            events.push(event);
        }
    }
    events
}
