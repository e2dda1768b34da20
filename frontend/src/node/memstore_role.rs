//! The memstore of this process: a frontend's own, which holds every partition that the routes have.

use std::path::PathBuf;

use journal::{Dialer, Journal, Lsn};
use memstore::{Node, SnapshotDue, Wanted};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::assignment::everything;
use super::{StartError, clock};
use crate::config::{Config, Storage};

/// `helpers` reaches those who may have what is missing here, and `reach` is told how far its own snapshots go. Ends
/// with `closing`.
pub(super) fn start(
    config: &Config,
    journal: &Journal,
    helpers: Option<Dialer>,
    reach: watch::Sender<Lsn>,
    closing: &CancellationToken,
) -> Result<Node, StartError> {
    let told = memstore::Config {
        wanted: Wanted::Told(everything(&config.split_keys, journal, closing.child_token())),
        snapshot_due: SnapshotDue { bytes: config.snapshot_after_bytes, ..SnapshotDue::default() },
        slow_apply: Some(config.warn_apply),
        snapshot_dir: snapshot_dir(config),
        snapshots_reach: reach,
        helpers,
        // They outlive this process.
        nodes_keep: !config.roles.journal,
        process: rand::random(),
        name: config.name.clone(),
        ..memstore::Config::default()
    };
    Ok(Node::start(told, journal.clone(), clock(), closing.child_token())?)
}

/// Where the snapshots are that this process has. `None`: it has none.
pub(super) fn snapshot_dir(config: &Config) -> Option<PathBuf> {
    match (&config.storage, &config.snapshot_dir) {
        (Storage::Memory, _) => None,
        (Storage::Directory(_), Some(directory)) => Some(directory.clone()),
        (Storage::Directory(directory), None) => Some(directory.join("snapshots")),
    }
}
