//! What the journal stores: effects that were already evaluated.
//!
//!     Batch                                         one Raft entry
//!     ├─ base_revision                              of its first record that changes a key
//!     ├─ Record { origin, [put a, delete b] }       base_revision        sub 0, 1
//!     ├─ Record { origin, lease grant }             none: changes no key
//!     └─ Record { origin, [put c] }                 base_revision + 1    sub 0
//!
//! Applying a record has no branch that can fail. A write's place in its record is its sub-revision,
//! the same in every partition.

use std::sync::Arc;

use bytes::Bytes;

use crate::key_range::KeyRange;
use crate::lsn::Lsn;
use crate::origin::Origin;
use crate::revision::Revision;
use crate::routes::Routes;

/// A lease's name. Any number but 0, which means "no lease".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub i64);

impl LeaseId {
    /// What a key without a lease has.
    pub const NONE: LeaseId = LeaseId(0);
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    Put { key: Bytes, value: Bytes, lease: LeaseId },
    Delete { key: Bytes },
}

impl Write {
    /// A deletion that has bytes of its own. Where keys come from they may stand in one allocation with their values,
    /// which whoever keeps the record would keep, too.
    #[must_use]
    pub fn delete(key: &[u8]) -> Write {
        Write::Delete { key: Bytes::copy_from_slice(key) }
    }

    #[must_use]
    pub fn key(&self) -> &Bytes {
        match self {
            Write::Put { key, .. } | Write::Delete { key } => key,
        }
    }
}

/// What an operator is warned of until it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Alarm {
    NoSpace,
    Corrupt,
}

/// A change of the store that is not a change of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SysOp {
    /// `ttl_seconds` is what each keep-alive gives.
    LeaseGrant {
        lease: LeaseId,
        ttl_seconds: i64,
    },
    /// With the deletions of the attached keys as the record's writes. `expired_in` is the term whose
    /// lessor saw the lease end; `None` when a client asked. Refused in any other term.
    LeaseRevoke {
        lease: LeaseId,
        expired_in: Option<u64>,
    },
    /// What was left of long leases, so that a new leader need not start them in full.
    LeaseCheckpoint {
        remaining_seconds: Vec<(LeaseId, i64)>,
    },
    Compact {
        revision: Revision,
    },
    AlarmRaise {
        member: u64,
        alarm: Alarm,
    },
    AlarmClear {
        member: u64,
        alarm: Alarm,
    },
    /// A snapshot of `[start, end)` holds everything up to and including `lsn`. An empty `end` is the end of all keys.
    SnapshotMark {
        start: Bytes,
        end: Bytes,
        lsn: Lsn,
        revision: Revision,
        set_hash: u64,
    },
    /// Who should hold which keys from now on. The version is the next one, or the sequencer refuses it.
    Routes(Arc<Routes>),
}

/// The effects of one request, all at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub origin: Origin,
    pub writes: Vec<Write>,
    pub sysop: Option<SysOp>,
}

impl Record {
    /// Whether it advances the revision. Only a change of a key does, as in etcd.
    #[must_use]
    pub fn is_mutating(&self) -> bool {
        !self.writes.is_empty()
    }
}

/// A batch with more writes, or more bytes of keys and values, is long.
const SHORT_WRITES_MAX: usize = 4_096;
const SHORT_BYTES_MAX: usize = 4 << 20;

/// What one Raft entry carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The term it was sequenced in. An entry that Raft took in another term is void. 0: it is void everywhere.
    pub term: u64,
    /// Of the first mutating record.
    pub base_revision: Revision,
    /// Milliseconds since the Unix epoch, for restoring to a time. Nothing else may read it.
    pub wall_clock_ms: u64,
    pub records: Vec<Record>,
}

impl Batch {
    /// Each record with its revision: its own if it is mutating, else that of the last change before it.
    pub fn revisions(&self) -> impl Iterator<Item = (Revision, &Record)> {
        let mut next = self.base_revision.0;
        self.records.iter().map(move |record| {
            if record.is_mutating() {
                next += 1;
            }
            (Revision(next - 1), record)
        })
    }

    /// Returns whether it takes so long to encode or to free that this is done on another thread.
    pub(crate) fn is_long(&self) -> bool {
        let bytes = |write: &Write| match write {
            Write::Put { key, value, .. } => key.len() + value.len(),
            Write::Delete { key } => key.len(),
        };
        let writes: usize = self.records.iter().map(|record| record.writes.len()).sum();
        let all = || self.records.iter().flat_map(|record| &record.writes);
        SHORT_WRITES_MAX < writes || SHORT_BYTES_MAX < all().map(bytes).sum()
    }

    /// Returns whether the batch takes effect after `revision`, the last one applied. One that does not was proposed
    /// after a batch that was refused, and is void for every reader of the log.
    #[must_use]
    pub fn follows(&self, revision: Revision) -> bool {
        self.base_revision == revision.next()
    }

    /// The store's revision once the batch is applied.
    #[must_use]
    pub fn last_revision(&self) -> Revision {
        let mutating = self.records.iter().filter(|record| record.is_mutating()).count();
        Revision(self.base_revision.0 - 1 + mutating as u64)
    }
}

/// A committed position as the memstores see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub lsn: Lsn,
    pub term: u64,
    /// `None` for Raft's own entries and for batches of another term. Read it by `effects`.
    pub batch: Option<Arc<Batch>>,
}

impl Entry {
    /// Returns the batch that takes effect after `revision`, the last one applied. `None`: only the position moves.
    #[must_use]
    pub fn effects(&self, revision: Revision) -> Option<&Arc<Batch>> {
        self.batch.as_ref().filter(|batch| batch.follows(revision))
    }
}

/// What an append looked at, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// The keys in `keys`, as of `at`.
    Keys { keys: KeyRange, at: Revision },
    /// Which keys are attached to `lease`, as of `at`.
    Lease { lease: LeaseId, at: Revision },
}

/// What a frontend asks the journal to make durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    pub origin: Origin,
    pub reads: Vec<Read>,
    pub writes: Vec<Write>,
    pub sysop: Option<SysOp>,
    /// Hold the footprint's keys for this origin when it conflicts: it has lost before.
    pub reserve: bool,
}
