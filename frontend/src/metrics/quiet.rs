//! Names of etcd's that have nothing to tell here: told as zero, because dashboards and alerts compute with them.
//!
//! What they measure in etcd does not exist in this design (there is no file to defragment, no backend to commit
//! to), or happens where no name of etcd's looks.

use super::histogram::{doubling, write_empty};
use super::page::{Kind, Page};

const ZEROS: [(&str, Kind, &str); 6] = [
    ("etcd_mvcc_db_open_read_transactions", Kind::Gauge, "Read transactions: there are none."),
    ("etcd_debugging_auth_revision", Kind::Gauge, "Changes of users and roles."),
    (
        "etcd_disk_defrag_inflight",
        Kind::Gauge,
        "Whether a defragmentation runs: there is nothing to defragment.",
    ),
    ("etcd_server_heartbeat_send_failures_total", Kind::Counter, "Heartbeats that could not be sent."),
    ("etcd_server_learner_promote_successes", Kind::Counter, "Learners that were promoted."),
    ("etcd_server_snapshot_apply_in_progress_total", Kind::Gauge, "Whether a snapshot is being applied."),
];

/// With the first bound of each, and how many follow by doubling.
const EMPTY: [(&str, f64, u16, &str); 4] = [
    ("etcd_disk_backend_defrag_duration_seconds", 0.1, 13, "How long defragmentations took."),
    ("etcd_disk_backend_snapshot_duration_seconds", 0.01, 17, "How long snapshots took."),
    ("etcd_snap_db_fsync_duration_seconds", 0.001, 14, "How long syncing snapshots took."),
    ("etcd_snap_fsync_duration_seconds", 0.001, 14, "How long syncing snapshots took."),
];

pub(super) fn write(page: &mut Page) {
    for (name, kind, help) in ZEROS {
        page.family(name, kind, help);
        page.sample("", 0.0);
    }
    for (name, first, count, help) in EMPTY {
        page.family(name, Kind::Histogram, help);
        write_empty(page, "", &doubling(first, count));
    }
}
