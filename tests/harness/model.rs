//! etcd's keys as a program so simple that one can trust it: one operation after another on a sorted map,
//! of which it keeps a copy for each revision.
//!
//! It takes and gives what is on the wire, with all that a client can see but cluster, member and term.
//! It shares no code with what it judges, and was itself judged: tens of thousands of requests by chance were
//! answered alike by etcd 3.6.16, and by 3.7.3 except that 3.7 leaves leases out where only keys are asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use proto::etcdserverpb::compare::TargetUnion;
use proto::etcdserverpb::request_op::Request;
use proto::etcdserverpb::response_op::Response;
use proto::etcdserverpb::{
    CompactionRequest, CompactionResponse, Compare, DeleteRangeRequest, DeleteRangeResponse, PutRequest,
    PutResponse, RangeRequest, RangeResponse, RequestOp, ResponseHeader, ResponseOp, TxnRequest, TxnResponse,
};
use proto::mvccpb::KeyValue;
use tonic::{Code, Status};

use self::check::{check_key, check_overlap, check_put, check_range, check_txn};

// Found the same way by whoever else takes this file in.
#[path = "model/check.rs"]
mod check;

type Keys = BTreeMap<Vec<u8>, KeyValue>;

/// A store.
#[derive(Clone)]
pub struct Model {
    /// The keys as they were at each revision; the first is 1.
    states: Vec<Rc<Keys>>,
    compacted: i64,
    pub leases: BTreeSet<i64>,
    txn_operations_max: usize,
}

impl Default for Model {
    fn default() -> Model {
        Model::new(128)
    }
}

fn refuse<T>(code: Code, text: &str) -> Result<T, Status> {
    Err(Status::new(code, format!("etcdserver: {text}")))
}

fn header(revision: i64) -> Option<ResponseHeader> {
    Some(ResponseHeader { revision, ..ResponseHeader::default() })
}

fn contains(key: &[u8], end: &[u8], candidate: &[u8]) -> bool {
    match end {
        [] => candidate == key,
        [0] => candidate >= key,
        _ => candidate >= key && candidate < end,
    }
}

fn select(keys: &Keys, key: &[u8], end: &[u8]) -> Vec<KeyValue> {
    keys.iter().filter(|(candidate, _)| contains(key, end, candidate)).map(|(_, kv)| kv.clone()).collect()
}

impl Model {
    /// An empty store.
    #[must_use]
    pub fn new(txn_operations_max: usize) -> Model {
        Model { states: vec![Rc::default()], compacted: -1, leases: BTreeSet::new(), txn_operations_max }
    }

    #[must_use]
    pub fn revision(&self) -> i64 {
        self.states.len() as i64
    }

    fn now(&self) -> &Keys {
        self.states.last().expect("there is always one")
    }

    pub fn range(&self, request: &RangeRequest) -> Result<RangeResponse, Status> {
        check_range(request)?;
        self.readable(request.revision.max(0))?;
        Ok(self.read(self.now(), self.revision(), request))
    }

    fn at(&self, revision: i64) -> &Keys {
        &self.states[usize::try_from(revision).expect("it is readable") - 1]
    }

    /// 0 is now.
    fn readable(&self, revision: i64) -> Result<(), Status> {
        if revision > self.revision() {
            return refuse(Code::OutOfRange, "mvcc: required revision is a future revision");
        }
        if revision != 0 && revision < self.compacted {
            return refuse(Code::OutOfRange, "mvcc: required revision has been compacted");
        }
        Ok(())
    }

    /// Reads `now` at `revision`, unless the request names an older one.
    fn read(&self, now: &Keys, revision: i64, request: &RangeRequest) -> RangeResponse {
        let keys = if request.revision > 0 { self.at(request.revision) } else { now };
        let mut kvs = select(keys, &request.key, &request.range_end);
        let count = kvs.len() as i64;
        if request.count_only {
            return RangeResponse { header: header(revision), count, ..RangeResponse::default() };
        }
        let limit = usize::try_from(request.limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let bounds = [
            request.min_mod_revision,
            request.max_mod_revision,
            request.min_create_revision,
            request.max_create_revision,
        ];
        if request.sort_order == 0 && bounds == [0; 4] {
            kvs.truncate(limit.saturating_add(1));
        }
        let inside = |min: i64, revision: i64, max: i64| {
            (min == 0 || revision >= min) && (max == 0 || revision <= max)
        };
        kvs.retain(|kv| inside(bounds[0], kv.mod_revision, bounds[1]));
        kvs.retain(|kv| inside(bounds[2], kv.create_revision, bounds[3]));
        let descending = request.sort_order == 2;
        let order = |a: &KeyValue, b: &KeyValue| match request.sort_target {
            0 => a.key.cmp(&b.key),
            1 => a.version.cmp(&b.version),
            2 => a.create_revision.cmp(&b.create_revision),
            3 => a.mod_revision.cmp(&b.mod_revision),
            _ => a.value.cmp(&b.value),
        };
        kvs.sort_by(|a, b| if descending { order(b, a) } else { order(a, b) });
        let more = kvs.len() > limit;
        kvs.truncate(limit);
        if request.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value = Default::default());
        }
        RangeResponse { header: header(revision), kvs, more, count }
    }

    pub fn put(&mut self, request: &PutRequest) -> Result<PutResponse, Status> {
        check_put(request)?;
        self.check_lease_of(request)?;
        self.check_put_of(self.now(), request)?;
        let mut work = Work::of(self);
        let response = work.put(request)?;
        self.commit(work);
        Ok(response)
    }

    fn check_put_of(&self, start: &Keys, request: &PutRequest) -> Result<(), Status> {
        let keeps = request.ignore_value || request.ignore_lease;
        if keeps && !start.contains_key(&request.key[..]) {
            return refuse(Code::InvalidArgument, "key not found");
        }
        self.check_lease_of(request)
    }

    /// etcd 3.6 looks at it before the key where the put stands alone, and behind it in a transaction.
    fn check_lease_of(&self, request: &PutRequest) -> Result<(), Status> {
        if request.lease != 0 && !self.leases.contains(&request.lease) {
            return refuse(Code::NotFound, "requested lease not found");
        }
        Ok(())
    }

    pub fn delete_range(&mut self, request: &DeleteRangeRequest) -> Result<DeleteRangeResponse, Status> {
        check_key(&request.key)?;
        let mut work = Work::of(self);
        let response = work.delete(request);
        self.commit(work);
        Ok(response)
    }

    pub fn txn(&mut self, request: &TxnRequest) -> Result<TxnResponse, Status> {
        check_txn(request, self.txn_operations_max as i64)?;
        check_overlap(&request.success)?;
        check_overlap(&request.failure)?;
        self.check_taken(request)?;
        let mut work = Work::of(self);
        let mut response = self.run(request, &mut work)?;
        response.header = header(work.revision());
        self.commit(work);
        Ok(response)
    }

    fn taken<'a>(&self, txn: &'a TxnRequest) -> (bool, &'a [RequestOp]) {
        let succeeded = txn.compare.iter().all(|compare| self.compare(compare));
        (succeeded, if succeeded { &txn.success } else { &txn.failure })
    }

    fn check_taken(&self, txn: &TxnRequest) -> Result<(), Status> {
        for op in self.taken(txn).1 {
            match op.request.as_ref().expect("checked") {
                Request::RequestRange(range) if range.revision < 0 && range.revision < self.compacted => {
                    return refuse(Code::OutOfRange, "mvcc: required revision has been compacted");
                }
                Request::RequestRange(range) => self.readable(range.revision)?,
                Request::RequestPut(put) => self.check_put_of(self.now(), put)?,
                Request::RequestDeleteRange(_) => {}
                Request::RequestTxn(nested) => self.check_taken(nested)?,
            }
        }
        Ok(())
    }

    fn run(&self, txn: &TxnRequest, work: &mut Work) -> Result<TxnResponse, Status> {
        let (succeeded, ops) = self.taken(txn);
        let respond = |op: &RequestOp| {
            let response = match op.request.as_ref().expect("checked") {
                Request::RequestRange(range) => {
                    Response::ResponseRange(self.read(&work.keys, work.revision(), range))
                }
                Request::RequestPut(put) => Response::ResponsePut(work.put(put)?),
                Request::RequestDeleteRange(delete) => Response::ResponseDeleteRange(work.delete(delete)),
                Request::RequestTxn(nested) => Response::ResponseTxn(self.run(nested, work)?),
            };
            Ok(ResponseOp { response: Some(response) })
        };
        let responses = ops.iter().map(respond).collect::<Result<_, Status>>()?;
        Ok(TxnResponse { header: header(0), succeeded, responses })
    }

    fn compare(&self, compare: &Compare) -> bool {
        let mut kvs = select(self.now(), &compare.key, &compare.range_end);
        if kvs.is_empty() {
            if compare.target == 3 {
                return false;
            }
            kvs.push(KeyValue::default());
        }
        kvs.iter().all(|kv| holds(compare, kv))
    }

    pub fn compact(&mut self, request: &CompactionRequest) -> Result<CompactionResponse, Status> {
        if request.revision <= self.compacted {
            return refuse(Code::OutOfRange, "mvcc: required revision has been compacted");
        }
        if request.revision > self.revision() {
            return refuse(Code::OutOfRange, "mvcc: required revision is a future revision");
        }
        self.compacted = request.revision;
        Ok(CompactionResponse { header: header(self.revision()) })
    }

    fn commit(&mut self, work: Work) {
        if work.changed {
            self.states.push(Rc::new(work.keys));
        }
    }
}

/// A write in progress.
struct Work {
    keys: Keys,
    begin: i64,
    changed: bool,
}

impl Work {
    fn of(model: &Model) -> Work {
        Work { keys: model.now().clone(), begin: model.revision(), changed: false }
    }

    fn revision(&self) -> i64 {
        self.begin + i64::from(self.changed)
    }

    fn put(&mut self, request: &PutRequest) -> Result<PutResponse, Status> {
        let revision = self.begin + 1;
        let prev = self.keys.get(&request.key[..]).cloned();
        // The key was there when the transaction began, and was deleted by it. Here etcd crashes.
        if prev.is_none() && (request.ignore_value || request.ignore_lease) {
            return refuse(Code::InvalidArgument, "key not found");
        }
        let old = prev.clone().unwrap_or(KeyValue { create_revision: revision, ..KeyValue::default() });
        let kv = KeyValue {
            key: request.key.clone(),
            create_revision: old.create_revision,
            mod_revision: revision,
            version: old.version + 1,
            value: if request.ignore_value { old.value } else { request.value.clone() },
            lease: if request.ignore_lease { old.lease } else { request.lease },
        };
        self.keys.insert(request.key.to_vec(), kv);
        self.changed = true;
        Ok(PutResponse { header: header(revision), prev_kv: prev.filter(|_| request.prev_kv) })
    }

    fn delete(&mut self, request: &DeleteRangeRequest) -> DeleteRangeResponse {
        let kvs = select(&self.keys, &request.key, &request.range_end);
        for kv in &kvs {
            self.keys.remove(&kv.key[..]);
            self.changed = true;
        }
        let deleted = kvs.len() as i64;
        let prev_kvs = if request.prev_kv { kvs } else { Vec::new() };
        DeleteRangeResponse { header: header(self.revision()), deleted, prev_kvs }
    }
}

fn holds(compare: &Compare, kv: &KeyValue) -> bool {
    let given = compare.target_union.as_ref();
    let number = |pick: fn(&TargetUnion) -> Option<i64>| given.and_then(pick).unwrap_or(0);
    let order = match compare.target {
        0 => kv
            .version
            .cmp(&number(|given| if let TargetUnion::Version(it) = given { Some(*it) } else { None })),
        1 => kv.create_revision.cmp(&number(|given| match given {
            TargetUnion::CreateRevision(it) => Some(*it),
            _ => None,
        })),
        2 => kv.mod_revision.cmp(&number(|given| match given {
            TargetUnion::ModRevision(it) => Some(*it),
            _ => None,
        })),
        3 => match given {
            Some(TargetUnion::Value(value)) => kv.value[..].cmp(&value[..]),
            _ => kv.value[..].cmp(&[]),
        },
        4 => kv.lease.cmp(&number(|given| if let TargetUnion::Lease(it) = given { Some(*it) } else { None })),
        _ => std::cmp::Ordering::Equal,
    };
    match compare.result {
        0 => order.is_eq(),
        1 => order.is_gt(),
        2 => order.is_lt(),
        3 => order.is_ne(),
        _ => true,
    }
}
