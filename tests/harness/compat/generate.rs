//! Requests by chance, from a seed: mostly sensible, some odd, some refused.
//!
//! Few keys, so that requests meet; keys on both sides of every partition's border.

use std::collections::BTreeSet;

use bytes::Bytes;
use proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use proto::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, HashKvRequest, LeaseGrantRequest, LeaseKeepAliveRequest,
    LeaseLeasesRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest, PutRequest, RangeRequest, RequestOp,
    TxnRequest, WatchCreateRequest, request_op,
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
    /// Where the last compaction was.
    compacted: i64,
    compactions: BTreeSet<i64>,
}

impl Generator {
    #[must_use]
    pub fn new(seed: u64) -> Generator {
        let chance = StdRng::seed_from_u64(seed);
        Generator { chance, values: 0, current: 1, compacted: 0, compactions: BTreeSet::new() }
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
            67..88 => Request::Txn(harmless(self.txn(2))),
            88 => Request::Compact(self.compact()),
            89..92 => Request::Grant(self.grant()),
            92..94 => Request::Revoke(LeaseRevokeRequest { id: self.pick(&LEASES) }),
            94 => {
                Request::TimeToLive(LeaseTimeToLiveRequest { id: self.pick(&LEASES), keys: self.one_in(2) })
            }
            95 => Request::KeepAlive(LeaseKeepAliveRequest { id: self.pick(&LEASES) }),
            96 => Request::Leases(LeaseLeasesRequest {}),
            97 => Request::Stream(self.stream()),
            _ => self.hash(),
        }
    }

    /// etcd answers for the last revisions that it compacted at what it noted then, if it was done in time, so that
    /// two etcds may differ there. Everywhere else below the last compaction it refuses.
    fn hash(&mut self) -> Request {
        let revision = match self.revision() {
            revision if self.compactions.contains(&revision) && revision < self.compacted => revision + 1,
            revision => revision,
        };
        let request = HashKvRequest { revision };
        match self.compactions.contains(&revision) {
            false => Request::HashKv(request),
            true if revision == self.compacted => Request::HashOfCompacted(request),
            true => Request::HashKv(HashKvRequest { revision: 0 }),
        }
    }

    /// The answer to a compaction was that it is done.
    pub fn compacted_at(&mut self, revision: i64) {
        self.compacted = revision;
        self.compactions.insert(revision);
    }

    /// Rarely one that is refused for its order or its bounds.
    fn stream(&mut self) -> RangeRequest {
        let range = self.range();
        if self.one_in(10) {
            return range;
        }
        RangeRequest {
            sort_order: if self.one_in(2) { range.sort_order.min(1) } else { 0 },
            sort_target: 0,
            min_mod_revision: 0,
            max_mod_revision: 0,
            min_create_revision: 0,
            max_create_revision: 0,
            ..range
        }
    }

    fn put(&mut self) -> PutRequest {
        self.values += 1;
        let lease = if self.one_in(5) { self.pick(&LEASES) } else { 0 };
        let mut put = PutRequest {
            key: self.key(),
            value: self.value(),
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

    /// Mostly one of its own; else one that others have too.
    fn value(&mut self) -> Bytes {
        if self.one_in(4) {
            Bytes::from(self.pick(&["", "v", "w"]))
        } else {
            format!("value {}", self.values).into()
        }
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
            let targets = [
                SortTarget::Key,
                SortTarget::Version,
                SortTarget::Create,
                SortTarget::Mod,
                SortTarget::Value,
            ];
            range.sort_target = self.pick(&targets) as i32;
        }
        if self.one_in(80) {
            range.sort_target = self.pick(&[9, -1]);
        }
        if self.one_in(80) {
            range.sort_order = self.pick(&[3, -1]);
        }
        if self.one_in(8) {
            range.min_mod_revision = self.chance.random_range(-1..=self.current);
            range.max_create_revision = self.chance.random_range(-1..=self.current);
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
            3 => vec![7, -1, 1, 1],
            _ => Vec::new(),
        };
        WatchCreateRequest {
            key: self.key(),
            range_end: self.range_end(),
            start_revision,
            filters,
            prev_kv: self.one_in(2),
            fragment: self.one_in(4),
            watch_id: if self.one_in(5) { 42 } else { 0 },
            ..WatchCreateRequest::default()
        }
    }
}

/// etcd ends where a transaction deletes a key and then puts it to keep its value or lease. It refuses most of those,
/// but a deletion of all keys from one on it does not see.
fn harmless(mut txn: TxnRequest) -> TxnRequest {
    if deletes_from_a_key_on(&txn) {
        keep_nothing(&mut txn);
    }
    txn
}

fn deletes_from_a_key_on(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match &op.request {
        Some(request_op::Request::RequestDeleteRange(delete)) => delete.range_end[..] == [0],
        Some(request_op::Request::RequestTxn(nested)) => deletes_from_a_key_on(nested),
        _ => false,
    })
}

fn keep_nothing(txn: &mut TxnRequest) {
    for op in txn.success.iter_mut().chain(&mut txn.failure) {
        match &mut op.request {
            Some(request_op::Request::RequestPut(put)) => {
                (put.ignore_value, put.ignore_lease) = (false, false);
            }
            Some(request_op::Request::RequestTxn(nested)) => keep_nothing(nested),
            _ => {}
        }
    }
}
