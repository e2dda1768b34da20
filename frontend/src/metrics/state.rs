//! What the memstores hold and have done, under the names of etcd's database.

use memstore::Stats;

use super::Source;
use super::page::{Page, as_f64};

/// Writes the memstores' figures.
pub(crate) fn source(stats: impl Fn() -> Stats + Send + Sync + 'static) -> Source {
    Box::new(move |page| write(page, stats()))
}

fn write(page: &mut Page, stats: Stats) {
    let stats = stats.total;
    let gauges = [
        ("etcd_mvcc_db_total_size_in_bytes", "Bytes accounted for: every kept version.", stats.bytes_total),
        ("etcd_mvcc_db_total_size_in_use_in_bytes", "Of these, bytes in use.", stats.bytes_in_use),
        ("etcd_debugging_mvcc_keys_total", "Keys that are there now.", stats.keys),
        (
            "etcd_debugging_mvcc_slow_watcher_total",
            "Watchers that are served from history, once for each partition.",
            stats.slow_watchers,
        ),
        ("etcd_debugging_mvcc_total_put_size_in_bytes", "Bytes of what was put.", stats.put_bytes),
    ];
    for (name, help, value) in gauges {
        page.gauge(name, help, as_f64(value));
    }
    let counters = [
        ("etcd_mvcc_put_total", "Keys put.", stats.puts),
        ("etcd_mvcc_delete_total", "Keys deleted.", stats.deletes),
        ("etcd_debugging_mvcc_db_compaction_keys_total", "Versions freed by compaction.", stats.freed),
    ];
    for (name, help, value) in counters {
        page.counter(name, help, as_f64(value));
    }
}
