//! Requests by chance, from a seed: mostly sensible, some odd, some refused.
//!
//! Few keys, so that requests meet; keys on both sides of every partition's border.

use bytes::Bytes;
use proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use proto::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, HashKvRequest, LeaseGrantRequest, LeaseLeasesRequest,
    LeaseRevokeRequest, LeaseTimeToLiveRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
    WatchCreateRequest, request_op,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::request::Request;

/// Keys lie around the borders where the suites cut the keyspace.
const KEYS: [&str; 18] = [
    "a",
    "a/1",
    "a/2",
    "b",
    "b/1",
    "b\u{0}",
    "c",
    "k1",
    "k2",
    "k3",
    "k30",
    "l",
    "m",
    "m/1",
    "z",
    "z/9",
    "/registry/k",
    "/registry/m",
];
const LEASES: [i64; 6] = [1, 2, 3, 77, i64::MAX, -5];

/// Makes requests; knows no more of the store than its revisions.
pub struct Generator {
    chance: StdRng,
    values: u64,
    pub current: i64,
    pub compacted: i64,
}

impl Generator {
    #[must_use]
    pub fn new(seed: u64) -> Generator {
        Generator { chance: StdRng::seed_from_u64(seed), values: 0, current: 1, compacted: 0 }
    }

    fn one_in(&mut self, count: u32) -> bool {
        self.chance.random_range(0..count) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.chance.random_range(0..from.len())]
    }

    fn key(&mut self) -> Bytes {
        if self.one_in(60) { Bytes::new() } else { Bytes::from(self.pick(&KEYS)) }
    }

    fn range_end(&mut self) -> Bytes {
        match self.chance.random_range(0..8) {
            0..4 => Bytes::new(),
            4 => Bytes::from_static(&[0]),
            _ => Bytes::from(self.pick(&KEYS)),
        }
    }

    fn revision(&mut self) -> i64 {
        match self.chance.random_range(0..12) {
            0..6 => 0,
            6..10 => self.chance.random_range(self.compacted.max(1)..=self.current),
            10 => self.chance.random_range(-2..self.compacted.max(1)),
            _ => self.current + self.chance.random_range(1..4),
        }
    }

    /// The next request.
    pub fn request(&mut self) -> Request {
        match self.chance.random_range(0..100) {
            0..30 => Request::Put(self.put()),
            30..55 => Request::Range(self.range()),
            55..67 => Request::Delete(self.delete()),
            67..88 => Request::Txn(self.txn(2)),
            88 => Request::Compact(self.compact()),
            89..92 => Request::Grant(self.grant()),
            92..94 => Request::Revoke(LeaseRevokeRequest { id: self.pick(&LEASES) }),
            94..96 => Request::TimeToLive(LeaseTimeToLiveRequest { id: self.pick(&LEASES), keys: true }),
            96 => Request::Leases(LeaseLeasesRequest {}),
            _ => Request::HashKv(HashKvRequest { revision: self.hashed_revision() }),
        }
    }

    /// At revisions that were compacted etcd answers what its compactions had noted, if they were done in time, so
    /// that two etcds differ there too.
    fn hashed_revision(&mut self) -> i64 {
        let revision = self.revision();
        if revision <= self.compacted { 0 } else { revision }
    }

    fn put(&mut self) -> PutRequest {
        self.values += 1;
        let lease = if self.one_in(5) { self.pick(&LEASES) } else { 0 };
        let mut put = PutRequest {
            key: self.key(),
            value: format!("value {}", self.values).into(),
            lease,
            prev_kv: self.one_in(3),
            ..PutRequest::default()
        };
        if self.one_in(12) {
            put.ignore_value = true;
            put.value = if self.one_in(6) { put.value } else { Bytes::new() };
        }
        if self.one_in(12) {
            put.ignore_lease = true;
            put.lease = if self.one_in(6) { put.lease } else { 0 };
        }
        put
    }

    fn range(&mut self) -> RangeRequest {
        let mut range = RangeRequest {
            key: self.key(),
            range_end: self.range_end(),
            revision: self.revision(),
            serializable: self.one_in(6),
            keys_only: self.one_in(6),
            count_only: self.one_in(10),
            ..RangeRequest::default()
        };
        if self.one_in(3) {
            range.limit = self.chance.random_range(-1..6);
        }
        if self.one_in(4) {
            range.sort_order = self.pick(&[SortOrder::None, SortOrder::Ascend, SortOrder::Descend]) as i32;
            // Versions and values tie, and etcd leaves the order of ties open.
            range.sort_target = self.pick(&[SortTarget::Key, SortTarget::Key, SortTarget::Mod]) as i32;
        }
        if self.one_in(40) {
            range.sort_target = 9;
        }
        if self.one_in(8) {
            range.min_mod_revision = self.chance.random_range(0..=self.current);
            range.max_create_revision = self.chance.random_range(0..=self.current);
        }
        if self.one_in(8) {
            range.max_mod_revision = self.chance.random_range(0..=self.current);
            range.min_create_revision = self.chance.random_range(0..=self.current);
        }
        range
    }

    fn delete(&mut self) -> DeleteRangeRequest {
        let range_end = if self.one_in(3) { self.range_end() } else { Bytes::new() };
        DeleteRangeRequest { key: self.key(), range_end, prev_kv: self.one_in(2) }
    }

    fn txn(&mut self, depth: u32) -> TxnRequest {
        let compares = self.chance.random_range(0..3);
        TxnRequest {
            compare: (0..compares).map(|_| self.compare()).collect(),
            success: self.operations(depth),
            failure: self.operations(depth),
        }
    }

    fn operations(&mut self, depth: u32) -> Vec<RequestOp> {
        let count = self.chance.random_range(0..4);
        (0..count).map(|_| self.operation(depth)).collect()
    }

    fn operation(&mut self, depth: u32) -> RequestOp {
        let request = match self.chance.random_range(0..20) {
            0..8 => Some(request_op::Request::RequestPut(self.put())),
            8..14 => Some(request_op::Request::RequestRange(self.range())),
            14..18 => Some(request_op::Request::RequestDeleteRange(self.delete())),
            18 if depth > 0 => Some(request_op::Request::RequestTxn(self.txn(depth - 1))),
            _ if self.one_in(30) => None,
            _ => Some(request_op::Request::RequestPut(self.put())),
        };
        RequestOp { request }
    }

    fn compare(&mut self) -> Compare {
        let number = if self.one_in(2) { self.chance.random_range(0..3) } else { self.current };
        let (target, union) = match self.chance.random_range(0..5) {
            0 => (CompareTarget::Version, TargetUnion::Version(number)),
            1 => (CompareTarget::Create, TargetUnion::CreateRevision(number)),
            2 => (CompareTarget::Mod, TargetUnion::ModRevision(number)),
            3 => (CompareTarget::Lease, TargetUnion::Lease(self.pick(&LEASES))),
            _ => (CompareTarget::Value, TargetUnion::Value(format!("value {}", self.values / 2).into())),
        };
        let results =
            [CompareResult::Equal, CompareResult::Greater, CompareResult::Less, CompareResult::NotEqual];
        let result = if self.one_in(50) { 7 } else { self.pick(&results) as i32 };
        let range_end = if self.one_in(5) { self.range_end() } else { Bytes::new() };
        let target_union = (!self.one_in(40)).then_some(union);
        Compare { result, target: target as i32, key: self.key(), target_union, range_end }
    }

    fn compact(&mut self) -> CompactionRequest {
        let revision = match self.chance.random_range(0..6) {
            // 0 in a store that was never compacted makes etcd remember a hash of revision 0, which it then gives for
            // the present.
            0 if self.compacted > 0 => self.chance.random_range(-1..=self.compacted),
            1 => self.current + 1,
            _ => (self.current - self.chance.random_range(0..60)).max(self.compacted + 1),
        };
        CompactionRequest { revision, physical: self.one_in(2) }
    }

    fn grant(&mut self) -> LeaseGrantRequest {
        // Long enough that none ends by itself while the suite runs.
        let ttl = if self.one_in(30) { 9_000_000_001 } else { 5_000 };
        LeaseGrantRequest { ttl, id: self.pick(&LEASES) }
    }

    /// A watcher from the past, from now or from the future.
    pub fn watch(&mut self) -> WatchCreateRequest {
        let start_revision = match self.chance.random_range(0..10) {
            0..4 => 0,
            4..8 => self.chance.random_range(self.compacted.max(1)..=self.current),
            8 => self.current + self.chance.random_range(1..50),
            _ => self.chance.random_range(-1..=self.current),
        };
        let filters = match self.chance.random_range(0..6) {
            0 => vec![0],
            1 => vec![1],
            2 => vec![0, 1],
            _ => Vec::new(),
        };
        WatchCreateRequest {
            key: self.key(),
            range_end: self.range_end(),
            start_revision,
            filters,
            prev_kv: false,
            fragment: self.one_in(4),
            watch_id: if self.one_in(5) { 42 } else { 0 },
            ..WatchCreateRequest::default()
        }
    }
}
