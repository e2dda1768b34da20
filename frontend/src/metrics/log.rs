//! What the journal's log counts, under the names of etcd's write-ahead log: both are what a write waits for.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use journal::{Histogram, LogMetrics};
use memstore::ApplyMetrics;

use super::Source;
use super::page::{Kind, Page, as_f64};

/// Bounds of etcd's histogram, which dashboards know: 1 ms to 8 s.
const ETCDS_BOUNDS: i32 = 14;
/// A fast disk is below all of them, so ours begin at 1/32 ms.
const FINER_BOUNDS: i32 = 5;

/// Writes the log's figures.
pub(crate) fn source(log: Arc<LogMetrics>) -> Source {
    Box::new(move |page| write(page, &log))
}

/// Writes the figures of what memstores apply, which is etcd's commit to its backend: what readers wait for.
pub(crate) fn applied(metrics: Arc<ApplyMetrics>) -> Source {
    Box::new(move |page| {
        let help = "How long the memstores took to apply what was committed together.";
        page.family("etcd_disk_backend_commit_duration_seconds", Kind::Histogram, help);
        histogram(page, &metrics.took, 0);
        let slow = as_f64(metrics.slow.load(Relaxed));
        page.counter("etcd_server_slow_apply_total", "Applies longer than --warning-apply-duration.", slow);
        let help = "How long the thread that applies did one thing before it did another.";
        page.family("mainstem_memstore_pause_seconds", Kind::Histogram, help);
        histogram(page, &metrics.pauses.took, FINER_BOUNDS);
        let longest = metrics.pauses.longest().as_secs_f64();
        page.gauge(
            "mainstem_memstore_longest_pause_seconds",
            "The longest of these since the start.",
            longest,
        );
    })
}

fn write(page: &mut Page, log: &LogMetrics) {
    let help = "How long writes of the journal waited for the disk.";
    page.family("etcd_disk_wal_fsync_duration_seconds", Kind::Histogram, help);
    histogram(page, &log.syncs, 0);
    page.family(
        "etcd_disk_wal_write_duration_seconds",
        Kind::Histogram,
        "The same: writing and syncing are one call.",
    );
    histogram(page, &log.syncs, 0);
    page.family("mainstem_journal_sync_duration_seconds", Kind::Histogram, "The same, with finer buckets.");
    histogram(page, &log.syncs, FINER_BOUNDS);
    page.family(
        "mainstem_journal_sequencer_turn_duration_seconds",
        Kind::Histogram,
        "How long the journal's leader was busy with one event and all that follows from it.",
    );
    histogram(page, &log.turns, FINER_BOUNDS);
    let help = "Time for which a task kept the journal's thread from doing anything else, in seconds.";
    page.family("mainstem_journal_pause_seconds", Kind::Histogram, help);
    histogram(page, &log.pauses.took, FINER_BOUNDS);
    page.gauge(
        "mainstem_journal_longest_pause_seconds",
        "Longest of these pauses since the start of the process, in seconds.",
        log.pauses.longest().as_secs_f64(),
    );
    // A gauge in etcd, whatever its name says.
    let bytes = as_f64(log.written_bytes.load(Relaxed));
    page.gauge("etcd_disk_wal_write_bytes_total", "Bytes written to the journal.", bytes);
    let pending = as_f64(log.pending.load(Relaxed));
    page.gauge("etcd_server_proposals_pending", "Appends that wait to be committed.", pending);
}

fn histogram(page: &mut Page, seen: &Histogram, finer: i32) {
    let bounds = (-finer..ETCDS_BOUNDS).map(|power| Duration::from_millis(1).mul_f64(2f64.powi(power)));
    let mut below = 0;
    let finite = bounds.map(|bound| {
        let upto = seen.at_most(bound);
        let here = upto - below;
        below = upto;
        (bound.as_secs_f64(), here)
    });
    let finite: Vec<(f64, u64)> = finite.collect();
    // Read last, so that no observation in between makes it smaller than what it sums.
    let beyond = seen.count().saturating_sub(below);
    page.histogram("", finite.into_iter().chain([(f64::INFINITY, beyond)]), seen.sum().as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_are_etcds_and_ours_are_finer() {
        let mut page = Page::default();
        source(Arc::default())(&mut page);
        let text = page.text();
        let bounds = |name: &str| -> Vec<String> {
            let lines =
                text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix("_bucket{le=\""));
            lines.map(|line| line.split('"').next().expect("a bound").to_owned()).collect()
        };
        let etcds = bounds("etcd_disk_wal_fsync_duration_seconds").join(" ");
        let expected =
            "0.001 0.002 0.004 0.008 0.016 0.032 0.064 0.128 0.256 0.512 1.024 2.048 4.096 8.192 +Inf";
        assert_eq!(etcds, expected);
        assert_eq!(bounds("mainstem_journal_sync_duration_seconds").len(), 20);
    }
}
