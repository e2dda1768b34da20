//! The journal's nodes as the store of snapshots: what a majority of them holds is not lost with this process.
//!
//!     older set ──► each node that has none as new ──► a majority? ──► it is marked, and the journal trimmed behind it
//!
//! A node that has a set of this position or a later one needs no other: several memstores that hold the same keys
//! write about as much as one.

use std::sync::Arc;

use journal::{Clock, Dialer, Lsn, Status};
use tokio::sync::watch;
use tracing::{info, warn};

use super::Folder;
use super::peer::{Peer, Refusal};
use crate::error::Error;

/// The nodes, as the journal tells of them.
#[derive(Clone)]
pub(crate) struct JournalNodes {
    status: watch::Receiver<Status>,
    dialer: Dialer,
    clock: Arc<dyn Clock>,
}

impl JournalNodes {
    pub(crate) fn new(
        status: watch::Receiver<Status>,
        dialer: Dialer,
        clock: Arc<dyn Clock>,
    ) -> JournalNodes {
        JournalNodes { status, dialer, clock }
    }

    /// Sees to it that a majority of those that vote holds this set, or a later one.
    ///
    /// # Errors
    /// `Io`: they do not, and why the last of them does not.
    pub(crate) async fn hold(&self, folder: &Arc<Folder>, lsn: Lsn) -> Result<(), Error> {
        let (cluster, voters) = {
            let status = self.status.borrow();
            let voters = status.members.iter().filter(|member| !member.learner);
            (status.cluster, voters.map(|member| member.peer_urls.clone()).collect::<Vec<_>>())
        };
        let (mut holding, mut why) = (0, String::from("none is known"));
        for urls in &voters {
            for url in urls {
                match self.hold_at(url, cluster, folder, lsn).await {
                    Ok(()) => {
                        holding += 1;
                        break;
                    }
                    Err(Refusal::Here(error)) => return Err(error),
                    Err(Refusal::Silent(reason) | Refusal::Useless(reason)) => {
                        warn!(url, position = lsn.0, reason, "a journal node does not hold the snapshot");
                        why = reason;
                    }
                }
            }
        }
        if voters.len() / 2 < holding {
            return Ok(());
        }
        let all = voters.len();
        Err(Error::Io(format!("{holding} of {all} journal nodes hold it, and a majority must: {why}")))
    }

    async fn hold_at(&self, url: &str, cluster: u64, folder: &Arc<Folder>, lsn: Lsn) -> Result<(), Refusal> {
        let peer = Peer::at(url, &self.dialer, cluster, self.clock.clone())?;
        if peer.offer().await?.sets.keys().next_back().is_some_and(|newest| lsn <= *newest) {
            return Ok(());
        }
        peer.write(folder, lsn).await?;
        info!(url, position = lsn.0, "a journal node holds the snapshot");
        Ok(())
    }
}
