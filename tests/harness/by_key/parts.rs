//! What an operation means to each key.

use std::collections::BTreeMap;

use bytes::Bytes;
use maelstrom::check::linearize::Effect;
use proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::etcdserverpb::request_op::Request as Op;
use proto::etcdserverpb::response_op::Response;
use proto::etcdserverpb::{
    Compare, DeleteRangeRequest, DeleteRangeResponse, PutResponse, RangeRequest, RangeResponse, TxnRequest,
    TxnResponse,
};
use proto::mvccpb::KeyValue;

use super::{ABSENT, Keys, Values};
use crate::compat::{Outcome, Request};
use crate::history::{Operation, both_branches};
use crate::linearize::is_in;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) effect: Effect,
}

impl Part {
    /// The value that it shows to have been there.
    pub(super) fn saw(&self) -> Option<i64> {
        match self.effect {
            Effect::Is(value) => value,
            Effect::CompareAndSet { from, .. } => Some(from),
            Effect::ExistsNot(_) | Effect::Write(_) => None,
        }
    }

    pub(super) fn wrote(&self) -> Option<i64> {
        match self.effect {
            Effect::Write(value) | Effect::CompareAndSet { to: value, .. } => Some(value),
            Effect::Is(_) | Effect::ExistsNot(_) => None,
        }
    }
}

/// No value's number.
const IMPOSSIBLE: i64 = -1;

/// What is known of one key: that it was something, or was not, and what it became.
#[derive(Clone, Copy, Default)]
struct Known {
    was: Option<i64>,
    was_not: Option<i64>,
    became: Option<i64>,
}

impl Known {
    fn part(self) -> Option<Part> {
        let effect = match self {
            Known { was: Some(was), was_not: Some(not), .. } if was == not => Effect::Is(Some(IMPOSSIBLE)),
            Known { was: Some(from), became: Some(to), .. } if from != to => {
                Effect::CompareAndSet { from, to }
            }
            Known { was: Some(value), .. } => Effect::Is(Some(value)),
            Known { became: Some(value), .. } => Effect::Write(value),
            Known { was_not: Some(value), .. } => Effect::ExistsNot(value),
            Known { .. } => return None,
        };
        Some(Part { effect })
    }
}

/// Every key that is written, but those that ever had a lease.
pub(super) fn keys(history: &[Operation]) -> Keys {
    let mut all = Keys::new();
    let mut leased = Keys::new();
    let mut add = |op: &Op| {
        if let Op::RequestPut(put) = op {
            all.insert(put.key.clone());
            if put.lease != 0 || put.ignore_value {
                leased.insert(put.key.clone());
            }
        }
    };
    for operation in history {
        match &operation.call.request {
            Request::Put(put) => add(&Op::RequestPut(put.clone())),
            Request::Txn(txn) => both_branches(txn).into_iter().for_each(&mut add),
            _ => {}
        }
    }
    all.retain(|key| !leased.contains(key));
    all
}

pub(super) fn parts<'k>(
    operation: &Operation,
    keys: &'k Keys,
    values: &mut Values,
) -> Vec<(&'k Bytes, Part)> {
    let request = &operation.call.request;
    if let Some(answer) = operation.answer() {
        let mut known = Knowledge { keys, values, parts: BTreeMap::new() };
        known.answered(request, answer.told());
        return known.told();
    }
    match request {
        _ if operation.failed() => Vec::new(),
        Request::Put(put) => may(&[], &[&Op::RequestPut(put.clone())], keys, values),
        Request::Delete(delete) => may(&[], &[&Op::RequestDeleteRange(delete.clone())], keys, values),
        Request::Txn(txn) => may_either(txn, keys, values),
        _ => Vec::new(),
    }
}

/// What an unanswered transaction may have done, each branch for itself.
fn may_either<'k>(txn: &TxnRequest, keys: &'k Keys, values: &mut Values) -> Vec<(&'k Bytes, Part)> {
    let mut parts = Vec::new();
    for (guards, ops) in [(&txn.compare[..], &txn.success), (&[], &txn.failure)] {
        let ops: Vec<&Op> = ops.iter().filter_map(|op| op.request.as_ref()).collect();
        parts.extend(may(guards, &ops, keys, values));
        for op in ops {
            if let Op::RequestTxn(nested) = op {
                parts.extend(may_either(nested, keys, values));
            }
        }
    }
    parts
}

fn may<'k>(guards: &[Compare], ops: &[&Op], keys: &'k Keys, values: &mut Values) -> Vec<(&'k Bytes, Part)> {
    let mut known = Knowledge { keys, values, parts: BTreeMap::new() };
    guards.iter().for_each(|compare| known.compared(compare, true));
    for op in ops {
        match op {
            Op::RequestPut(put) => known.put(&put.key, &put.value, None),
            Op::RequestDeleteRange(delete) => known.gone(delete),
            Op::RequestRange(_) | Op::RequestTxn(_) => {}
        }
    }
    // A guard alone says nothing.
    known.parts.retain(|_, known| known.became.is_some());
    known.told()
}

struct Knowledge<'k, 'v> {
    keys: &'k Keys,
    values: &'v mut Values,
    parts: BTreeMap<&'k Bytes, Known>,
}

impl<'k> Knowledge<'k, '_> {
    fn told(self) -> Vec<(&'k Bytes, Part)> {
        self.parts.into_iter().filter_map(|(key, known)| Some((key, known.part()?))).collect()
    }

    fn answered(&mut self, request: &Request, answer: &Outcome) {
        match (request, answer) {
            (Request::Range(range), Outcome::Range(answer)) => self.read(range, answer),
            (Request::Put(put), Outcome::Put(answer)) => {
                self.put(&put.key, &put.value, put.prev_kv.then_some(answer))
            }
            (Request::Delete(delete), Outcome::Delete(answer)) => self.delete(delete, answer),
            (Request::Txn(txn), Outcome::Txn(answer)) => self.txn(txn, answer),
            _ => {}
        }
    }

    fn in_range(&self, start: &[u8], end: &[u8]) -> Vec<&'k Bytes> {
        self.keys.iter().filter(|key| is_in(key, start, end)).collect()
    }

    /// What was there, unless this operation itself made it so.
    fn was(&mut self, key: &Bytes, value: i64) {
        let Some(key) = self.keys.get(key) else { return };
        let known = self.parts.entry(key).or_default();
        if known.became.is_none() {
            known.was = Some(value);
        }
    }

    fn becomes(&mut self, key: &Bytes, value: i64) {
        let Some(key) = self.keys.get(key) else { return };
        self.parts.entry(key).or_default().became = Some(value);
    }

    fn seen(&mut self, start: &[u8], end: &[u8], kvs: &[KeyValue]) {
        for key in self.in_range(start, end) {
            let value =
                kvs.iter().find(|kv| kv.key == *key).map_or(ABSENT, |kv| self.values.number(&kv.value));
            self.was(key, value);
        }
    }

    /// Of keys behind the last one that a limit lets through nothing is known.
    fn read(&mut self, range: &RangeRequest, answer: &RangeResponse) {
        let selects = range.min_mod_revision
            | range.max_mod_revision
            | range.min_create_revision
            | range.max_create_revision;
        let tells_all = selects == 0 && range.sort_order == 0 && !range.keys_only && !range.count_only;
        if range.serializable || range.revision > 0 || !tells_all {
            return;
        }
        match answer.kvs.last().filter(|_| answer.more) {
            None => self.seen(&range.key, &range.range_end, &answer.kvs),
            Some(last) => {
                self.seen(&range.key, &last.key, &answer.kvs);
                let value = self.values.number(&last.value);
                self.was(&last.key, value);
            }
        }
    }

    fn put(&mut self, key: &Bytes, value: &Bytes, previous: Option<&PutResponse>) {
        if let Some(answer) = previous {
            let was = answer.prev_kv.as_ref().map_or(ABSENT, |kv| self.values.number(&kv.value));
            self.was(key, was);
        }
        let value = self.values.number(value);
        self.becomes(key, value);
    }

    fn delete(&mut self, delete: &DeleteRangeRequest, answer: &DeleteRangeResponse) {
        if delete.prev_kv {
            self.seen(&delete.key, &delete.range_end, &answer.prev_kvs);
        } else if answer.deleted == 0 {
            self.seen(&delete.key, &delete.range_end, &[]);
        }
        self.gone(delete);
    }

    fn gone(&mut self, delete: &DeleteRangeRequest) {
        for key in self.in_range(&delete.key, &delete.range_end) {
            self.becomes(key, ABSENT);
        }
    }

    fn txn(&mut self, txn: &TxnRequest, answer: &TxnResponse) {
        if answer.succeeded {
            txn.compare.iter().for_each(|compare| self.compared(compare, true));
        } else if let [compare] = &txn.compare[..] {
            self.compared(compare, false);
        }
        let ops = if answer.succeeded { &txn.success } else { &txn.failure };
        let responses = answer.responses.iter().map(|response| response.response.as_ref());
        for (op, response) in ops.iter().map(|op| op.request.as_ref()).zip(responses) {
            match (op, response) {
                (Some(Op::RequestRange(range)), Some(Response::ResponseRange(answer))) => {
                    self.read(range, answer)
                }
                (Some(Op::RequestPut(put)), Some(Response::ResponsePut(answer))) => {
                    self.put(&put.key, &put.value, put.prev_kv.then_some(answer));
                }
                (Some(Op::RequestDeleteRange(delete)), Some(Response::ResponseDeleteRange(answer))) => {
                    self.delete(delete, answer);
                }
                (Some(Op::RequestTxn(nested)), Some(Response::ResponseTxn(answer))) => {
                    self.txn(nested, answer)
                }
                _ => {}
            }
        }
    }

    /// What a comparison says of values. Revisions are not believed.
    fn compared(&mut self, compare: &Compare, holds: bool) {
        let is_about = |target: CompareTarget| compare.target == i32::from(target);
        let equal = compare.result == i32::from(CompareResult::Equal) && compare.range_end.is_empty();
        let value = match &compare.target_union {
            Some(TargetUnion::Value(value)) if is_about(CompareTarget::Value) => self.values.number(value),
            Some(TargetUnion::Version(0)) if is_about(CompareTarget::Version) => ABSENT,
            Some(TargetUnion::CreateRevision(0)) if is_about(CompareTarget::Create) => ABSENT,
            _ => return,
        };
        if equal && holds {
            self.was(&compare.key, value);
        } else if equal && let Some(key) = self.keys.get(&compare.key) {
            self.parts.entry(key).or_default().was_not = Some(value);
        }
    }
}
