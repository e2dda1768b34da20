//! A histogram with fixed buckets that one thread fills and any thread reads.
//!
//! The bounds of etcd's own names are a contract with dashboards, so a histogram is made from a layout. Filling
//! it is a search in a short array and two plain stores: one writer needs no read-modify-write.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::page::{Page, as_f64};

/// The bounds of grpc's handling time, as all Prometheus clients have by default.
pub(crate) const DEFAULT_SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// `first * 2^k` for `count` bounds.
pub(crate) fn doubling(first: f64, count: u16) -> Vec<f64> {
    (0..count).map(|place| first * 2f64.powi(i32::from(place))).collect()
}

/// Counts per bucket, and the sum of what was seen.
pub(crate) struct Histogram {
    bounds: &'static [f64],
    /// One more than bounds: the last has no upper end.
    counts: Box<[AtomicU64]>,
    sum_nanos: AtomicU64,
}

impl Histogram {
    pub(crate) fn new(bounds: &'static [f64]) -> Histogram {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Histogram { bounds, counts, sum_nanos: AtomicU64::new(0) }
    }

    /// Counts one observation. Only one thread may call this.
    pub(crate) fn observe(&self, took: Duration) {
        add(&self.counts[self.place(took)], 1);
        add(&self.sum_nanos, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }
}

impl Histogram {
    /// Counts one observation, from any thread.
    pub(crate) fn observe_shared(&self, took: Duration) {
        self.counts[self.place(took)].fetch_add(1, Relaxed);
        self.sum_nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// How many were seen.
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Relaxed)).sum()
    }

    fn place(&self, took: Duration) -> usize {
        let seconds = took.as_secs_f64();
        self.bounds.iter().position(|bound| seconds <= *bound).unwrap_or(self.bounds.len())
    }
}

/// Adds to a counter that only the calling thread writes.
pub(crate) fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(more), Relaxed);
}

/// Writes the sum of several threads' histograms of one layout.
pub(crate) fn write_sum<'a>(
    page: &mut Page,
    labels: &str,
    histograms: impl Iterator<Item = &'a Histogram> + Clone,
    bounds: &'static [f64],
) {
    let at = |place: usize| histograms.clone().map(|one| one.counts[place].load(Relaxed)).sum::<u64>();
    let bounds = bounds.iter().copied().chain([f64::INFINITY]);
    let buckets = bounds.enumerate().map(|(place, bound)| (bound, at(place)));
    let nanos: u64 = histograms.clone().map(|one| one.sum_nanos.load(Relaxed)).sum();
    page.histogram(labels, buckets, as_f64(nanos) / 1e9);
}

/// Writes a histogram that saw nothing.
pub(crate) fn write_empty(page: &mut Page, labels: &str, bounds: &[f64]) {
    let bounds = bounds.iter().copied().chain([f64::INFINITY]);
    page.histogram(labels, bounds.map(|bound| (bound, 0)), 0.0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::page::Kind;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let histogram = Histogram::new(DEFAULT_SECONDS);
        histogram.observe(Duration::from_millis(5));
        histogram.observe(Duration::from_millis(6));
        histogram.observe(Duration::from_secs(11));
        let mut page = Page::default();
        page.family("x", Kind::Histogram, "x");
        write_sum(&mut page, "", [&histogram].into_iter(), DEFAULT_SECONDS);
        let text = page.text();
        assert!(text.contains("x_bucket{le=\"0.005\"} 1\nx_bucket{le=\"0.01\"} 2\n"), "{text}");
        assert!(
            text.contains("x_bucket{le=\"10\"} 2\nx_bucket{le=\"+Inf\"} 3\nx_sum 11.011\nx_count 3\n"),
            "{text}"
        );
    }

    #[test]
    fn bounds_double_as_etcd_writes_them() {
        let bounds: Vec<String> = doubling(0.001, 14).iter().map(f64::to_string).collect();
        assert_eq!(
            bounds.join(" "),
            "0.001 0.002 0.004 0.008 0.016 0.032 0.064 0.128 0.256 0.512 1.024 2.048 4.096 8.192"
        );
    }
}
