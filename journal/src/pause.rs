//! How long the journal's thread does one thing before it does another.
//!
//!     ──[ Raft ][ a turn of the sequencer ][ a reader's part of the tail ][ Raft ]──►     a pause is one poll of a task
//!
//! Heartbeats and votes go through this thread, so a long pause looks to other nodes like a death. Work that grows with
//! one append goes in steps, or to another thread.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::machine;
use crate::metrics::LogMetrics;

thread_local! {
    static METER: RefCell<Option<Meter>> = const { RefCell::new(None) };
}

#[derive(Clone)]
struct Meter {
    metrics: Arc<LogMetrics>,
    clock: Arc<dyn Clock>,
}

/// Measures tasks that begin on this thread from here on. On a simulated machine time does not pass in a poll.
pub(crate) fn measure(metrics: Arc<LogMetrics>, clock: Arc<dyn Clock>) {
    if !machine::is_simulated() {
        METER.set(Some(Meter { metrics, clock }));
    }
}

/// Runs a task beside the others of this thread, and measures it where they are.
pub(crate) fn spawn<F>(task: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(measured(task))
}

/// Returns the same task, of which every poll is measured where it begins on a journal's thread.
fn measured<F: Future>(task: F) -> Measured<F> {
    Measured { task: Box::pin(task), meter: METER.with_borrow(Clone::clone) }
}

/// A task that may be measured.
struct Measured<F> {
    task: Pin<Box<F>>,
    meter: Option<Meter>,
}

impl<F: Future> Future for Measured<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Some(Meter { clock, .. }) = &self.meter else { return self.task.as_mut().poll(context) };
        let began = clock.now();
        let polled = self.task.as_mut().poll(context);
        if let Some(Meter { metrics, clock }) = &self.meter {
            metrics.pauses.observe(clock.now().saturating_sub(began));
        }
        polled
    }
}
