//! Raft's log: the newest entries in memory, all of them in the segments.
//!
//!      purged         in segments only     also in memory
//!     [ · · · · )[ 5 6 7 8 9 10 11 )[ 12 13 14 15 )
//!
//! An entry can be read as soon as `append` returns, and is durable when its callback is called. Entries in
//! memory keep the batch they were made of: the leader never decodes what it has encoded.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use parking_lot::RwLock;
use tokio::sync::oneshot;
use tokio_stream::Stream;

use super::promise::{DurablePromise, Promise};
use super::types::{LogId, RaftEntry, RaftPayload, Types, Vote, index, lsn, term};
use super::{entry, membership};
use crate::client::Status;
use crate::error::Error;
use crate::log::{Done, Log, LogEntry};
use crate::lsn::Lsn;
use crate::machine;
use crate::record::Entry;
use crate::tail::Archive;

/// Of the newest entries; older ones are read from the segments.
const MEMORY_BYTES_MAX: usize = 16 << 20;

/// Entries that replication or an apply reads at once.
const PART_BYTES_MAX: usize = 4 << 20;

/// The newest entries, without gaps up to the log's last.
#[derive(Default)]
struct Memory {
    entries: VecDeque<RaftEntry>,
    bytes: usize,
}

impl Memory {
    fn push(&mut self, entry: RaftEntry) {
        self.bytes += entry::weight(&entry);
        self.entries.push_back(entry);
    }

    fn shrink(&mut self) {
        while self.bytes > MEMORY_BYTES_MAX && self.entries.len() > 1 {
            let oldest = self.entries.pop_front().expect("there is more than one");
            self.let_go(oldest);
        }
    }

    /// Many keys that no reader holds any more are not freed on this thread.
    fn let_go(&mut self, entry: RaftEntry) {
        self.bytes -= entry::weight(&entry);
        if matches!(&entry.payload, RaftPayload::Normal(payload) if payload.batch.is_long()) {
            machine::discard(entry);
        }
    }

    fn truncate(&mut self, from: u64) {
        while let Some(newest) = self.entries.pop_back_if(|newest| from <= newest.log_id.index()) {
            self.let_go(newest);
        }
    }

    fn purge(&mut self, upto: u64) {
        while let Some(oldest) = self.entries.pop_front_if(|oldest| oldest.log_id.index() <= upto) {
            self.let_go(oldest);
        }
    }

    /// Entries from `from` below `to`, at least one, about `PART_BYTES_MAX` of them; `None` where the first is
    /// not here.
    fn read(&self, from: u64, to: u64) -> Option<Vec<RaftEntry>> {
        let first = self.entries.front()?.log_id.index();
        let skip = usize::try_from(from.checked_sub(first)?).ok()?;
        let mut bytes = 0;
        let part = self.entries.iter().skip(skip).take_while(|entry| {
            let take = entry.log_id.index() < to && bytes < PART_BYTES_MAX;
            bytes += entry::weight(entry);
            take
        });
        Some(part.cloned().collect::<Vec<_>>()).filter(|part| !part.is_empty())
    }
}

struct Shared {
    memory: RwLock<Memory>,
    vote: RwLock<Option<Vote>>,
    /// What is on disk of what this node votes and acknowledges.
    promise: DurablePromise,
}

/// A handle on the log; clones are the readers of replication and of the state machine.
#[derive(Clone)]
pub(crate) struct LogStore {
    log: Log,
    shared: Arc<Shared>,
}

impl LogStore {
    /// # Errors
    /// `Corrupt` where the vote is not one.
    pub(crate) fn new(log: Log, promise: DurablePromise) -> Result<LogStore, Error> {
        let vote = log.vote().map(|bytes| membership::decode_vote(&bytes).ok_or(bytes)).transpose();
        let vote =
            vote.map_err(|bytes| Error::Corrupt(format!("the vote in the log cannot be read: {bytes:x?}")))?;
        let term = vote.map_or(0, |vote: Vote| vote.leader_id.term);
        promise.raise(Promise { term, last: log.recovered().last_ever });
        let shared = Shared { memory: RwLock::default(), vote: RwLock::new(vote), promise };
        Ok(LogStore { log, shared: Arc::new(shared) })
    }

    /// Entries from `from` below `to`, at least one, as many as are cheap to read at once.
    fn part(&self, from: u64, to: u64) -> io::Result<Vec<RaftEntry>> {
        if let Some(part) = self.shared.memory.read().read(from, to) {
            return Ok(part);
        }
        let part = self.log.read(from, to)?;
        if part.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("entry {from} is not in the log")));
        }
        // Copied, since whoever keeps a value would keep the whole segment from being reused.
        let copy = |read: LogEntry| LogEntry { payload: Bytes::copy_from_slice(&read.payload), ..read };
        part.into_iter().map(|read| entry::from_log(copy(read))).collect()
    }

    pub(crate) fn note_turn(&self, pending: usize, took: Duration) {
        self.log.note_turn(pending, took);
    }

    /// Whether the disk has failed: what was on its way is lost, and Raft is about to stop.
    pub(crate) fn has_failed(&self) -> bool {
        self.log.has_failed()
    }

    /// Returns whether the disk is so far behind that nothing more should be proposed.
    pub(crate) fn is_behind(&self) -> bool {
        self.log.is_behind()
    }

    /// Waits until it is not.
    pub(crate) async fn catches_up(&self) {
        self.log.catches_up().await;
    }

    /// What there is to say about the log.
    pub(crate) fn measure(&self, status: &mut Status) {
        status.first = self.purged().map_or(Lsn(1), |id| lsn(&id).next());
        status.disk_bytes = self.log.disk_bytes();
    }

    fn last(&self) -> Option<LogId> {
        let newest = self.shared.memory.read().entries.back().map(|entry| entry.log_id);
        newest.or_else(|| self.log.last().map(|(index, term)| LogId::new_term_index(term, index)))
    }

    fn purged(&self) -> Option<LogId> {
        self.log.purged().map(|(index, term)| LogId::new_term_index(term, index))
    }
}

/// Waits for what `write` calls back about.
async fn durable(write: impl FnOnce(Done)) -> io::Result<()> {
    let (done, wait) = oneshot::channel();
    write(called(move |result| drop(done.send(result))));
    wait.await.unwrap_or_else(|_| Err(io::Error::other("the log is closed")))
}

#[cfg(not(test))]
fn called(done: impl FnOnce(io::Result<()>) + Send + 'static) -> Done {
    Box::new(done)
}

/// Virtual time stands still while the log's thread works: tokio lets none pass while a blocking task runs.
#[cfg(test)]
fn called(done: impl FnOnce(io::Result<()>) + Send + 'static) -> Done {
    let (working, worked) = std::sync::mpsc::channel::<()>();
    tokio::task::spawn_blocking(move || worked.recv());
    Box::new(move |result| {
        done(result);
        drop(working);
    })
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<RaftEntry>, io::Error> {
        let (mut from, to) = self.bounds(&range);
        let mut entries = Vec::new();
        while from < to {
            entries.extend(self.part(from, to)?);
            from = entries.last().map_or(to, |entry: &RaftEntry| entry.log_id.index() + 1);
        }
        Ok(entries)
    }

    /// Entries for a follower; none where they are purged. Raft then sends an append without entries, whose response tells
    /// what the follower has. An error would stop this node.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<RaftEntry>, io::Error> {
        if end <= start {
            return Ok(Vec::new());
        }
        match self.part(start, end) {
            Err(_) if self.purged().is_some_and(|purged| start <= purged.index()) => Ok(Vec::new()),
            part => part,
        }
    }

    /// A part at a time: after a restart the state machine goes through all of the log.
    async fn entries_stream<R>(
        &mut self,
        range: R,
    ) -> impl Stream<Item = io::Result<RaftEntry>> + OptionalSend
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (next, end) = self.bounds(&range);
        Parts { store: self.clone(), next, end, part: VecDeque::new() }
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(*self.shared.vote.read())
    }
}

impl LogStore {
    /// The range, clipped to what the log has.
    fn bounds(&self, range: &impl RangeBounds<u64>) -> (u64, u64) {
        let from = match range.start_bound() {
            Bound::Included(from) => *from,
            Bound::Excluded(before) => before + 1,
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(last) => last + 1,
            Bound::Excluded(to) => *to,
            Bound::Unbounded => u64::MAX,
        };
        let first = self.purged().map_or(0, |id| id.index() + 1);
        let end = self.last().map_or(0, |id| id.index() + 1);
        (from.max(first), to.min(end))
    }
}

struct Parts {
    store: LogStore,
    next: u64,
    end: u64,
    part: VecDeque<RaftEntry>,
}

impl Stream for Parts {
    type Item = io::Result<RaftEntry>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.part.is_empty() && self.next < self.end {
            match self.store.part(self.next, self.end) {
                Ok(part) => self.part = part.into(),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
        let entry = self.part.pop_front();
        self.next += u64::from(entry.is_some());
        Poll::Ready(entry.map(Ok))
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let last_purged_log_id = self.purged();
        Ok(LogState { last_purged_log_id, last_log_id: self.last().max(last_purged_log_id) })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let bytes = Bytes::from(membership::encode_vote(vote));
        durable(|done| self.log.save_vote(bytes, done)).await?;
        self.shared.promise.raise(Promise { term: vote.leader_id.term, last: None });
        *self.shared.vote.write() = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        if let Some(committed) = committed {
            self.log.save_committed(committed.index());
        }
        Ok(())
    }

    /// Before the quorum is found again a restarted node already has what it knows to be committed.
    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        let Some(index) = self.log.recovered().committed else { return Ok(None) };
        let purged = self.purged();
        if purged.is_some_and(|purged| index <= purged.index()) {
            return Ok(purged);
        }
        let entry = self.log.read(index, index + 1)?.pop();
        Ok(entry.map(|entry| LogId::new_term_index(entry.term, entry.index)))
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = RaftEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut for_log = Vec::new();
        {
            let mut memory = self.shared.memory.write();
            for mut entry in entries {
                if let RaftPayload::Normal(payload) = &mut entry.payload {
                    payload.pass_fence();
                }
                for_log.push(entry::to_log(&entry));
                memory.push(entry);
            }
            memory.shrink();
        }
        self.log.room(&for_log).await;
        let last = for_log.last().map(|entry| (entry.term, entry.index));
        let promise = self.shared.promise.clone();
        self.log.append(
            for_log,
            called(move |result| {
                if result.is_ok() {
                    promise.raise(Promise { term: 0, last });
                }
                flushed.io_completed(result);
            }),
        );
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let from = last.map_or(0, |id| id.index() + 1);
        self.shared.memory.write().truncate(from);
        durable(|done| self.log.truncate(from, done)).await
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        self.shared.memory.write().purge(upto.index());
        durable(|done| self.log.purge(upto.index(), term(&upto), done)).await?;
        self.shared.promise.raise(Promise { term: 0, last: Some((term(&upto), upto.index())) });
        Ok(())
    }
}

impl Archive for LogStore {
    fn read(&self, from: Lsn, to: Lsn) -> Result<Vec<Entry>, Error> {
        let first = self.purged().map_or(Lsn(1), |id| lsn(&id).next());
        if from < first {
            return Err(Error::Trimmed { first });
        }
        let part = self.part(index(from), index(to)).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => Error::Corrupt(error.to_string()),
            // It was purged meanwhile.
            io::ErrorKind::NotFound => Error::Trimmed { first: from.next() },
            _ => Error::Io(error.to_string()),
        })?;
        Ok(part.iter().map(entry::committed).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::machine::Disk;

    #[tokio::test]
    async fn purged_entries_are_no_error_for_replication() {
        let log = Log::on_sim(&Disk::default(), 1 << 20, Arc::new(SystemClock::default())).unwrap();
        let mut store = LogStore::new(log, DurablePromise::default()).unwrap();
        store.purge(LogId::new_term_index(1, 7)).await.unwrap();
        assert!(store.limited_get_log_entries(3, 5).await.unwrap().is_empty());
        let missing = store.limited_get_log_entries(8, 9).await.unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
