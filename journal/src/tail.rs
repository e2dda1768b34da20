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
use crate::machine;
use crate::record::{Entry, Write};
use crate::remote::RemoteTail;

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
    /// Nothing before it may be read any more: where a snapshot was put in the place of the log, the archive may
    /// still have entries there that were never committed.
    first: Lsn,
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
        let recent = RwLock::new(Recent { entries: VecDeque::new(), bytes: 0, first: Lsn(1) });
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
                if dropped.batch.as_ref().is_some_and(|batch| batch.is_long()) {
                    machine::discard(dropped);
                }
            }
        }
        self.shared.tail.send_replace(tail);
    }

    /// Goes on behind a snapshot: what is before `tail` is trimmed, for everybody.
    pub(crate) fn skip_to(&self, tail: Lsn) {
        *self.shared.recent.write() = Recent { entries: VecDeque::new(), bytes: 0, first: tail };
        self.shared.tail.send_replace(tail);
    }

    /// The first position that may be read, as far as the archive still has it.
    pub(crate) fn first(&self) -> Lsn {
        self.shared.recent.read().first
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
        let (moved, shared) = (self.shared.tail.subscribe(), self.shared.clone());
        Tail { reader: Reader::Here(LocalTail { next: from.max(Lsn(1)), moved, shared }) }
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

/// A reader of the journal, wherever the journal is.
pub struct Tail {
    reader: Reader,
}

enum Reader {
    Here(LocalTail),
    There(Box<RemoteTail>),
}

impl Tail {
    pub(crate) fn there(tail: RemoteTail) -> Tail {
        Tail { reader: Reader::There(Box::new(tail)) }
    }

    /// The position that the next call begins with.
    #[must_use]
    pub fn position(&self) -> Lsn {
        match &self.reader {
            Reader::Here(tail) => tail.next,
            Reader::There(tail) => tail.position(),
        }
    }

    /// Waits for committed entries and answers them, at least one. Safe to give up and call again.
    ///
    /// # Errors
    /// `Trimmed` when the next entry is no longer kept, `Closed` when the journal is, `Corrupt` and `Io` from disk.
    pub async fn next(&mut self) -> Result<Vec<Entry>, Error> {
        match &mut self.reader {
            Reader::Here(tail) => tail.next().await,
            Reader::There(tail) => tail.next().await,
        }
    }
}

/// A reader of the journal of this process.
struct LocalTail {
    next: Lsn,
    moved: watch::Receiver<Lsn>,
    shared: Arc<Shared>,
}

impl LocalTail {
    async fn next(&mut self) -> Result<Vec<Entry>, Error> {
        let next = self.next;
        let closed = || self.shared.closed.load(Ordering::Acquire);
        let tail = self.moved.wait_for(|tail| next < *tail || closed()).await.map(|tail| *tail);
        let Some(tail) = tail.ok().filter(|tail| next < *tail) else { return Err(Error::Closed) };
        let entries = match self.recent()? {
            Some(entries) => entries,
            // The tail was looked at first: had it been a snapshot's already, the line above would have known.
            None => self.shared.archive.read(next, tail.min(Lsn(next.0 + PART_ENTRIES_MAX as u64)))?,
        };
        let last = entries.last().expect("there is at least one").lsn;
        assert_eq!(entries[0].lsn, next, "a tail has no gaps");
        self.next = last.next();
        Ok(entries)
    }

    /// What is in memory, from the next position on; `None` where that is only in the archive.
    fn recent(&self) -> Result<Option<Vec<Entry>>, Error> {
        let recent = self.shared.recent.read();
        if self.next < recent.first {
            return Err(Error::Trimmed { first: recent.first });
        }
        let Some(first) = recent.entries.front().map(|entry| entry.lsn).filter(|first| *first <= self.next)
        else {
            return Ok(None);
        };
        let skip = usize::try_from(self.next.0 - first.0).expect("fewer entries than memory");
        let entries: Vec<Entry> = recent.entries.iter().skip(skip).take(PART_ENTRIES_MAX).cloned().collect();
        Ok((!entries.is_empty()).then_some(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Has whatever it is asked for, committed or not.
    struct Everything;

    impl Archive for Everything {
        fn read(&self, from: Lsn, to: Lsn) -> Result<Vec<Entry>, Error> {
            Ok((from.0..to.0).map(|lsn| Entry { lsn: Lsn(lsn), term: 1, batch: None }).collect())
        }
    }

    #[tokio::test]
    async fn what_a_snapshot_stands_for_is_not_read_from_the_log_any_more() {
        let source = TailSource::new(Arc::new(Everything), Lsn(5), 1 << 20);
        let (mut behind, mut waiting) = (source.open(Lsn(2)), source.open(Lsn(5)));
        let read = behind.next().await.unwrap();
        assert_eq!(read.iter().map(|entry| entry.lsn.0).collect::<Vec<_>>(), [2, 3, 4]);
        source.skip_to(Lsn(9));
        for tail in [&mut behind, &mut waiting] {
            assert_eq!(tail.next().await, Err(Error::Trimmed { first: Lsn(9) }));
        }
        source.publish([Entry { lsn: Lsn(9), term: 2, batch: None }]);
        assert_eq!(source.open(Lsn(9)).next().await.unwrap()[0].term, 2);
    }
}
