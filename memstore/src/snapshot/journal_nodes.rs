//! The journal's nodes as the store of snapshots: what a majority of them holds is not lost with this process.
//!
//!     older pieces ──► each node that has none as new ──► a majority? ──► they are marked, and the journal trimmed
//!
//! A node that has the keys of a piece at its position or later needs it no more: several memstores that hold the same
//! keys write about as much as one.

use std::collections::BTreeMap;
use std::sync::Arc;

use journal::{Clock, Dialer, Lsn, Status};
use tokio::sync::watch;
use tracing::{info, warn};

use super::cover::Cover;
use super::peer::{Peer, Refusal};
use super::piece::Piece;
use super::{Folder, Header};
use crate::error::Error;
use crate::partition_id::PartitionRange;

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

    /// Sees to it that a majority of those that vote holds these pieces of the folder, or later ones.
    ///
    /// # Errors
    /// `Io`: they do not, and why the last of them does not.
    pub(crate) async fn hold(&self, folder: &Arc<Folder>, pieces: &[Header]) -> Result<(), Error> {
        let (cluster, voters) = {
            let status = self.status.borrow();
            let voters = status.members.iter().filter(|member| !member.learner);
            (status.cluster, voters.map(|member| member.peer_urls.clone()).collect::<Vec<_>>())
        };
        let (mut holding, mut why) = (0, String::from("none is known"));
        for urls in &voters {
            for url in urls {
                match self.hold_at(url, cluster, folder, pieces).await {
                    Ok(()) => {
                        holding += 1;
                        break;
                    }
                    Err(Refusal::Here(error)) => return Err(error),
                    Err(Refusal::Silent(reason) | Refusal::Useless(reason)) => {
                        warn!(url, reason, "a journal node does not hold the snapshot");
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

    async fn hold_at(
        &self,
        url: &str,
        cluster: u64,
        folder: &Arc<Folder>,
        pieces: &[Header],
    ) -> Result<(), Refusal> {
        let peer = Peer::at(url, &self.dialer, cluster, self.clock.clone())?;
        let offer = peer.offer().await?;
        for (lsn, ranges) in lacking(pieces, &offer.pieces) {
            peer.write(folder, lsn, ranges).await?;
            info!(url, position = lsn.0, "a journal node holds the snapshot");
        }
        Ok(())
    }
}

/// Of these pieces those whose keys are not all there at their position or later, by position.
pub(super) fn lacking(pieces: &[Header], there: &[Piece]) -> BTreeMap<Lsn, Vec<PartitionRange>> {
    let mut lacking: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for Header { lsn, range, .. } in pieces {
        let as_new = there.iter().map(|piece| &piece.header).filter(|header| *lsn <= header.lsn);
        if !Cover::of(as_new).holds(range) {
            lacking.entry(*lsn).or_default().push(range.clone());
        }
    }
    lacking
}
