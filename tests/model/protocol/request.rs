//! What clients ask for, and what they are told: etcd's requests, over keys that are small numbers.

use std::rc::Rc;

use super::record::{Key, KeyRange, LeaseId, Lsn, NO_LEASE, Revision, Term, Time, Value};
use super::routes::Routes;

/// A key as clients see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kv {
    pub(crate) value: Value,
    pub(crate) lease: LeaseId,
    pub(crate) created: Revision,
    pub(crate) modified: Revision,
    pub(crate) version: usize,
}

pub(crate) type Kvs = [Option<Kv>; super::record::KEYS];

/// What a compare looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Version(usize),
    Modified(Revision),
    Value(Value),
}

/// Holds when every key of the range is as told; an absent one counts as all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Compare {
    pub(crate) keys: KeyRange,
    pub(crate) target: Target,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Put { key: Key, value: Value, lease: LeaseId, prev: bool },
    Delete { keys: KeyRange },
    Range { keys: KeyRange },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Txn {
    pub(crate) compares: Vec<Compare>,
    pub(crate) then: Vec<Op>,
    pub(crate) otherwise: Vec<Op>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Op(Op),
    Txn(Txn),
    /// Of what this endpoint has.
    Serializable(KeyRange),
    Past {
        keys: KeyRange,
        revision: Revision,
    },
    Grant {
        lease: LeaseId,
        ttl: Time,
    },
    Revoke {
        lease: LeaseId,
    },
    KeepAlive {
        lease: LeaseId,
    },
    Compact {
        revision: Revision,
    },
    Auth {
        denied: KeyRange,
    },
    /// From here on: what no client asks for.
    Expire {
        lease: LeaseId,
        term: Term,
    },
    Mark {
        keys: KeyRange,
        lsn: Lsn,
    },
    Routes(Rc<Routes>),
}

/// What one operation of a request answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Put(Option<Kv>),
    Kvs(Vec<(Key, Kv)>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Done { revision: Revision, succeeded: bool, parts: Vec<Part> },
    Denied,
    LeaseNotFound,
    LeaseExists,
    Compacted,
    FutureRevision,
}

impl Answer {
    pub(crate) fn empty(revision: Revision) -> Answer {
        Answer::Done { revision, succeeded: true, parts: Vec::new() }
    }
}

impl Op {
    pub(crate) fn keys(self) -> KeyRange {
        match self {
            Op::Put { key, .. } => KeyRange::single(key),
            Op::Delete { keys } | Op::Range { keys } => keys,
        }
    }

    /// The lease that it names.
    pub(crate) fn lease(self) -> Option<LeaseId> {
        match self {
            Op::Put { lease, .. } if lease != NO_LEASE => Some(lease),
            Op::Put { .. } | Op::Delete { .. } | Op::Range { .. } => None,
        }
    }
}

impl Compare {
    pub(crate) fn holds(self, kvs: &Kvs) -> bool {
        let absent = Kv { value: 0, lease: NO_LEASE, created: 0, modified: 0, version: 0 };
        self.keys.keys().all(|key| {
            let kv = kvs[key].unwrap_or(absent);
            match self.target {
                Target::Version(version) => kv.version == version,
                Target::Modified(revision) => kv.modified == revision,
                // Nobody has the value of what is not there.
                Target::Value(value) => kvs[key].is_some() && kv.value == value,
            }
        })
    }
}

impl Request {
    /// Every range of keys that it may look at or change; what a permission is about.
    pub(crate) fn touches(&self, mut see: impl FnMut(KeyRange)) {
        match self {
            Request::Op(op) => see(op.keys()),
            Request::Txn(txn) => {
                txn.compares.iter().for_each(|compare| see(compare.keys));
                txn.then.iter().chain(&txn.otherwise).for_each(|op| see(op.keys()));
            }
            Request::Serializable(keys) | Request::Past { keys, .. } => see(*keys),
            Request::Revoke { .. } | Request::Expire { .. } => see(KeyRange::ALL),
            Request::Grant { .. }
            | Request::KeepAlive { .. }
            | Request::Compact { .. }
            | Request::Auth { .. }
            | Request::Mark { .. }
            | Request::Routes(_) => {}
        }
    }

    pub(crate) fn is_within_reach(&self, denied: KeyRange) -> bool {
        let mut free = true;
        self.touches(|keys| free &= !keys.overlaps(denied));
        free
    }

    /// Whether it changes keys, if anything, by what is there, so that it has to be looked at first.
    pub(crate) fn is_evaluated(&self) -> bool {
        match self {
            Request::Op(Op::Put { prev, .. }) => *prev,
            Request::Op(_) | Request::Txn(_) | Request::Revoke { .. } | Request::Expire { .. } => true,
            _ => false,
        }
    }

    /// Whether it looks at the keys and nothing else, so that a moment has to be found for it.
    pub(crate) fn is_read_only(&self) -> bool {
        matches!(self, Request::Op(Op::Range { .. }) | Request::Past { .. })
    }

    /// Whether a client waits for its answer.
    pub(crate) fn is_of_client(&self) -> bool {
        !matches!(self, Request::Expire { .. } | Request::Mark { .. } | Request::Routes(_))
    }
}
