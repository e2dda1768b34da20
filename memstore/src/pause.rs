//! How long the memstore's thread does one thing before it does another.
//!
//!     ──[ apply ][ a step of a compaction ][ apply ][ look for what is due ]──►        a pause is one poll of a task
//!
//! Whoever waits there waits for as long as the longest pause at the most. So work that grows with the keys, or with one
//! record, goes in bounded steps with others in between, or to another thread. Every task of the thread is measured.

use std::pin::Pin;
use std::sync::Arc;
#[cfg(test)]
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use journal::{Clock, Entry, Write};

use crate::metrics::ApplyMetrics;

/// Writes that are applied before others have their turn. As many as a batch has where writes are small.
pub(crate) const STEP_WRITES: usize = 1_024;
/// A larger write counts as several.
const WRITE_BYTES: usize = 4_096;

/// Measures tasks. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Pauses {
    metrics: Arc<ApplyMetrics>,
    clock: Arc<dyn Clock>,
}

impl Pauses {
    pub(crate) fn new(metrics: Arc<ApplyMetrics>, clock: Arc<dyn Clock>) -> Pauses {
        Pauses { metrics, clock }
    }

    /// The same task, of which every poll is measured.
    pub(crate) fn measured<F: Future>(&self, task: F) -> Measured<F> {
        Measured { task: Box::pin(task), pauses: self.clone() }
    }
}

/// A task that is measured.
pub(crate) struct Measured<F> {
    task: Pin<Box<F>>,
    pauses: Pauses,
}

impl<F: Future> Future for Measured<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let began = self.pauses.clock.now();
        #[cfg(test)]
        work::begin();
        let polled = self.task.as_mut().poll(context);
        #[cfg(test)]
        self.pauses.metrics.most_work.fetch_max(work::done(), Relaxed);
        self.pauses.metrics.pauses.observe(self.pauses.clock.now().saturating_sub(began));
        polled
    }
}

/// Gives others their turn after so many writes.
#[derive(Default)]
pub(crate) struct Turns {
    writes: usize,
}

impl Turns {
    /// These were applied.
    pub(crate) async fn took(&mut self, writes: usize) {
        self.writes += writes;
        if STEP_WRITES <= self.writes {
            self.writes = 0;
            tokio::task::yield_now().await;
        }
    }
}

/// How many writes an entry has. Large ones count as several.
pub(crate) fn writes(entry: &Entry) -> usize {
    let records = entry.batch.iter().flat_map(|batch| &batch.records);
    records.flat_map(|record| &record.writes).map(weight).sum()
}

/// As how many writes it counts: its bytes are copied.
pub(crate) fn weight(write: &Write) -> usize {
    match write {
        Write::Put { key, value, .. } => 1 + (key.len() + value.len()) / WRITE_BYTES,
        Write::Delete { .. } => 1,
    }
}

/// What a thread has worked on since its task was polled: versions, whatever was done to each. Time would depend on the
/// machine that tests run on.
#[cfg(test)]
pub(crate) mod work {
    use std::cell::Cell;

    thread_local! {
        static DONE: Cell<u64> = const { Cell::new(0) };
    }

    pub(super) fn begin() {
        DONE.set(0);
    }

    pub(super) fn done() -> u64 {
        DONE.get()
    }

    pub(crate) fn did(versions: usize) {
        DONE.set(DONE.get() + u64::try_from(versions).expect("a length fits 64 bits"));
    }
}

/// Counts work where tests look how much is done at once.
#[cfg(not(test))]
pub(crate) mod work {
    #[inline(always)]
    pub(crate) fn did(_: usize) {}
}
