//! The promise of a voter: the newest term that it has voted in, and the last entry that it has acknowledged.
//!
//!     what it says of itself    <=    what is on its disk          so a later start finds at least as much
//!
//! A start that finds less runs on another disk, or on an older copy of it.

use std::sync::Arc;

use parking_lot::Mutex;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Promise {
    /// Newest term of a vote.
    pub(crate) term: u64,
    /// Term and index of the last entry, also where a later leader has cut it off.
    pub(crate) last: Option<(u64, u64)>,
}

/// The first entry of a new cluster. Every founder writes it, before anything is acknowledged.
const FOUNDING: (u64, u64) = (0, 0);

impl Promise {
    /// Returns the larger of both in each part.
    pub(crate) fn join(self, other: Promise) -> Promise {
        Promise { term: self.term.max(other.term), last: self.last.max(other.last) }
    }

    /// Returns true where the promise keeps `other` as well.
    pub(crate) fn covers(self, other: Promise) -> bool {
        other.term <= self.term && other.last <= self.last
    }

    /// Returns true where nothing was promised: there is no vote, and no entry but the first of a new cluster.
    pub(crate) fn is_empty(self) -> bool {
        self.term == 0 && self.last <= Some(FOUNDING)
    }
}

/// The promise of this node, as far as it is on disk. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct DurablePromise(Arc<Mutex<Promise>>);

impl DurablePromise {
    pub(crate) fn now(&self) -> Promise {
        *self.0.lock()
    }

    /// Notes what has become durable.
    pub(crate) fn raise(&self, to: Promise) {
        let mut promise = self.0.lock();
        *promise = promise.join(to);
    }
}
