//! A log without a disk: what the ephemeral mode writes to, until the segment log serves it, too.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

/// Entries that one read answers at the most.
const PART_ENTRIES_MAX: usize = 256;

/// One entry of Raft's log. What kind and payload mean is not the log's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogEntry {
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) kind: u8,
    pub(crate) payload: Bytes,
}

/// Called when what was asked for is done.
pub(crate) type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

#[derive(Default)]
struct Inner {
    entries: BTreeMap<u64, LogEntry>,
    vote: Option<Bytes>,
    /// The last entry purged: index and term.
    purged: Option<(u64, u64)>,
}

/// The log; clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Log {
    inner: Arc<Mutex<Inner>>,
}

impl Log {
    pub(crate) fn append(&self, entries: Vec<LogEntry>, done: Done) {
        self.inner.lock().entries.extend(entries.into_iter().map(|entry| (entry.index, entry)));
        done(Ok(()));
    }

    pub(crate) fn save_vote(&self, vote: Bytes, done: Done) {
        self.inner.lock().vote = Some(vote);
        done(Ok(()));
    }

    pub(crate) fn truncate(&self, from: u64, done: Done) {
        self.inner.lock().entries.split_off(&from);
        done(Ok(()));
    }

    pub(crate) fn purge(&self, upto: u64, term: u64, done: Done) {
        let mut inner = self.inner.lock();
        inner.entries = inner.entries.split_off(&(upto + 1));
        inner.purged = Some((upto, term));
        drop(inner);
        done(Ok(()));
    }

    /// Entries from `from` below `to`, as many as are cheap to read at once.
    pub(crate) fn read(&self, from: u64, to: u64) -> Vec<LogEntry> {
        let inner = self.inner.lock();
        inner.entries.range(from..to).take(PART_ENTRIES_MAX).map(|(_, entry)| entry.clone()).collect()
    }

    pub(crate) fn vote(&self) -> Option<Bytes> {
        self.inner.lock().vote.clone()
    }

    pub(crate) fn purged(&self) -> Option<(u64, u64)> {
        self.inner.lock().purged
    }

    /// Index and term of the last entry.
    pub(crate) fn last(&self) -> Option<(u64, u64)> {
        self.inner.lock().entries.last_key_value().map(|(index, entry)| (*index, entry.term))
    }
}
