//! When an operation may begin, and when there are no more.
//!
//! With a rate, every operation has a moment at which it is due, whatever the store does. If no client is free by
//! then, the wait is part of its latency: a store that stands still for a second is not shown as one slow answer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Shared by all clients.
#[derive(Debug)]
pub(super) struct Pace {
    started: Instant,
    /// From one operation to the next, if there is a rate.
    interval: Option<Duration>,
    duration: Option<Duration>,
    total: Option<u64>,
    begun: AtomicU64,
}

/// The right to begin one operation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticket {
    pub(super) number: u64,
    /// What its latency is counted from.
    pub(super) since: Instant,
}

impl Pace {
    pub(super) fn new(rate: u32, duration: Option<Duration>, total: Option<u64>) -> Self {
        Self {
            started: Instant::now(),
            interval: (rate > 0).then(|| Duration::from_secs(1) / rate),
            duration,
            total,
            begun: AtomicU64::new(0),
        }
    }

    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// Waits for the moment at which the next operation is due; `None` is the end.
    pub(super) async fn ticket(&self) -> Option<Ticket> {
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        let due = self.interval.map_or(now, |interval| self.started + interval.mul_f64(number as f64));
        let late = self.duration.is_some_and(|duration| due.max(now) >= self.started + duration);
        if late || self.total.is_some_and(|total| number >= total) {
            return None;
        }
        if due <= now {
            return Some(Ticket { number, since: due });
        }
        // The timer wakes up to a millisecond late: that is ours, not the store's.
        tokio::time::sleep_until(due.into()).await;
        Some(Ticket { number, since: Instant::now() })
    }

    /// How much has been done, in thousandths.
    pub(super) fn progress(&self) -> u64 {
        let part =
            |done: u128, all: u128| u64::try_from((done * 1000 / all.max(1)).min(1000)).expect("small");
        let time = self.duration.map_or(0, |all| part(self.started.elapsed().as_nanos(), all.as_nanos()));
        let operations =
            self.total.map_or(0, |all| part(self.begun.load(Ordering::Relaxed).into(), all.into()));
        time.max(operations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_total_ends_it() {
        let pace = Pace::new(0, None, Some(2));
        assert_eq!(pace.ticket().await.map(|ticket| ticket.number), Some(0));
        assert_eq!(pace.ticket().await.map(|ticket| ticket.number), Some(1));
        assert!(pace.ticket().await.is_none());
        assert_eq!(pace.progress(), 1000);
    }

    #[tokio::test]
    async fn what_is_due_after_the_end_never_begins() {
        // The second one is due in a second, and everything ends before.
        let pace = Pace::new(1, Some(Duration::from_millis(900)), None);
        assert!(pace.ticket().await.is_some());
        assert!(pace.ticket().await.is_none());
    }

    #[tokio::test]
    async fn an_operation_that_waited_for_a_client_has_waited() {
        let pace = Pace { started: Instant::now() - Duration::from_secs(5), ..Pace::new(10, None, None) };
        let ticket = pace.ticket().await.expect("no end was set");
        assert_eq!(ticket.since, pace.started(), "it was due five seconds ago");
    }
}
