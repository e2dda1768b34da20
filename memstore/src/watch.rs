//! Who is told what, and when.
//!
//!     apply ──► Hub (one per partition) ──► buffers of live watchers ──┐
//!                 ^ joins when there is nothing left                   ├──► WatchStream::next
//!               history ──────────► watchers that are catching up ─────┘
//!
//! A watcher is *live* (the hub puts what it wants into its buffer) or *catching up* (it reads the partition's
//! history with a cursor of its own). Every watcher begins by catching up, from whichever revision it wants; a
//! live one whose buffer is full falls back to it. So nobody who is slow delays a write or another watcher, or
//! holds more than its buffer.
//!
//! Invariants: a watcher is handed each event it wants exactly once, in the order of (revision, sub), and all
//! events of a revision at once; what was *told* never runs ahead of what was handed out.

mod either;
mod hub;
mod index;
mod range_index;
mod shared;
mod stream;
#[cfg(test)]
mod tests;
mod watcher;

use std::sync::Arc;

use journal::{KeyRange, Revision};

use crate::event::{Change, Event, EventKind};
use crate::partition_id::PartitionId;

pub use either::WatchStream;
pub(crate) use hub::{Hub, Wakes};
pub(crate) use stream::LocalStream;

/// Names a watcher on its stream. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatcherKey(pub(crate) u64);

/// A wish to see changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchSpec {
    pub partition: PartitionId,
    /// Clipped to the partition.
    pub keys: KeyRange,
    /// The first revision to tell of. It may be still to come.
    pub from: Revision,
    /// Whether the events shall carry the keys' states before.
    pub prev_kv: bool,
    pub puts: bool,
    pub deletes: bool,
}

impl WatchSpec {
    /// Whether the change is of a kind that was asked for.
    pub(crate) fn wants(&self, change: &Change) -> bool {
        match change.kind {
            EventKind::Put => self.puts,
            EventKind::Delete => self.deletes,
        }
    }
}

/// Something to tell a client.
#[derive(Debug)]
pub enum Update {
    /// The watcher's next events, in order, whole revisions, perhaps from several of them; with these it was
    /// told of everything up to and including `upto`.
    Events { watcher: WatcherKey, events: Vec<Arc<Event>>, upto: Revision },
    /// As was asked for: the watcher was told of everything up to and including `upto`.
    Told { watcher: WatcherKey, upto: Revision },
    /// What the watcher wants next is compacted. The watcher is gone.
    Compacted { watcher: WatcherKey, compacted: Revision },
    /// The partition is served elsewhere, or cut otherwise; the watcher was told of everything up to `upto`, and is
    /// gone.
    Moved { watcher: WatcherKey, upto: Revision },
    /// The memstore is shutting down, or out of reach. Nothing comes any more.
    Closed,
}

/// What a watcher may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchLimits {
    /// Events in a live watcher's buffer, and in one answer. When there are more, it catches up from history, and its
    /// buffer is dropped.
    pub events: usize,
    /// Their bytes, likewise. A revision that alone is larger comes as one answer, straight from history. Answers are
    /// smaller where that takes no revision apart.
    pub bytes: usize,
    /// Versions looked at in one read of the history: how long a watcher that catches up may hold the
    /// partition's read lock.
    pub chunk: usize,
}

/// Bytes of events after which an answer ends with its revision. A reader that stands still leaves an answer or two
/// behind, and there may be thousands of those.
const ANSWER_BYTES: usize = 32 << 10;

impl WatchLimits {
    pub(crate) fn answer_bytes(&self) -> usize {
        self.bytes.min(ANSWER_BYTES)
    }
}

impl Default for WatchLimits {
    fn default() -> WatchLimits {
        WatchLimits { events: 1_000, bytes: 1 << 20, chunk: 1_000 }
    }
}
