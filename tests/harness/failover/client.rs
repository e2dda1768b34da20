//! A client of all members, as fair as etcd's own to whoever it talks to.
//!
//! etcd's Go client hands each call to the next member it is connected to, leaves those that it is not, and sends a
//! write a second time only where the first cannot have happened. What else became of a write, it tells its caller.
//! Here this client and its caller are one: an attempt that ended without an answer is repeated at another member
//! until the write's deadline, and the record says how often a write may have happened. An attempt that is not
//! answered in `PATIENCE` counts as such: otherwise whoever is connected to a frozen member waits for nothing, with
//! any store.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use parking_lot::Mutex;
use proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::etcdserverpb::kv_client::KvClient;
use proto::etcdserverpb::{
    Compare, PutRequest, RangeRequest, RequestOp, TxnRequest, request_op, response_op,
};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::record::{CONNECTION_LOST, NO_ANSWER, NOT_CONNECTED, Record, Way, Written};
use crate::clients::Clients;

/// What a write has.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);
/// What one attempt of it has.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a member that did not answer is asked only where there is no other.
const AVOIDED: Duration = Duration::from_secs(1);
/// Between two attempts, as etcd's client pauses.
const PAUSE: Duration = Duration::from_millis(25);

struct Member {
    kv: KvClient<Channel>,
    avoided_until: Mutex<Instant>,
}

pub(super) struct Client {
    members: Vec<Member>,
    next: AtomicUsize,
    prefix: String,
}

/// What became of an attempt.
enum Attempt {
    Acknowledged,
    /// A guarded write found its key: an attempt before has made it.
    Found(Vec<u8>),
    /// A member said no, or nobody knows.
    Failed {
        complaint: String,
        may_have_happened: bool,
        avoid: bool,
    },
}

impl Client {
    pub(super) fn new(endpoints: &[String], prefix: &str) -> Result<Client> {
        let member = |endpoint: &String| {
            let kv = Clients::new(endpoint)?.kv;
            Ok(Member { kv, avoided_until: Mutex::new(Instant::now()) })
        };
        let members = endpoints.iter().map(member).collect::<Result<_>>()?;
        Ok(Client { members, next: AtomicUsize::new(0), prefix: prefix.to_owned() })
    }

    /// Makes one write, which was due at a moment that may have passed.
    pub(super) async fn write(&self, number: u64, due: Instant, record: Arc<Mutex<Record>>) {
        let (deadline, way) = (due + DEADLINE, Way::of(number));
        let mut attempts = 0;
        let acknowledged = loop {
            let member = self.pick();
            attempts += 1;
            match member.attempt(self.key(number), number, way, deadline).await {
                Attempt::Acknowledged => break Some(Instant::now()),
                Attempt::Found(value) if attempts > 1 && value == number.to_string().as_bytes() => {
                    break Some(Instant::now());
                }
                Attempt::Found(value) => {
                    let what = String::from_utf8_lossy(&value).into_owned();
                    record.lock().complain(format!("FOUND {what:?} before it was written"));
                    break None;
                }
                Attempt::Failed { complaint, may_have_happened, avoid } => {
                    attempts -= u32::from(!may_have_happened);
                    if avoid {
                        *member.avoided_until.lock() = Instant::now() + AVOIDED;
                    }
                    record.lock().complain(complaint);
                }
            }
            tokio::time::sleep(PAUSE).await;
            if deadline <= Instant::now() {
                break None;
            }
        };
        let mut record = record.lock();
        if acknowledged.is_some() {
            record.newest = record.newest.max(Some(due));
        }
        record.written.push(Written { number, due, acknowledged, attempts });
    }

    fn key(&self, number: u64) -> String {
        format!("{}{number:09}", self.prefix)
    }

    /// The next member that is not avoided.
    fn pick(&self) -> &Member {
        let (now, count) = (Instant::now(), self.members.len());
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let turn = (0..count).map(|at| &self.members[(first + at) % count]);
        let mut good = turn.filter(|member| *member.avoided_until.lock() <= now);
        good.next().unwrap_or(&self.members[first % count])
    }
}

impl Member {
    async fn attempt(&self, key: String, number: u64, way: Way, deadline: Instant) -> Attempt {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut kv = self.kv.clone();
        let answer = async {
            match way {
                Way::Put => kv.put(timely(put(&key, number), left)).await.map(|_| Attempt::Acknowledged),
                Way::Guarded => {
                    let answer = kv.txn(timely(guarded(&key, number), left)).await?.into_inner();
                    if answer.succeeded {
                        return Ok(Attempt::Acknowledged);
                    }
                    let found = answer.responses.into_iter().find_map(|one| match one.response {
                        Some(response_op::Response::ResponseRange(range)) => range.kvs.into_iter().next(),
                        _ => None,
                    });
                    Ok(Attempt::Found(found.map(|kv| kv.value.to_vec()).unwrap_or_default()))
                }
            }
        };
        match tokio::time::timeout(PATIENCE.min(left), answer).await {
            Ok(Ok(attempt)) => attempt,
            Ok(Err(status)) => failed(&status),
            Err(_) => {
                Attempt::Failed { complaint: NO_ANSWER.to_owned(), may_have_happened: true, avoid: true }
            }
        }
    }
}

fn failed(status: &Status) -> Attempt {
    // A status that came over the wire has no cause here.
    let of_the_way = status.source().is_some();
    let refused = |what: &str| status.message().contains(what);
    let unreached = of_the_way && refused("tcp connect error");
    let complaint = match (of_the_way, unreached) {
        (_, true) => NOT_CONNECTED.to_owned(),
        (true, false) if refused("Timeout expired") => NO_ANSWER.to_owned(),
        (true, false) => CONNECTION_LOST.to_owned(),
        (false, false) => format!("{:?}: {}", status.code(), status.message()),
    };
    let known_as_not_done = unreached || !of_the_way && status.code() == Code::ResourceExhausted;
    Attempt::Failed { complaint, may_have_happened: !known_as_not_done, avoid: of_the_way }
}

/// With the deadline that etcd's client tells along.
fn timely<T>(message: T, left: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(left);
    request
}

fn put(key: &str, number: u64) -> PutRequest {
    let (key, value) = (key.to_owned().into(), number.to_string().into());
    PutRequest { key, value, ..PutRequest::default() }
}

fn guarded(key: &str, number: u64) -> TxnRequest {
    let absent = Compare {
        result: CompareResult::Equal as i32,
        target: CompareTarget::Create as i32,
        key: key.to_owned().into(),
        target_union: Some(TargetUnion::CreateRevision(0)),
        ..Compare::default()
    };
    let get = RangeRequest { key: key.to_owned().into(), ..RangeRequest::default() };
    let op = |request| vec![RequestOp { request: Some(request) }];
    TxnRequest {
        compare: vec![absent],
        success: op(request_op::Request::RequestPut(put(key, number))),
        failure: op(request_op::Request::RequestRange(get)),
    }
}
