//! What etcd counts of a server's own doings, where nobody else here counts it.
//!
//! Watches, leases and failures are rare beside requests, so all threads share these counters. Requests are counted
//! thread by thread in `rpc`, keys in the memstores.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::histogram::{Histogram, doubling, write_sum};
use super::page::{Kind, Page, as_f64};

/// etcd's bounds of a lease's time: 1 s to about 97 days.
const TTL_BOUNDS: u16 = 24;

/// The counters.
pub(crate) struct Activity {
    pub(crate) watch_streams: AtomicU64,
    pub(crate) watchers: AtomicU64,
    pub(crate) events: AtomicU64,
    pub(crate) leases_revoked: AtomicU64,
    pub(crate) leases_renewed: AtomicU64,
    pub(crate) leases_expired: AtomicU64,
    /// Writes that were not made, or of which nobody knows.
    pub(crate) proposals_failed: AtomicU64,
    pub(crate) barriers_failed: AtomicU64,
    pub(crate) barriers_slow: AtomicU64,
    ttls: Histogram,
}

impl Default for Activity {
    fn default() -> Activity {
        let zero = || AtomicU64::new(0);
        Activity {
            watch_streams: zero(),
            watchers: zero(),
            events: zero(),
            leases_revoked: zero(),
            leases_renewed: zero(),
            leases_expired: zero(),
            proposals_failed: zero(),
            barriers_failed: zero(),
            barriers_slow: zero(),
            ttls: Histogram::new(ttl_bounds()),
        }
    }
}

/// One more.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// One less.
pub(crate) fn uncount(counter: &AtomicU64) {
    counter.fetch_sub(1, Relaxed);
}

fn ttl_bounds() -> &'static [f64] {
    static BOUNDS: std::sync::OnceLock<Vec<f64>> = std::sync::OnceLock::new();
    BOUNDS.get_or_init(|| doubling(1.0, TTL_BOUNDS))
}

impl Activity {
    pub(crate) fn granted(&self, ttl_seconds: i64) {
        self.ttls.observe_shared(Duration::from_secs(ttl_seconds.max(0).unsigned_abs()));
    }

    pub(crate) fn write(&self, page: &mut Page) {
        let value = |counter: &AtomicU64| as_f64(counter.load(Relaxed));
        let gauges = [
            ("etcd_debugging_mvcc_watch_stream_total", "Watch streams that are open.", &self.watch_streams),
            ("etcd_debugging_mvcc_watcher_total", "Watchers, whether up to date or not.", &self.watchers),
        ];
        for (name, help, counter) in gauges {
            page.gauge(name, help, value(counter));
        }
        let granted = as_f64(self.ttls.count());
        page.counter("etcd_debugging_lease_granted_total", "Leases granted.", granted);
        let counters = [
            ("etcd_debugging_lease_revoked_total", "Leases ended, by whomever.", &self.leases_revoked),
            ("etcd_debugging_lease_renewed_total", "Keep-alives answered.", &self.leases_renewed),
            (
                "etcd_debugging_server_lease_expired_total",
                "Leases whose time was over.",
                &self.leases_expired,
            ),
            ("etcd_debugging_mvcc_events_total", "Events sent to watchers.", &self.events),
            ("etcd_server_proposals_failed_total", "Writes refused or lost.", &self.proposals_failed),
            ("etcd_server_read_indexes_failed_total", "Barriers that failed.", &self.barriers_failed),
            ("etcd_server_slow_read_indexes_total", "Barriers that took long.", &self.barriers_slow),
        ];
        for (name, help, counter) in counters {
            page.counter(name, help, value(counter));
        }
        page.family(
            "etcd_debugging_lease_ttl_total",
            Kind::Histogram,
            "The time that leases were granted for.",
        );
        write_sum(page, "", [&self.ttls].into_iter(), ttl_bounds());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_are_counted_by_their_time() {
        let activity = Activity::default();
        activity.granted(60);
        activity.granted(9_000_000_000);
        count(&activity.watchers);
        let mut page = Page::default();
        activity.write(&mut page);
        let text = page.text();
        for line in [
            "etcd_debugging_lease_granted_total 2",
            "etcd_debugging_lease_ttl_total_bucket{le=\"32\"} 0",
            "etcd_debugging_lease_ttl_total_bucket{le=\"64\"} 1",
            "etcd_debugging_lease_ttl_total_bucket{le=\"8388608\"} 1",
            "etcd_debugging_lease_ttl_total_count 2",
            "etcd_debugging_mvcc_watcher_total 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
        }
    }
}
