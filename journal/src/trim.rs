//! Drops the journal's oldest part, once snapshots made it unnecessary.
//!
//!     [ trimmed )[ retained, for those who lag )[ not yet in snapshots )
//!                ^ keep_from                    ^ trim point            ^ tail
//!
//! `keep_from` is at most the first position that some memstore's snapshot does not hold (I9), and early enough
//! that the newest `retention_bytes` stay. Raft's own snapshot, some kilobytes, is written first.
//!
//! Marks tell that somebody has a snapshot. A memstore whose snapshots are in a folder of its own cannot start from
//! those of others: where one lives in this process, the log beside it is trimmed no further than its own reach.

use std::sync::Arc;

use tokio::sync::watch;

use crate::clock::Clock;
use crate::error::Error;
use crate::lsn::Lsn;
use crate::planted::Bug;
use crate::raft::Cluster;
use crate::raft::state_machine::Machine;

/// Runs until the node closes. `own` is how far the snapshots of this process reach, where it has its own.
pub(crate) async fn run(
    cluster: Cluster,
    machine: Arc<Machine>,
    own: Option<watch::Receiver<Lsn>>,
    clock: Arc<dyn Clock>,
) {
    let mut progress = machine.progress();
    let mut own = Own { reach: own };
    let mut trimmed = Lsn::ZERO;
    loop {
        let keep_from = progress.borrow_and_update().keep_from.min(own.keep_from());
        if keep_from <= trimmed {
            tokio::select! {
                changed = progress.changed() => if changed.is_err() { return },
                () = own.changed() => {}
                () = cluster.stopped() => return,
            }
            continue;
        }
        match cluster.trim(keep_from, &*clock).await {
            Ok(()) => trimmed = keep_from,
            Err(Error::Closed) => return,
            Err(error) => unreachable!("trimming has no other end: {error}"),
        }
        machine.trimmed();
    }
}

/// What the memstore of this process still needs.
struct Own {
    reach: Option<watch::Receiver<Lsn>>,
}

impl Own {
    fn keep_from(&mut self) -> Lsn {
        if Bug::TrimTooFar.is_planted() {
            return Lsn(u64::MAX);
        }
        self.reach.as_mut().map_or(Lsn(u64::MAX), |reach| reach.borrow_and_update().next())
    }

    /// Also never: where there is none, or it has stopped.
    async fn changed(&mut self) {
        let changed = match &mut self.reach {
            Some(reach) => reach.changed().await.is_ok(),
            None => false,
        };
        if !changed {
            std::future::pending().await
        }
    }
}
