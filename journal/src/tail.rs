//! Following what is committed, in order and without gaps.
//!
//!      trimmed        in segments        in memory
//!     [ · · · · )[ 5 6 7 8 9 10 11 )[ 12 13 14 15 )
//!                ^                                 ^
//!              first                             tail
//!
//! A reader holds a cursor and nothing else: however slow it is, it delays nobody and costs nothing,
//! until what it wants next is trimmed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;
use tokio::sync::watch;

use crate::error::Error;
use crate::lsn::Lsn;
use crate::record::{Entry, Write};

/// Entries handed over at once, at the most.
const PART_ENTRIES_MAX: usize = 256;

/// Where entries that are no longer in memory are read from.
pub(crate) trait Archive: Send + Sync {
    /// Entries from `from` on, at least one, as many as are cheap to read at once, none at or behind `to`.
    /// Everything before `to` is committed.
    fn read(&self, from: Lsn, to: Lsn) -> Result<Vec<Entry>, Error>;
}

struct Recent {
    entries: VecDeque<Entry>,
    bytes: usize,
}

struct Shared {
    recent: RwLock<Recent>,
    archive: Arc<dyn Archive>,
    /// The first position not yet committed. Sent after `recent` holds everything below it.
    tail: watch::Sender<Lsn>,
    recent_bytes_max: usize,
    closed: AtomicBool,
}

/// The committed end of the journal: one writer publishes, any number of tails read.
#[derive(Clone)]
pub(crate) struct TailSource {
    shared: Arc<Shared>,
}

impl TailSource {
    /// Nothing before `tail` is in memory. Keeps about `recent_bytes_max` of the newest entries there.
    pub(crate) fn new(archive: Arc<dyn Archive>, tail: Lsn, recent_bytes_max: usize) -> TailSource {
        let recent = RwLock::new(Recent { entries: VecDeque::new(), bytes: 0 });
        let (tail, _) = watch::channel(tail);
        let closed = AtomicBool::new(false);
        TailSource { shared: Arc::new(Shared { recent, archive, tail, recent_bytes_max, closed }) }
    }

    /// Makes committed entries visible.
    pub(crate) fn publish(&self, entries: impl IntoIterator<Item = Entry>) {
        let mut tail = *self.shared.tail.borrow();
        {
            let mut recent = self.shared.recent.write();
            for entry in entries {
                assert_eq!(entry.lsn, tail, "committed entries are published in order");
                tail = tail.next();
                recent.bytes += weight(&entry);
                recent.entries.push_back(entry);
            }
            while recent.bytes > self.shared.recent_bytes_max && recent.entries.len() > 1 {
                let dropped = recent.entries.pop_front().expect("there is more than one");
                recent.bytes -= weight(&dropped);
            }
        }
        self.shared.tail.send_replace(tail);
    }

    /// Goes on behind a snapshot: what is before `tail` is not in memory, and perhaps nowhere on this node.
    pub(crate) fn skip_to(&self, tail: Lsn) {
        *self.shared.recent.write() = Recent { entries: VecDeque::new(), bytes: 0 };
        self.shared.tail.send_replace(tail);
    }

    /// Nothing more will be published.
    pub(crate) fn close(&self) {
        self.shared.closed.store(true, Ordering::Release);
        self.shared.tail.send_modify(|_| {});
    }

    /// The first position not yet committed.
    pub(crate) fn tail(&self) -> Lsn {
        *self.shared.tail.borrow()
    }

    /// A reader that begins at `from`.
    pub(crate) fn open(&self, from: Lsn) -> Tail {
        Tail { next: from.max(Lsn(1)), moved: self.shared.tail.subscribe(), shared: self.shared.clone() }
    }
}

impl Shared {
    /// Where a part that begins at `from` ends, at the latest.
    fn part_end(&self, from: Lsn) -> Lsn {
        Lsn(from.0 + PART_ENTRIES_MAX as u64).min(*self.tail.borrow())
    }
}

/// About what an entry holds in memory, in bytes.
fn weight(entry: &Entry) -> usize {
    let records = entry.batch.as_ref().map_or(0, |batch| {
        let writes = batch.records.iter().flat_map(|record| &record.writes);
        writes.map(write_bytes).sum::<usize>() + batch.records.len() * 64
    });
    64 + records
}

fn write_bytes(write: &Write) -> usize {
    match write {
        Write::Put { key, value, .. } => key.len() + value.len() + 80,
        Write::Delete { key } => key.len() + 80,
    }
}

/// A reader of the journal.
pub struct Tail {
    next: Lsn,
    moved: watch::Receiver<Lsn>,
    shared: Arc<Shared>,
}

impl Tail {
    /// The position that the next call begins with.
    #[must_use]
    pub fn position(&self) -> Lsn {
        self.next
    }

    /// Waits for committed entries and answers them, at least one. Safe to give up and call again.
    ///
    /// # Errors
    /// `Trimmed` when the next entry is no longer kept, `Closed` when the journal is, `Corrupt` and `Io` from disk.
    pub async fn next(&mut self) -> Result<Vec<Entry>, Error> {
        let next = self.next;
        let closed = || self.shared.closed.load(Ordering::Acquire);
        let tail = self.moved.wait_for(|tail| next < *tail || closed()).await.map(|tail| *tail);
        if !tail.is_ok_and(|tail| next < tail) {
            return Err(Error::Closed);
        }
        let entries = match self.recent() {
            Some(entries) => entries,
            None => self.shared.archive.read(next, self.shared.part_end(next))?,
        };
        let last = entries.last().expect("there is at least one").lsn;
        assert_eq!(entries[0].lsn, next, "a tail has no gaps");
        self.next = last.next();
        Ok(entries)
    }

    fn recent(&self) -> Option<Vec<Entry>> {
        let recent = self.shared.recent.read();
        let first = recent.entries.front()?.lsn;
        if self.next < first {
            return None;
        }
        let skip = usize::try_from(self.next.0 - first.0).expect("fewer entries than memory");
        let entries: Vec<Entry> = recent.entries.iter().skip(skip).take(PART_ENTRIES_MAX).cloned().collect();
        (!entries.is_empty()).then_some(entries)
    }
}
