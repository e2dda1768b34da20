//! Registered memstores, as this frontend sees them: whether one answers, and whether it serves a partition.
//!
//! Only a frontend without a memstore of its own sees them. Everything here is waited for and nothing looked for twice.

use std::time::Duration;

use journal::{MemstoreInfo, RouteRefusal, Routes};
use memstore::{At, Health, Memstore, PartitionId};
use tonic::Status;

use crate::error::Error;
use crate::store::Store;

/// How long one that has gone may take to prove that it has not.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// The view of them.
pub(super) struct Others<'a> {
    store: &'a Store,
}

impl<'a> Others<'a> {
    /// # Errors
    /// The frontend asks a memstore of its own, and no other.
    pub(super) fn of(store: &'a Store) -> Result<Others<'a>, Status> {
        if store.routes().is_own() {
            return Err(Status::failed_precondition(
                "this frontend answers from a memstore of its own and does not see the others: ask one that was \
                 started as `mainstem frontend`",
            ));
        }
        Ok(Others { store })
    }

    /// Those that serve the partition, by their ids.
    pub(super) fn serving(&self, partition: u64, replicas: &[u64]) -> Vec<u64> {
        let serves = |id: &&u64| {
            let memstore = self.store.routes().registered(**id);
            memstore.is_some_and(|memstore| serves(&memstore, partition) == Some(true))
        };
        replicas.iter().filter(serves).copied().collect()
    }

    pub(super) fn is_up(&self, id: u64) -> bool {
        let memstore = self.store.routes().registered(id);
        memstore.is_some_and(|memstore| memstore.health() > Health::Down)
    }

    /// Whether it answers, given some time where it seems that it does not.
    pub(super) async fn answers(&self, id: u64) -> bool {
        let Some(memstore) = self.store.routes().registered(id) else { return false };
        let answers = async {
            let mut seen = memstore.serves();
            while seen.health == Health::Down {
                seen = memstore.other_than(&seen).await;
            }
        };
        tokio::time::timeout(ANSWER_MAX, answers).await.is_ok()
    }

    /// Waits until the memstore serves the partition, and has applied what was committed by then. It takes as long as
    /// the memstore needs.
    ///
    /// # Errors
    /// It does not answer; `is_meant` says that the routes want something else by now.
    pub(super) async fn serves(
        &self,
        memstore: &MemstoreInfo,
        partition: u64,
        is_meant: impl Fn(&Routes) -> Result<(), RouteRefusal>,
    ) -> Result<(), Status> {
        let gone = || {
            Status::failed_precondition(format!(
                "memstore {} at {} does not answer: start it, and give this command again, which goes on from there",
                memstore.name, memstore.url
            ))
        };
        let handle = self.store.routes().registered(memstore.id).ok_or_else(gone)?;
        let mut status = self.store.journal().status();
        loop {
            let seen = handle.serves();
            let routes = status.borrow_and_update().routes.clone();
            is_meant(&routes).map_err(|refusal| Status::failed_precondition(refusal.to_string()))?;
            match serves(&handle, partition) {
                Some(true) if self.has_all(&handle, partition).await?.ok_or_else(gone)? => return Ok(()),
                // What it says may be a moment old: it will say so.
                Some(_) => {}
                None => return Err(gone()),
            }
            tokio::select! {
                _ = handle.other_than(&seen) => {}
                later = status.wait_for(|status| routes.version() < status.routes.version()) => {
                    later.map_err(|_| Error::Stopped)?;
                }
            }
        }
    }

    /// Whether its replica has what was committed by now. It is asked itself. `None`: it does not answer.
    async fn has_all(&self, memstore: &Memstore, partition: u64) -> Result<Option<bool>, Status> {
        let upto = self.store.within(self.store.barrier()).await?.lsn;
        Ok(match memstore.get_many(PartitionId(partition), &[], At::Latest, upto).await {
            Ok(_) => Some(true),
            Err(memstore::Error::WrongPartition) => Some(false),
            Err(_) => None,
        })
    }
}

/// `None`: it does not answer.
fn serves(memstore: &Memstore, partition: u64) -> Option<bool> {
    let seen = memstore.serves();
    let has = seen.partitions.iter().any(|range| range.id == PartitionId(partition));
    (seen.health > Health::Down).then_some(has)
}
