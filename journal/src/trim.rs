//! Drops the journal's oldest part, once snapshots made it unnecessary.
//!
//!     [ trimmed )[ retained, for those who lag )[ not yet in snapshots )
//!                ^ keep_from                    ^ trim point            ^ tail
//!
//! `keep_from` is at most the first position that some memstore's snapshot does not hold (I9), and early enough
//! that the newest `retention_bytes` stay. Raft's own snapshot, some kilobytes, is written first.

use std::sync::Arc;

use crate::error::Error;
use crate::lsn::Lsn;
use crate::raft::Cluster;
use crate::raft::state_machine::Machine;

/// Runs until the node closes.
pub(crate) async fn run(cluster: Cluster, machine: Arc<Machine>) {
    let mut progress = machine.progress();
    let mut trimmed = Lsn::ZERO;
    loop {
        let wait = tokio::select! {
            wait = progress.wait_for(|progress| trimmed < progress.keep_from) => wait,
            () = cluster.stopped() => return,
        };
        let Ok(keep_from) = wait.map(|progress| progress.keep_from) else { return };
        match cluster.trim(keep_from).await {
            Ok(()) => trimmed = keep_from,
            Err(Error::Closed) => return,
            Err(error) => unreachable!("trimming has no other end: {error}"),
        }
        machine.trimmed();
    }
}
