//! Clients that do by chance what clients do: reads, writes, transactions, deletions, leases and compactions, on few keys,
//! so that they meet. Every value is written by one operation only.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::etcdserverpb::request_op::Request as Op;
use proto::etcdserverpb::response_op::Response;
use proto::etcdserverpb::{
    CompactionRequest, Compare, LeaseGrantRequest, LeaseRevokeRequest, PutRequest, RangeRequest, RequestOp,
    TxnRequest,
};
use proto::mvccpb::KeyValue;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::compat::{Outcome, Request};
use crate::history::{delete, get, put};
use crate::recorder::Recorder;

/// On both sides of where the suites cut the keyspace.
const KEYS: [&str; 8] = ["/registry/k", "/registry/m", "a", "b/1", "k1", "k4", "m/1", "z"];

/// Only these are attached to leases.
const LEASED: [&str; 3] = ["/registry/leased", "k2", "n"];

/// The first shows that leases end by themselves, and not early.
const TTLS: [i64; 3] = [3, 60, 600];

/// Between two operations of a client.
const PAUSE: Duration = Duration::from_millis(3);

/// Before a client goes elsewhere.
const PAUSE_REFUSED: Duration = Duration::from_millis(50);

/// How many revisions are kept at a compaction, at least.
const KEPT: i64 = 2_000;

/// Clients at work.
pub struct Workload {
    stops: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Workload {
    /// What all these were told of may be compacted, but for the last of it.
    #[must_use]
    pub fn begin(recorder: &Recorder, clients: u32, seed: u64, told: &[watch::Receiver<i64>]) -> Workload {
        let stops = Arc::new(AtomicBool::new(false));
        let names = Arc::new(AtomicU32::new(0));
        let clients = (0..clients).map(|number| {
            let client = Client {
                recorder: recorder.clone(),
                names: names.clone(),
                name: names.fetch_add(1, Ordering::Relaxed),
                endpoint: number as usize % recorder.endpoints(),
                chance: StdRng::seed_from_u64(seed + u64::from(number)),
                writes: 0,
                known: Vec::new(),
                revision: 1,
                lease: 0,
                told: told.to_vec(),
            };
            tokio::spawn(client.run(stops.clone()))
        });
        Workload { clients: clients.collect(), stops }
    }

    /// Waits for what is asked now.
    ///
    /// # Errors
    /// When a client panicked.
    pub async fn end(self) -> Result<()> {
        self.stops.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await?;
        }
        Ok(())
    }
}

struct Client {
    recorder: Recorder,
    /// A client that does not know what became of an operation goes on under another name.
    names: Arc<AtomicU32>,
    name: u32,
    endpoint: usize,
    chance: StdRng,
    writes: u32,
    /// What it read lately.
    known: Vec<KeyValue>,
    revision: i64,
    lease: i64,
    told: Vec<watch::Receiver<i64>>,
}

impl Client {
    async fn run(mut self, stops: Arc<AtomicBool>) {
        while !stops.load(Ordering::Relaxed) {
            let request = self.request();
            let told = self.recorder.ask(self.name, self.endpoint, request).await;
            match &told {
                Some(told) if !matches!(told, Outcome::Refused(..)) => self.learn(told),
                _ => {
                    self.name = self.names.fetch_add(1, Ordering::Relaxed);
                    self.endpoint = self.chance.random_range(0..self.recorder.endpoints());
                    tokio::time::sleep(PAUSE_REFUSED).await;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn learn(&mut self, told: &Outcome) {
        self.revision = self.revision.max(told.revision().unwrap_or_default());
        match told {
            Outcome::Range(answer) => self.known.clone_from(&answer.kvs),
            Outcome::Txn(answer) => {
                let responses = answer.responses.iter().filter_map(|op| op.response.as_ref());
                for response in responses {
                    if let Response::ResponseRange(answer) = response {
                        self.known.clone_from(&answer.kvs);
                    }
                }
            }
            _ => {}
        }
        self.known.retain(|kv| !LEASED.iter().any(|leased| kv.key == leased.as_bytes()));
    }

    fn key(&mut self) -> &'static str {
        KEYS[self.chance.random_range(0..KEYS.len())]
    }

    fn value(&mut self) -> String {
        self.writes += 1;
        format!("{}-{}", self.name, self.writes)
    }

    fn request(&mut self) -> Request {
        match self.chance.random_range(0..100) {
            0..25 => Request::Put(self.put()),
            25..45 => Request::Range(get(self.key())),
            45..53 => Request::Range(RangeRequest { serializable: true, ..get(self.key()) }),
            53..62 => Request::Range(self.range()),
            62..80 => self.guarded(),
            80..86 => Request::Txn(self.several()),
            86..92 => self.deletion(),
            92..95 => Request::Range(self.past()),
            95..99 => self.leases(),
            _ => self.compaction(),
        }
    }

    fn put(&mut self) -> PutRequest {
        let (key, value) = (self.key(), self.value());
        PutRequest { prev_kv: self.chance.random(), ..put(key, &value) }
    }

    fn range(&mut self) -> RangeRequest {
        let limit = self.chance.random_range(0..4);
        RangeRequest {
            range_end: vec![0].into(),
            limit,
            serializable: self.chance.random_ratio(1, 4),
            ..get("/")
        }
    }

    fn past(&mut self) -> RangeRequest {
        let revision = self.chance.random_range(1..=self.revision.max(2));
        RangeRequest { revision, ..self.range() }
    }

    /// An update of what it knows, as Kubernetes does it; or a creation.
    fn guarded(&mut self) -> Request {
        let (target, result) = (CompareTarget::Mod.into(), CompareResult::Equal.into());
        let compare = match self.known.pop() {
            Some(kv) if self.chance.random() => Compare {
                target,
                result,
                target_union: Some(TargetUnion::ModRevision(kv.mod_revision)),
                key: kv.key,
                ..Compare::default()
            },
            Some(kv) => Compare {
                target: CompareTarget::Value.into(),
                result,
                target_union: Some(TargetUnion::Value(kv.value)),
                key: kv.key,
                ..Compare::default()
            },
            None => Compare {
                target: CompareTarget::Version.into(),
                result,
                target_union: Some(TargetUnion::Version(0)),
                key: self.key().into(),
                ..Compare::default()
            },
        };
        let (key, value) = (compare.key.clone(), self.value());
        let own = PutRequest { key: key.clone(), value: value.into(), ..PutRequest::default() };
        let read = RangeRequest { key, ..RangeRequest::default() };
        Request::Txn(TxnRequest {
            compare: vec![compare],
            success: ops([Op::RequestPut(own)]),
            failure: ops([Op::RequestRange(read)]),
        })
    }

    /// Two keys at once, and a look at all.
    fn several(&mut self) -> TxnRequest {
        let first = self.chance.random_range(0..KEYS.len());
        let second = (first + self.chance.random_range(1..KEYS.len())) % KEYS.len();
        let value = self.value();
        let all = RangeRequest { range_end: vec![0].into(), ..get("/") };
        let puts = [first, second].map(|at| Op::RequestPut(put(KEYS[at], &value)));
        let success = ops(puts.into_iter().chain([Op::RequestRange(all)]));
        TxnRequest { success, ..TxnRequest::default() }
    }

    fn deletion(&mut self) -> Request {
        let mut request = delete(self.key());
        request.prev_kv = self.chance.random();
        if self.chance.random_ratio(1, 4) {
            request.range_end = self.key().into();
            if request.range_end <= request.key {
                request.range_end = Bytes::new();
            }
        }
        Request::Delete(request)
    }

    fn leases(&mut self) -> Request {
        if self.lease == 0 {
            self.lease = i64::from(self.name) * 1_000_000 + i64::from(self.writes) + 1;
            let ttl = TTLS[self.chance.random_range(0..TTLS.len())];
            return Request::Grant(LeaseGrantRequest { id: self.lease, ttl });
        }
        let lease = self.lease;
        if self.chance.random_ratio(1, 3) {
            self.lease = 0;
            self.writes += 1;
            return Request::Revoke(LeaseRevokeRequest { id: lease });
        }
        let (key, value) = (LEASED[self.chance.random_range(0..LEASED.len())], self.value());
        Request::Put(PutRequest { lease, ..put(key, &value) })
    }

    fn compaction(&mut self) -> Request {
        let told = self.told.iter().map(|told| *told.borrow()).min();
        let revision = told.unwrap_or_default() - KEPT;
        if revision < 1 || self.chance.random_ratio(4, 5) {
            return Request::Range(get(self.key()));
        }
        Request::Compact(CompactionRequest { revision, physical: false })
    }
}

fn ops(ops: impl IntoIterator<Item = Op>) -> Vec<RequestOp> {
    ops.into_iter().map(|op| RequestOp { request: Some(op) }).collect()
}
