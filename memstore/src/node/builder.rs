//! Building the replicas that are wanted and not there, beside those that are served.
//!
//!     wanted ──► those that are missing now ──► together: one tail ──► each joins when it is as far
//!     wanted later ──► those ──► together: another tail
//!
//! It runs on the memstore's thread and takes turns with the follower; versions are copied on another.

mod together;

use std::panic::resume_unwind;
use std::sync::Arc;

use hashbrown::HashMap;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::error;

use self::together::Missing;
use super::gap::Helpers;
use crate::doubt::{Doubt, Throw};
use crate::error::Error;
use crate::feed::Feed;
use crate::holding::Holding;
use crate::partition_id::PartitionRange;
use crate::pause::Pauses;
use crate::snapshot::Folder;
use crate::wanted::in_order;

/// Builds replicas.
#[derive(Clone)]
pub(super) struct Builder {
    pub(super) holding: Arc<Holding>,
    pub(super) feed: Feed,
    /// Who may have what is trimmed here.
    pub(super) helpers: Option<Helpers>,
    pub(super) folder: Option<Arc<Folder>>,
}

/// What is being built. Cancelled when it has been, or is not wanted any more.
type Tickets = HashMap<PartitionRange, CancellationToken>;

impl Builder {
    /// Builds what is wanted, whenever that changes. Replicas that are `thrown` away are built again.
    pub(super) async fn run(
        self,
        mut wanted: watch::Receiver<Arc<[PartitionRange]>>,
        mut thrown: mpsc::Receiver<Throw>,
        pauses: Pauses,
    ) {
        let (mut builds, mut tickets) = (JoinSet::new(), Tickets::new());
        loop {
            match in_order(&wanted.borrow_and_update()) {
                Some(ranges) => self.want(&ranges, &mut builds, &mut tickets, &pauses),
                None => error!("the wanted partitions overlap: what was wanted before is served"),
            }
            loop {
                tokio::select! {
                    Ok(()) = wanted.changed() => break,
                    () = self.holding.lost() => break,
                    Some(throw) = thrown.recv() => {
                        self.throw_away(throw);
                        break;
                    }
                    Some(built) = builds.join_next() => ends(built),
                    else => return,
                }
            }
        }
    }

    fn throw_away(&self, Throw { partition, doubt, reply }: Throw) {
        let Doubt { replica, at, own, others } = doubt;
        let is_thrown = self.holding.throw_away(partition, replica.number);
        if is_thrown {
            error!(
                partition = partition.0,
                position = at.lsn.0,
                revision = at.revision.0,
                set_hash = format!("{own:016x}"),
                set_hash_of_others = format!("{others:016x}"),
                "a replica does not hold what other memstores hold of its partition: it is thrown away and built again from \
                 a snapshot and the journal; look for errors of this machine's memory"
            );
        }
        // Whoever asked may have gone.
        let _ = reply.send(if is_thrown { Ok(()) } else { Err(Error::WrongPartition) });
    }

    /// What is under way goes on by itself; all that is missing besides is built together.
    fn want(
        &self,
        ranges: &[PartitionRange],
        builds: &mut JoinSet<()>,
        tickets: &mut Tickets,
        pauses: &Pauses,
    ) {
        let missing = self.holding.want(ranges.to_vec());
        tickets.retain(|range, ticket| {
            let is_wanted = ranges.contains(range);
            if !is_wanted {
                ticket.cancel();
            }
            is_wanted && !ticket.is_cancelled()
        });
        let new = missing.into_iter().filter(|range| !tickets.contains_key(range));
        let new: Vec<_> = new.map(Missing::new).collect();
        tickets.extend(new.iter().map(|missing| (missing.range.clone(), missing.ticket.clone())));
        if !new.is_empty() {
            builds.spawn(pauses.measured(self.clone().build(new)));
        }
    }
}

/// A build that was called off is over; one that made a mistake takes everything with it.
fn ends(built: Result<(), JoinError>) {
    if let Some(panic) = built.err().and_then(|error| error.try_into_panic().ok()) {
        resume_unwind(panic);
    }
}
