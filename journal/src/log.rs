//! The log: entries, vote and marks of one journal node, in order, on disk.
//!
//!     append ──► memory ──► queue ──► one thread: drain, encode, write, sync ──► done, in order
//!                  └── readable at once                                            └── durable
//!
//! There is no lingering: what arrived during one sync goes with the next. After the first error nothing more is
//! written, and every call fails: a sync that is tried again can succeed without the bytes.

#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod open;
mod queue;
mod settings;
mod turns;
mod view;
mod worker;
mod writer;

#[cfg(test)]
mod crash_points;
#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::block::{self, PAYLOAD_BYTES_MAX, VOTE_BYTES_MAX};
use crate::clock::Clock;
use crate::config::Storage;
use crate::data_directory::DataDirectory;
use crate::error::Error;
use crate::log_device::LogDevice;
use crate::log_device::file::{Directory, Sync};
use crate::log_device::sim::Sim;
use crate::lsn::Lsn;
use crate::machine::Machine;
use crate::metrics::LogMetrics;
use crate::segments::Segments;
use queue::Shared;
use settings::Settings;
use turns::Turns;
use view::{Source, View};
use worker::Worker;
use writer::{Step, Writer};

pub(crate) use crate::block::LogEntry;

/// Called once, on the log's own thread: it must not wait.
pub(crate) type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// How much is read at once.
const READ_BYTES_MAX: usize = 4 << 20;

/// A handle on the log. Clones are the same log.
#[derive(Clone)]
pub(crate) struct Log {
    shared: Arc<Shared>,
    running: Arc<Running>,
    found: Arc<Recovered>,
    metrics: Arc<LogMetrics>,
    disk_bytes: Arc<AtomicU64>,
    clock: Arc<dyn Clock>,
}

/// Closes the log with its last handle.
struct Running {
    shared: Arc<Shared>,
    writes: Mutex<Option<Writes>>,
}

/// What writes.
enum Writes {
    Thread(JoinHandle<()>),
    /// On a simulated machine.
    InTurns(Turns),
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nobody can ask any more. Whoever wants to wait for the end calls `close`.
        self.shared.close();
    }
}

/// What was on disk when the log was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recovered {
    /// A lower bound of what had been committed.
    pub(crate) committed: Option<u64>,
    /// Term and index of the last entry that there was, also where it was cut off later.
    pub(crate) last_ever: Option<(u64, u64)>,
    /// What was cut off, in words for an operator.
    pub(crate) warning: Option<String>,
}

impl Log {
    /// Opens the log, or makes a new one.
    ///
    /// # Errors
    /// `Io` where the directory or the disk refuses, `Corrupt` where acknowledged data is damaged.
    pub(crate) fn open(
        storage: &Storage,
        sync: Sync,
        cluster: u64,
        clock: Arc<dyn Clock>,
    ) -> Result<Log, Error> {
        let settings = Settings::of(storage);
        match storage {
            Storage::Directory(path) => {
                let directory = DataDirectory::open(path, cluster)?;
                if let Some(machine) = Machine::simulated() {
                    return Log::simulated(machine, cluster, clock, directory);
                }
                let device = Arc::new(Directory::new(directory.path().to_owned(), sync));
                Log::start(device, cluster, settings, clock, Some(directory))
            }
            Storage::Memory => Log::start(Arc::new(Sim::default()), cluster, settings, clock, None),
        }
    }

    /// On a disk that the test keeps, with a short queue.
    #[cfg(test)]
    pub(crate) fn on_sim(disk: &Sim, segment_bytes: u64, clock: Arc<dyn Clock>) -> Result<Log, Error> {
        let settings = Settings { segment_bytes, queue_items_max: 64, ..Settings::of(&Storage::Memory) };
        Log::start(Arc::new(disk.clone()), 7, settings, clock, None)
    }

    fn start(
        device: Arc<dyn LogDevice>,
        cluster: u64,
        settings: Settings,
        clock: Arc<dyn Clock>,
        directory: Option<DataDirectory>,
    ) -> Result<Log, Error> {
        let (log, mut worker) = Log::parts(device, cluster, settings, clock)?;
        if let Some(warning) = &log.found.warning {
            tracing::warn!("{warning}");
        }
        let thread = std::thread::Builder::new().name("log".into()).spawn(move || {
            worker.run();
            drop(worker);
            // Only now may another process come in.
            drop(directory);
        });
        let thread = thread.map_err(|error| Error::io("cannot start the log's thread", &error))?;
        *log.running.writes.lock() = Some(Writes::Thread(thread));
        Ok(log)
    }

    /// The log and what must be run for it, by a thread or by a test.
    fn parts(
        device: Arc<dyn LogDevice>,
        cluster: u64,
        settings: Settings,
        clock: Arc<dyn Clock>,
    ) -> Result<(Log, Worker), Error> {
        let mut found = open::open(&*device, cluster)?;
        let mut segments = Segments::new(device, settings.segment_bytes)?;
        for name in &found.left_over {
            let failed = |error: io::Error| Error::io(format!("cannot remove {name}"), &error);
            segments.discard(name).map_err(failed)?;
        }
        let (active, offset, chain) = match found.end {
            None => Writer::first(&mut segments, cluster)?,
            Some((offset, chain)) => {
                found.segments.values().for_each(|segment| segments.count(segment.header.bytes));
                let newest = found.segments.values().next_back().expect("blocks were found in it");
                (Arc::clone(newest), offset, chain)
            }
        };
        let state = found.replay.state.take().unwrap_or_default();
        let committed_end = found.replay.committed_end.min(state.next);
        let purged = state.purged.map(|(index, term)| (term, index));
        found.segments.insert(active.header.segment, Arc::clone(&active));
        let index = (found.replay.spans, found.replay.terms);
        let view = View::new(
            state.next,
            state.purged,
            state.vote.clone(),
            index,
            found.segments,
            settings.recent_bytes_max,
        );
        let (metrics, disk_bytes) = (Arc::default(), segments.disk_bytes());
        let end = (offset, chain);
        let mut writer = Writer::resume(segments, cluster, clock.clone(), active, end, state, committed_end);
        writer.metrics = Arc::clone(&metrics);
        let mut worker = Worker { writer, shared: Arc::new(Shared::new(view, settings.queue_items_max)) };
        // Nothing else is written before it: whatever was cut off can never fit behind this block.
        worker.mark()?;
        if settings.make_ahead {
            worker.writer.segments.make_ahead()?;
        }
        let committed = committed_end.checked_sub(1);
        let last_ever = found.replay.last_ever.max(purged);
        let found = Arc::new(Recovered { committed, last_ever, warning: found.warning });
        let shared = Arc::clone(&worker.shared);
        let running = Arc::new(Running { shared: Arc::clone(&shared), writes: Mutex::default() });
        Ok((Log { shared, running, found, metrics, disk_bytes, clock }, worker))
    }

    /// Waits until the queue has room for these entries, while too much is not yet durable.
    pub(crate) async fn room(&self, entries: &[LogEntry]) {
        self.shared.room(entries.iter().map(view::weight).sum()).await;
    }

    /// Returns whether so much waits for the disk that nothing more should be proposed.
    pub(crate) fn is_behind(&self) -> bool {
        self.shared.is_behind()
    }

    /// Waits until it is not.
    pub(crate) async fn catches_up(&self) {
        self.shared.catches_up().await;
    }

    /// Adds entries behind the last. They can be read when this returns, and are durable when `done` is called.
    /// The queue takes them even without room: whoever cannot tell how much there will be calls `room` first.
    pub(crate) fn append(&self, entries: Vec<LogEntry>, done: Done) {
        let bytes: usize = entries.iter().map(view::weight).sum();
        for entry in &entries {
            assert!(entry.payload.len() <= PAYLOAD_BYTES_MAX, "records are bounded before they come here");
        }
        self.ask(bytes, done, |view, ticket| {
            view.append(&entries, ticket);
            Step::Append(entries)
        });
    }

    pub(crate) fn save_vote(&self, vote: Bytes, done: Done) {
        assert!(vote.len() <= VOTE_BYTES_MAX, "a vote is small");
        self.ask(vote.len(), done, |view, _| {
            view.vote = Some(vote.clone());
            Step::Vote(vote)
        });
    }

    /// Forgets the entries from `from` on, as if they had never been.
    pub(crate) fn truncate(&self, from: u64, done: Done) {
        self.ask(0, done, |view, _| {
            if view.next <= from {
                return Step::Nothing;
            }
            view.truncate(from);
            Step::Truncate(from)
        });
    }

    /// Forgets the entries up to and with `upto`, which was of `term`. Disk that holds nothing else is given back.
    pub(crate) fn purge(&self, upto: u64, term: u64, done: Done) {
        let end = upto + 1;
        self.ask(0, done, |view, _| {
            if end <= view.first() {
                return Step::Nothing;
            }
            view.purge(end, term);
            Step::Purge { end, term }
        });
    }

    /// Notes that `index` is committed; the note goes to disk with whatever is written next.
    pub(crate) fn save_committed(&self, index: u64) {
        self.shared.note_committed(index + 1);
    }

    /// Entries from `from` below `to`, without a gap: at least one if there is one at `from`, and more as long as they
    /// are cheap to read at once. A payload is a part of its
    /// block, which stays in memory with it: keep copies.
    ///
    /// # Errors
    /// `NotFound` below the first that is kept, `InvalidData` where the disk has changed its mind.
    pub(crate) fn read(&self, from: u64, to: u64) -> io::Result<Vec<LogEntry>> {
        let (mut next, mut bytes, mut entries) = (from, 0, Vec::new());
        while next < to && (entries.is_empty() || bytes < READ_BYTES_MAX) {
            let source = self.shared.view(|view| {
                let first = Lsn(view.first());
                if next < first.0 {
                    Err(Error::Trimmed { first })
                } else {
                    Ok(view.source(next, to, READ_BYTES_MAX))
                }
            });
            let part = match source.map_err(to_io)? {
                Source::None => break,
                Source::Memory(part) => part,
                Source::Disk { segment, span } => {
                    let block = segment.read(span.offset, span.length).map_err(to_io)?;
                    decode(&block, span.first, span.end).ok_or_else(|| {
                        to_io(segment.damaged(span.offset, "a block is not what was written"))
                    })?
                }
            };
            next += part.len() as u64;
            bytes += part.iter().map(view::weight).sum::<usize>();
            entries.extend(part);
        }
        Ok(entries)
    }

    /// Appends that wait for their commit after a turn of the sequencer, and how long the turn took, for the operator.
    pub(crate) fn note_turn(&self, pending: usize, took: Duration) {
        self.metrics.pending.store(pending as u64, Ordering::Relaxed);
        self.metrics.turns.observe(took);
    }

    /// Whether the disk has failed: then nothing is written any more.
    pub(crate) fn has_failed(&self) -> bool {
        self.shared.failed()
    }

    /// Since when the oldest write waits that is not yet durable, on the log's clock.
    pub(crate) fn oldest_write(&self) -> Option<Duration> {
        self.shared.oldest()
    }

    pub(crate) fn vote(&self) -> Option<Bytes> {
        self.shared.view(|view| view.vote.clone())
    }

    /// The last entry purged: index and term.
    pub(crate) fn purged(&self) -> Option<(u64, u64)> {
        self.shared.view(|view| view.purged)
    }

    /// The last entry, if there is one that is not purged: index and term.
    pub(crate) fn last(&self) -> Option<(u64, u64)> {
        self.shared.view(|view| view.last())
    }

    pub(crate) fn recovered(&self) -> &Recovered {
        &self.found
    }

    /// What segments and spares take on disk.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.disk_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn metrics(&self) -> Arc<LogMetrics> {
        Arc::clone(&self.metrics)
    }

    /// Writes what was asked for, lets go of the directory, and returns then. Later calls fail.
    pub(crate) fn close(&self) {
        self.shared.close();
        let writes = self.running.writes.lock().take();
        match writes {
            None => {}
            Some(Writes::Thread(thread)) => thread.join().expect("the log's thread does not panic"),
            Some(Writes::InTurns(turns)) => turns.close(),
        }
    }

    fn ask(&self, bytes: usize, done: Done, change: impl FnOnce(&mut View, u64) -> Step) {
        if let Err((done, error)) = self.shared.ask(bytes, self.clock.now(), done, change) {
            done(Err(to_io(error)));
        }
    }
}

/// The entries `first .. end` of a block, as parts of it.
fn decode(bytes: &Bytes, first: u64, end: u64) -> Option<Vec<LogEntry>> {
    let block = block::decode(bytes)?;
    let places = block.entries()?;
    let base = block.header.first;
    let range =
        usize::try_from(first.checked_sub(base)?).ok()?..usize::try_from(end.checked_sub(base)?).ok()?;
    let body = bytes.slice_ref(block.body);
    let entry = |(index, place): (u64, &block::EntryPlace)| LogEntry {
        index,
        term: place.term,
        kind: place.kind,
        payload: body.slice(place.payload.clone()),
    };
    Some((first..end).zip(places.get(range)?).map(entry).collect())
}

/// What openraft wants to hear: the kind tells what can be done about it.
fn to_io(error: Error) -> io::Error {
    let kind = match error {
        Error::Corrupt(_) => io::ErrorKind::InvalidData,
        Error::Trimmed { .. } => io::ErrorKind::NotFound,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
