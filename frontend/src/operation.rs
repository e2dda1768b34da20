//! What a client asks for: read from the wire once, checked once, and the same for every way in.
//!
//! Whoever holds one of these knows that its keys are not empty and its options make sense. What the store
//! must look at to decide (revisions, leases, keys that have to exist) is decided later.

use bytes::Bytes;
use journal::{KeyRange, LeaseId, Revision};
use memstore::Projection;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    Range(Range),
    Put(Put),
    DeleteRange(DeleteRange),
    Txn(Txn),
    Compact(Compact),
}

/// Reads keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    pub keys: KeyRange,
    /// Keys to answer at most; 0 for all.
    pub limit: usize,
    /// The revision to read at; 0 for the current one. Below 0 a lone range reads the current one as well, and
    /// a range in a transaction is refused as compacted, except -1 in a store that was never compacted.
    pub revision: i64,
    pub sort: Option<Sort>,
    /// Answer from what this endpoint has.
    pub serializable: bool,
    pub projection: Projection,
    pub bounds: Bounds,
}

impl Range {
    /// All of `keys`, as they are now.
    #[must_use]
    pub fn all(keys: KeyRange) -> Range {
        Range {
            keys,
            limit: 0,
            revision: 0,
            sort: None,
            serializable: false,
            projection: Projection::Full,
            bounds: Bounds::default(),
        }
    }

    /// The revision asked for, where there is one to read at.
    #[must_use]
    pub fn past(&self) -> Option<Revision> {
        u64::try_from(self.revision).ok().filter(|revision| *revision > 0).map(Revision)
    }
}

/// The order of a range's answer, other than by ascending keys. Equal ones stay in the order of their keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    pub by: SortBy,
    pub descending: bool,
    /// A field was named but no order: etcd then takes the first keys up to one above the limit and sorts those.
    pub within_limit: bool,
}

/// What to sort by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortBy {
    Key,
    Version,
    Create,
    Mod,
    Value,
}

/// Revisions that the answered keys must lie between, ends included. 0 is no bound; no key is at or below -1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    pub min_mod: i64,
    pub max_mod: i64,
    pub min_create: i64,
    pub max_create: i64,
}

impl Bounds {
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Bounds::default()
    }

    /// Whether a key with these revisions stays.
    #[must_use]
    pub fn admit(&self, modified: Revision, created: Revision) -> bool {
        let inside = |min: i64, revision: Revision, max: i64| {
            let revision = revision.to_wire();
            (min == 0 || min <= revision) && (max == 0 || revision <= max)
        };
        inside(self.min_mod, modified, self.max_mod) && inside(self.min_create, created, self.max_create)
    }
}

/// Writes one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Put {
    pub key: Bytes,
    pub value: Bytes,
    /// 0 detaches the key from its lease.
    pub lease: LeaseId,
    pub prev_kv: bool,
    /// Keep the value that the key has, which must exist.
    pub ignore_value: bool,
    /// Keep the lease that the key has, which must exist.
    pub ignore_lease: bool,
}

impl Put {
    /// Writes `value`, under no lease.
    #[must_use]
    pub fn new(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Put {
        Put { key: key.into(), value: value.into(), ..Put::default() }
    }

    /// Whether it needs to know the key as it was.
    #[must_use]
    pub fn reads(&self) -> bool {
        self.prev_kv || self.needs_key()
    }

    /// Whether it is refused where the key does not exist.
    #[must_use]
    pub fn needs_key(&self) -> bool {
        self.ignore_value || self.ignore_lease
    }
}

/// Deletes keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteRange {
    pub keys: KeyRange,
    pub prev_kv: bool,
}

/// Forgets what was before a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compact {
    pub revision: i64,
    /// Answer only when the memory is free.
    pub physical: bool,
}

/// All of `success` where every compare holds, else all of `failure`, at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    pub compares: Vec<Compare>,
    pub success: Vec<Op>,
    pub failure: Vec<Op>,
}

impl Txn {
    /// Whether it cannot write. A nested transaction counts as a write, since etcd counts it as one.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.ops().all(|op| matches!(op, Op::Range(_)))
    }

    /// Whether all it does is read what this endpoint has.
    #[must_use]
    pub fn is_serializable(&self) -> bool {
        self.ops().all(|op| matches!(op, Op::Range(range) if range.serializable))
    }

    /// Whether it can write, at any level and in any branch.
    #[must_use]
    pub fn writes(&self) -> bool {
        self.ops().any(|op| match op {
            Op::Put(_) | Op::DeleteRange(_) => true,
            Op::Txn(txn) => txn.writes(),
            Op::Range(_) => false,
        })
    }

    /// Whether a range in it names a revision, at any level and in any branch.
    #[must_use]
    pub fn reads_past(&self) -> bool {
        self.ops().any(|op| match op {
            Op::Range(range) => range.revision != 0,
            Op::Txn(txn) => txn.reads_past(),
            Op::Put(_) | Op::DeleteRange(_) => false,
        })
    }

    /// Whether a put in it names `lease`, at any level and in any branch.
    #[must_use]
    pub fn names(&self, lease: LeaseId) -> bool {
        self.ops().any(|op| match op {
            Op::Put(put) => put.lease == lease,
            Op::Txn(txn) => txn.names(lease),
            Op::Range(_) | Op::DeleteRange(_) => false,
        })
    }

    /// All keys that it may look at, at any level and in any branch. Those that it only puts are not read.
    #[must_use]
    pub fn keys(&self) -> Vec<&KeyRange> {
        let mut keys: Vec<&KeyRange> = self.compares.iter().map(|compare| &compare.keys).collect();
        for op in self.ops() {
            match op {
                Op::Range(range) => keys.push(&range.keys),
                Op::DeleteRange(delete) => keys.push(&delete.keys),
                Op::Txn(txn) => keys.extend(txn.keys()),
                Op::Put(_) => {}
            }
        }
        keys
    }

    /// The operations of both branches.
    pub fn ops(&self) -> impl Iterator<Item = &Op> {
        self.success.iter().chain(&self.failure)
    }

    /// The operations of one branch.
    #[must_use]
    pub fn branch(&self, succeeded: bool) -> &[Op] {
        if succeeded { &self.success } else { &self.failure }
    }
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Range(Range),
    Put(Put),
    DeleteRange(DeleteRange),
    Txn(Txn),
}

/// A condition on one key, or on each key of a range, as the store is when the transaction begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    pub keys: KeyRange,
    pub subject: Subject,
    pub relation: Relation,
}

/// What is compared, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    Version(i64),
    Create(i64),
    Mod(i64),
    Lease(i64),
    Value(Bytes),
    /// A field this release does not know: everything is equal in it, as in etcd.
    Unknown,
}

/// How the key must stand to what it is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    Equal,
    Greater,
    Less,
    NotEqual,
    /// A relation this release does not know: it always holds, as in etcd.
    Unknown,
}
