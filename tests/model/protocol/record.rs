//! What the tiers say to each other about changes: facts that were evaluated before, and what they rest on.
//!
//!     Append ─► sequencer ─► Record ─► Batch ─► Entry of the log, whose place is its Lsn
//!
//! A batch says at which revision it begins. Each record that writes takes the next one.

use std::rc::Rc;

use super::routes::Routes;

pub(crate) type Key = usize;
pub(crate) type Value = usize;
pub(crate) type LeaseId = usize;
/// Etcd's counter of changes; an empty store is at 1.
pub(crate) type Revision = usize;
/// A position in the journal. The first entry has 1, so a position is also a number of entries.
pub(crate) type Lsn = usize;
pub(crate) type Term = usize;
pub(crate) type NodeId = usize;
/// Steps of the world, of which each takes as long as every other.
pub(crate) type Time = usize;

pub(crate) const KEYS: usize = 9;
pub(crate) const NO_LEASE: LeaseId = 0;

/// Keys `from..to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyRange {
    pub(crate) from: Key,
    pub(crate) to: Key,
}

impl KeyRange {
    pub(crate) const ALL: KeyRange = KeyRange { from: 0, to: KEYS };
    pub(crate) const NONE: KeyRange = KeyRange { from: 0, to: 0 };

    pub(crate) fn single(key: Key) -> KeyRange {
        KeyRange { from: key, to: key + 1 }
    }

    pub(crate) fn keys(self) -> std::ops::Range<Key> {
        self.from..self.to
    }

    pub(crate) fn contains(self, key: Key) -> bool {
        self.keys().contains(&key)
    }

    pub(crate) fn covers(self, other: KeyRange) -> bool {
        self.from <= other.from && other.to <= self.to
    }

    pub(crate) fn overlaps(self, other: KeyRange) -> bool {
        self.from < other.to && other.from < self.to
    }

    pub(crate) fn is_single(self) -> bool {
        self.from + 1 == self.to
    }
}

/// A request, and which attempt at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Another one at each start of a frontend.
    pub(crate) frontend: usize,
    pub(crate) seq: usize,
    pub(crate) attempt: usize,
}

impl Origin {
    pub(crate) fn is_same_request(self, other: Origin) -> bool {
        (self.frontend, self.seq) == (other.frontend, other.seq)
    }
}

/// A part of a footprint: what was looked at, and as of when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    Keys {
        keys: KeyRange,
        at: Revision,
    },
    /// Which keys are attached to it.
    Lease {
        lease: LeaseId,
        at: Revision,
    },
}

impl Read {
    pub(crate) fn at(self) -> Revision {
        match self {
            Read::Keys { at, .. } | Read::Lease { at, .. } => at,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    Put { key: Key, value: Value, lease: LeaseId },
    Delete { key: Key },
}

impl Write {
    pub(crate) fn key(self) -> Key {
        match self {
            Write::Put { key, .. } | Write::Delete { key } => key,
        }
    }

    pub(crate) fn lease(self) -> Option<LeaseId> {
        match self {
            Write::Put { lease, .. } if lease != NO_LEASE => Some(lease),
            Write::Put { .. } | Write::Delete { .. } => None,
        }
    }
}

/// A change of what the journal itself keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SysOp {
    /// `at` is the wall clock's stamp. Nothing may read it: the rule is there to be broken.
    Grant {
        lease: LeaseId,
        ttl: Time,
        at: Time,
    },
    /// `expired_in` is the term of the leader that saw it end; without it a client wanted that.
    Revoke {
        lease: LeaseId,
        expired_in: Option<Term>,
    },
    Compact {
        revision: Revision,
    },
    /// From here on guests may not touch these keys.
    Auth {
        denied: KeyRange,
    },
    /// The snapshot store has these keys as of this position.
    Mark {
        keys: KeyRange,
        lsn: Lsn,
    },
    Routes(Rc<Routes>),
}

#[derive(Clone, Debug)]
pub(crate) struct Append {
    pub(crate) origin: Origin,
    /// Where the permissions, by which it was allowed, were changed last.
    pub(crate) auth_lsn: Lsn,
    pub(crate) reads: Vec<Read>,
    pub(crate) writes: Vec<Write>,
    pub(crate) sysop: Option<SysOp>,
    pub(crate) reserve: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) origin: Origin,
    /// Only for the checker: a journal does not keep footprints.
    pub(crate) reads: Vec<Read>,
    pub(crate) writes: Vec<Write>,
    pub(crate) sysop: Option<SysOp>,
    /// When it was sequenced. Only for the checker.
    pub(crate) sequenced_at: Time,
}

impl Record {
    /// Whether it does nothing but keep attempts of its request from happening later.
    pub(crate) fn is_fence(&self) -> bool {
        self.writes.is_empty() && self.sysop.is_none()
    }

    pub(crate) fn is_mutating(&self) -> bool {
        !self.writes.is_empty()
    }
}

#[derive(Debug)]
pub(crate) struct Batch {
    /// Whose sequencer made it.
    pub(crate) term: Term,
    pub(crate) base_revision: Revision,
    pub(crate) records: Vec<Rc<Record>>,
}

/// One place in the log.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Under which leader it came into the log.
    pub(crate) term: Term,
    /// Nothing is what a leader begins with.
    pub(crate) batch: Option<Rc<Batch>>,
}

/// The sequencer's answer to an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Committed {
        lsn: Lsn,
        revision: Revision,
        attempt: usize,
    },
    Conflict {
        wait: Revision,
    },
    TooOld {
        wait: Revision,
    },
    AuthStale,
    LeaseNotFound,
    LeaseExists,
    /// Another leader gave the lease its time again.
    LeaseStartedAnew,
    Compacted,
    RoutesChanged,
    Overloaded,
    NotLeader,
    /// The number of the request is so old that what it did may be forgotten: no attempt of it is taken any more.
    Forgotten,
    Unknown,
}

/// What became of an append whose verdict was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Committed { revision: Revision, attempt: usize },
    Pending,
    Never,
    Expired,
}
