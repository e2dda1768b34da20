//! What the memstores hold, under the names of etcd's database.

use memstore::Memstore;

use super::Source;
use super::page::{Page, as_f64};

/// Writes the memstores' figures.
pub(crate) fn source(memstore: Memstore) -> Source {
    Box::new(move |page| write(page, &memstore))
}

fn write(page: &mut Page, memstore: &Memstore) {
    let stats = memstore.stats().total;
    let gauges = [
        ("etcd_mvcc_db_total_size_in_bytes", "Bytes accounted for: every kept version.", stats.bytes_total),
        ("etcd_mvcc_db_total_size_in_use_in_bytes", "Of these, bytes in use.", stats.bytes_in_use),
        ("etcd_debugging_mvcc_keys_total", "Keys that are there now.", stats.keys),
        ("etcd_debugging_mvcc_watcher_total", "Watchers that are up to date.", stats.watchers),
    ];
    for (name, help, value) in gauges {
        page.gauge(name, help, as_f64(value));
    }
}
