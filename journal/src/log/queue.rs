//! Steps that wait for the log's thread, beside what can already be read of them.
//!
//! Both are under one lock, so that steps are written in the order in which they became visible.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use super::Done;
use super::view::{Ticket, View};
use super::writer::{Step, Written};
use crate::error::Error;
use crate::segment::Segment;

/// Steps that wait. When full, the next append waits for the disk, without the thread that it runs on.
pub(super) const ITEMS_MAX: usize = 4_096;
/// Bytes that wait. One step may be larger, alone.
const BYTES_MAX: usize = 256 << 20;
/// Part of either, in percent, from which on a leader proposes nothing more. A majority commits without the leader's
/// disk: Raft itself would go on until the queue is full, and then could not hand its leadership over.
const BEHIND_PERCENT: usize = 25;

/// A step and whom to tell.
pub(super) struct Queued {
    pub(super) ticket: Ticket,
    pub(super) step: Step,
    pub(super) done: Done,
}

/// What callers and the thread share.
pub(super) struct Shared {
    inner: Mutex<Inner>,
    work: Condvar,
    /// The same, for a worker that has no thread.
    turn: Notify,
    /// Something was taken from the queue.
    taken: Notify,
    items_max: usize,
    committed_end: AtomicU64,
}

struct Inner {
    view: View,
    queue: Vec<Queued>,
    queue_bytes: usize,
    tickets: Ticket,
    /// Since when the first of `queue` waits, and since when the first of what the thread has taken.
    waits_since: Option<Duration>,
    written_since: Option<Duration>,
    closed: bool,
    /// The first error: the log has stopped.
    error: Option<Error>,
}

impl Shared {
    pub(super) fn new(view: View, items_max: usize) -> Shared {
        let inner = Inner {
            view,
            queue: Vec::new(),
            queue_bytes: 0,
            tickets: 0,
            waits_since: None,
            written_since: None,
            closed: false,
            error: None,
        };
        Shared {
            inner: Mutex::new(inner),
            work: Condvar::new(),
            turn: Notify::new(),
            taken: Notify::new(),
            items_max,
            committed_end: AtomicU64::new(0),
        }
    }

    /// Lets `change` become visible and queues its step. On a log that has failed nothing changes any more, and the
    /// thread says so to `done` in its turn; on a closed one there is no thread.
    pub(super) fn ask(
        &self,
        bytes: usize,
        now: Duration,
        done: Done,
        change: impl FnOnce(&mut View, Ticket) -> Step,
    ) -> Result<(), (Done, Error)> {
        let mut inner = self.inner.lock();
        if inner.closed {
            return Err((done, Error::Closed));
        }
        inner.tickets += 1;
        let ticket = inner.tickets;
        let step = if inner.error.is_none() { change(&mut inner.view, ticket) } else { Step::Nothing };
        inner.queue.push(Queued { ticket, step, done });
        inner.queue_bytes += bytes;
        inner.waits_since.get_or_insert(now);
        drop(inner);
        self.work.notify_one();
        self.turn.notify_one();
        Ok(())
    }

    /// Waits until an append of so many bytes fits, or the log was closed.
    pub(super) async fn room(&self, bytes: usize) {
        let fits = |inner: &Inner| {
            let full = self.items_max <= inner.queue.len() || BYTES_MAX < inner.queue_bytes + bytes;
            !full || inner.queue.is_empty()
        };
        self.wait(fits).await;
    }

    pub(super) fn is_behind(&self) -> bool {
        self.lags(&self.inner.lock())
    }

    pub(super) async fn catches_up(&self) {
        self.wait(|inner| !self.lags(inner)).await;
    }

    fn lags(&self, inner: &Inner) -> bool {
        let part = |max: usize| max / 100 * BEHIND_PERCENT;
        let is_long = self.items_max * BEHIND_PERCENT <= inner.queue.len() * 100;
        (is_long || part(BYTES_MAX) <= inner.queue_bytes) && !inner.closed
    }

    async fn wait(&self, is_met: impl Fn(&Inner) -> bool) {
        loop {
            let mut taken = std::pin::pin!(self.taken.notified());
            taken.as_mut().enable();
            {
                let inner = self.inner.lock();
                if inner.closed || is_met(&inner) {
                    return;
                }
            }
            taken.await;
        }
    }

    /// Waits for work without taking it; `false` when the log was closed.
    pub(super) async fn work_comes(&self) -> bool {
        loop {
            {
                let inner = self.inner.lock();
                if inner.closed || !inner.queue.is_empty() {
                    return !inner.closed;
                }
            }
            self.turn.notified().await;
        }
    }

    /// Waits for work and takes all of it; `None` when the log was closed and everything was taken.
    pub(super) fn take(&self) -> Option<Vec<Queued>> {
        let mut inner = self.inner.lock();
        self.work.wait_while(&mut inner, |inner| inner.queue.is_empty() && !inner.closed);
        inner.queue_bytes = 0;
        inner.written_since = inner.waits_since.take();
        let batch = std::mem::take(&mut inner.queue);
        drop(inner);
        self.taken.notify_waiters();
        (!batch.is_empty()).then_some(batch)
    }

    pub(super) fn publish(&self, written: Written, ticket: Ticket) -> Vec<Arc<Segment>> {
        let mut inner = self.inner.lock();
        inner.written_since = None;
        inner.view.publish(written, ticket)
    }

    /// Since when the oldest step waits that is not yet durable.
    pub(super) fn oldest(&self) -> Option<Duration> {
        let inner = self.inner.lock();
        inner.written_since.or(inner.waits_since)
    }

    pub(super) fn view<T>(&self, look: impl FnOnce(&View) -> T) -> T {
        look(&self.inner.lock().view)
    }

    pub(super) fn last_ticket(&self) -> Ticket {
        self.inner.lock().tickets
    }

    /// Stops the log for ever.
    pub(super) fn fail(&self, error: Error) {
        tracing::error!(%error, "the journal has stopped");
        self.inner.lock().error.get_or_insert(error);
    }

    pub(super) fn error(&self) -> Option<Error> {
        self.inner.lock().error.clone()
    }

    pub(super) fn failed(&self) -> bool {
        self.inner.lock().error.is_some()
    }

    pub(super) fn note_committed(&self, end: u64) {
        self.committed_end.fetch_max(end, Ordering::Relaxed);
    }

    pub(super) fn committed_end(&self) -> u64 {
        self.committed_end.load(Ordering::Relaxed)
    }

    pub(super) fn close(&self) {
        self.inner.lock().closed = true;
        self.work.notify_all();
        self.turn.notify_one();
        self.taken.notify_waiters();
    }
}
