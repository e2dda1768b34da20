//! Where the store takes its time from, so that a test can turn it by hand and a run can be replayed.
//!
//! Two clocks that never meet: monotonic time, which leases and timers rest on, and the wall clock, which is
//! only written down for whoever restores to a time of day.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::watch;

/// A wait that ends at its moment.
pub type Wait = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The time of one process.
pub trait Clock: Send + Sync + 'static {
    /// Monotonic time since some moment before the process's first question.
    fn now(&self) -> Duration;

    /// Milliseconds since the Unix epoch. May jump; nothing may be decided by it.
    fn wall_clock_ms(&self) -> u64;

    /// Waits until `now() >= moment`.
    fn until(&self, moment: Duration) -> Wait;
}

/// The machine's clocks. Under tokio's paused time it is paused, too.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: tokio::time::Instant,
}

#[expect(clippy::disallowed_methods, reason = "this is where the time comes from")]
impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock { start: tokio::time::Instant::now() }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is where the time comes from")]
impl Clock for SystemClock {
    fn now(&self) -> Duration {
        tokio::time::Instant::now().duration_since(self.start)
    }

    fn wall_clock_ms(&self) -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn until(&self, moment: Duration) -> Wait {
        // A moment beyond what the timer can hold is a wait without end, in steps nobody notices.
        let moment = moment.min(self.now() + Duration::from_secs(86_400));
        Box::pin(tokio::time::sleep_until(self.start + moment))
    }
}

/// A clock that stands still until somebody turns it.
#[derive(Clone, Debug)]
pub struct ManualClock {
    now: watch::Sender<Duration>,
}

impl Default for ManualClock {
    fn default() -> ManualClock {
        ManualClock { now: watch::Sender::new(Duration::ZERO) }
    }
}

impl ManualClock {
    /// Lets time pass, for every clone of this clock.
    pub fn advance(&self, by: Duration) {
        self.now.send_modify(|now| *now += by);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Duration {
        *self.now.borrow()
    }

    fn wall_clock_ms(&self) -> u64 {
        u64::try_from(self.now().as_millis()).unwrap_or(u64::MAX)
    }

    fn until(&self, moment: Duration) -> Wait {
        let mut now = self.now.subscribe();
        Box::pin(async move {
            let reached = now.wait_for(|now| moment <= *now).await.is_ok();
            if !reached {
                // The clock is gone: its time never comes.
                std::future::pending::<()>().await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_manual_clock_wakes_whoever_waits_for_its_moment() {
        let clock = ManualClock::default();
        let alarm = tokio::spawn(clock.until(Duration::from_secs(5)));
        clock.advance(Duration::from_secs(4));
        tokio::task::yield_now().await;
        assert!(!alarm.is_finished());
        clock.advance(Duration::from_secs(1));
        alarm.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_system_clock_follows_paused_time() {
        let clock = SystemClock::default();
        clock.until(Duration::from_secs(5)).await;
        assert!(clock.now() >= Duration::from_secs(5));
    }
}
