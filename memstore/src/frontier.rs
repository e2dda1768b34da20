//! How far a partition has applied the journal, and waiting for it to get there.
//!
//!      applied       not yet
//!     [ 1  2  3  4 )[ 5  6  7 )
//!                     ^        ^
//!                  frontier   tail          caught up when frontier == tail
//!
//! Reading it is two atomic loads. Whoever waits lies in a heap under its position, so an advance looks at
//! those that are due and at nobody else; without any it is two stores and a load.
//!
//! Invariant: a frontier only moves forward, and only after the store has changed.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use journal::{Lsn, Revision};
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// What a partition has applied: everything up to and including `lsn`, and so every change up to `revision`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    pub lsn: Lsn,
    pub revision: Revision,
}

/// Nobody waits.
const NOBODY: u64 = u64::MAX;
/// Below this many waiters, those that gave up are not looked for.
const SWEEP_MIN: usize = 64;

/// The position of one partition. One follower advances it; any number of readers look and wait.
pub(crate) struct Frontier {
    lsn: AtomicU64,
    revision: AtomicU64,
    /// The smallest position that somebody waits for.
    due: AtomicU64,
    closed: AtomicBool,
    waiters: Mutex<Waiters>,
}

#[derive(Default)]
struct Waiters {
    /// As many as requests that wait; each of those has a deadline. Those that gave up are swept out whenever
    /// the heap has doubled.
    heap: BinaryHeap<Waiter>,
    sweep_at: usize,
}

struct Waiter {
    lsn: Lsn,
    reply: oneshot::Sender<Applied>,
}

impl Frontier {
    pub(crate) fn new(applied: Applied) -> Frontier {
        Frontier {
            lsn: AtomicU64::new(applied.lsn.0),
            revision: AtomicU64::new(applied.revision.0),
            due: AtomicU64::new(NOBODY),
            closed: AtomicBool::new(false),
            waiters: Mutex::default(),
        }
    }

    /// The last applied position. The revision may already be that of a position behind it, never one before.
    pub(crate) fn applied(&self) -> Applied {
        // In this order, and the writer in the other: the revision is at least the one at `lsn`.
        let lsn = Lsn(self.lsn.load(SeqCst));
        Applied { lsn, revision: Revision(self.revision.load(SeqCst)) }
    }

    /// Waits until everything up to and including `lsn` is applied. `None` once the frontier is closed.
    pub(crate) async fn wait(&self, lsn: Lsn) -> Option<Applied> {
        if let Some(applied) = self.reached(lsn) {
            return Some(applied);
        }
        let due = self.enter(lsn)?;
        due.await.ok()
    }

    /// Moves forward, after the store has.
    pub(crate) fn advance(&self, applied: Applied) {
        debug_assert!(self.applied().lsn <= applied.lsn, "a frontier only moves forward");
        self.revision.store(applied.revision.0, SeqCst);
        self.lsn.store(applied.lsn.0, SeqCst);
        if self.due.load(SeqCst) <= applied.lsn.0 {
            self.wake(applied);
        }
    }

    /// Nothing will be applied any more: whoever waits learns it.
    pub(crate) fn close(&self) {
        self.closed.store(true, SeqCst);
        let mut waiters = self.waiters.lock();
        waiters.heap.clear();
        self.due.store(NOBODY, SeqCst);
    }

    /// How many wait for this position, and have not given up.
    #[cfg(test)]
    pub(crate) fn waiting_for(&self, lsn: Lsn) -> usize {
        let waiters = self.waiters.lock();
        waiters.heap.iter().filter(|waiter| waiter.lsn == lsn && !waiter.reply.is_closed()).count()
    }

    fn reached(&self, lsn: Lsn) -> Option<Applied> {
        let applied = self.applied();
        (lsn <= applied.lsn).then_some(applied)
    }

    fn enter(&self, lsn: Lsn) -> Option<oneshot::Receiver<Applied>> {
        let (reply, due) = oneshot::channel();
        let mut waiters = self.waiters.lock();
        waiters.sweep();
        waiters.heap.push(Waiter { lsn, reply });
        self.due.store(waiters.due(), SeqCst);
        // The advance that made it true may have looked at `due` before it was stored.
        if let Some(applied) = self.reached(lsn) {
            self.wake_locked(&mut waiters, applied);
        }
        (!self.closed.load(SeqCst)).then_some(due)
    }

    fn wake(&self, applied: Applied) {
        self.wake_locked(&mut self.waiters.lock(), applied);
    }

    fn wake_locked(&self, waiters: &mut Waiters, applied: Applied) {
        while waiters.heap.peek().is_some_and(|waiter| waiter.lsn <= applied.lsn) {
            let waiter = waiters.heap.pop().expect("it was just looked at");
            // One that gave up meanwhile needs no answer.
            let _ = waiter.reply.send(applied);
        }
        self.due.store(waiters.due(), SeqCst);
    }
}

impl Waiters {
    fn due(&self) -> u64 {
        self.heap.peek().map_or(NOBODY, |waiter| waiter.lsn.0)
    }

    fn sweep(&mut self) {
        if self.heap.len() >= self.sweep_at.max(SWEEP_MIN) {
            self.heap.retain(|waiter| !waiter.reply.is_closed());
            self.sweep_at = self.heap.len() * 2;
        }
    }
}

impl Ord for Waiter {
    /// The smallest position is the greatest waiter: the heap yields the greatest first.
    fn cmp(&self, other: &Waiter) -> Ordering {
        other.lsn.cmp(&self.lsn)
    }
}

impl PartialOrd for Waiter {
    fn partial_cmp(&self, other: &Waiter) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiter {
    fn eq(&self, other: &Waiter) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Waiter {}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn at(lsn: u64) -> Applied {
        Applied { lsn: Lsn(lsn), revision: Revision(lsn + 100) }
    }

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_position_that_is_applied_needs_no_wait() {
        let frontier = Frontier::new(at(4));
        assert_eq!(poll(pin!(frontier.wait(Lsn(4)))), Poll::Ready(Some(at(4))));
    }

    #[test]
    fn only_those_that_are_due_are_woken() {
        let frontier = Frontier::new(at(4));
        let mut near = pin!(frontier.wait(Lsn(5)));
        let mut far = pin!(frontier.wait(Lsn(7)));
        assert!(poll(far.as_mut()).is_pending());
        assert!(poll(near.as_mut()).is_pending());
        frontier.advance(at(6));
        assert_eq!(frontier.waiters.lock().heap.len(), 1);
        assert_eq!(poll(near), Poll::Ready(Some(at(6))));
        assert!(poll(far.as_mut()).is_pending());
        frontier.advance(at(7));
        assert_eq!(poll(far), Poll::Ready(Some(at(7))));
    }

    #[test]
    fn who_enters_when_the_position_was_just_applied_does_not_wait() {
        let frontier = Frontier::new(at(4));
        let due = frontier.enter(Lsn(4)).expect("it is open");
        assert_eq!(poll(pin!(due)), Poll::Ready(Ok(at(4))));
    }

    #[test]
    fn closing_answers_everyone() {
        let frontier = Frontier::new(at(4));
        let mut waiting = pin!(frontier.wait(Lsn(5)));
        assert!(poll(waiting.as_mut()).is_pending());
        frontier.close();
        assert_eq!(poll(waiting), Poll::Ready(None));
        assert_eq!(poll(pin!(frontier.wait(Lsn(6)))), Poll::Ready(None));
        assert_eq!(poll(pin!(frontier.wait(Lsn(4)))), Poll::Ready(Some(at(4))), "reads of the past go on");
    }

    #[test]
    fn waiters_that_gave_up_do_not_pile_up() {
        let frontier = Frontier::new(at(0));
        for lsn in 1..=10_000 {
            let mut given_up = Box::pin(frontier.wait(Lsn(lsn)));
            assert!(poll(given_up.as_mut()).is_pending());
        }
        assert!(frontier.waiters.lock().heap.len() <= SWEEP_MIN);
    }

    #[test]
    fn no_wake_up_is_lost_between_threads() {
        let frontier = Frontier::new(at(0));
        let rounds = 20_000;
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
                    runtime.block_on(async {
                        for lsn in 1..=rounds {
                            let applied = frontier.wait(Lsn(lsn)).await.expect("it is open");
                            assert!(Lsn(lsn) <= applied.lsn && applied.lsn.0 + 100 <= applied.revision.0);
                        }
                    });
                });
            }
            scope.spawn(|| (1..=rounds).for_each(|lsn| frontier.advance(at(lsn))));
        });
    }
}
