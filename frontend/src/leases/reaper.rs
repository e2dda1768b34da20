//! Ending the leases whose time is over: taken from the lessor, revoked with the keys they hold.

use std::collections::HashMap;

use journal::{Expired, LeaseId};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::interregnum::Interregnum;
use crate::store::Store;

/// Leases whose ends are under way at the same time, at the most. Many may be due at once and must go within
/// seconds, without filling the sequencer's queue. When so many are, further ones wait with the lessor.
const UNDER_WAY_MAX: usize = 256;

/// The task. An end that it gives up is handed out again by the lessor, for as long as the lease is frozen.
pub(crate) struct Reaper {
    store: Store,
    under_way: JoinSet<Result<(), Error>>,
    /// Which lease each of these ends.
    leases: HashMap<Id, LeaseId>,
}

impl Reaper {
    pub(crate) fn new(store: Store) -> Reaper {
        Reaper { store, under_way: JoinSet::new(), leases: HashMap::new() }
    }

    /// Runs until `closing`. Ends that are under way then are abandoned.
    pub(crate) async fn run(mut self, closing: CancellationToken) {
        let _ = closing.run_until_cancelled(self.end_leases()).await;
    }

    /// Lets as many ends be under way as may be, none of which comes about.
    #[cfg(test)]
    pub(super) fn fill(&mut self) {
        for lease in (1..).take(UNDER_WAY_MAX) {
            self.spawn(LeaseId(-lease), std::future::pending());
        }
    }

    async fn end_leases(&mut self) {
        let mut interregnum = Interregnum::default();
        loop {
            match self.store.journal().expired().await {
                Ok(expired) => {
                    for expired in expired {
                        self.end(expired).await;
                    }
                }
                Err(journal::Error::NotLeader { .. } | journal::Error::NoQuorum) => {
                    interregnum.wait(self.store.journal()).await;
                }
                // The journal has closed.
                Err(_) => return,
            }
        }
    }

    /// Begins the end of a lease, once there is room for it.
    async fn end(&mut self, Expired { lease, term }: Expired) {
        while let Some(ended) = self.under_way.try_join_next_with_id() {
            self.ended(ended);
        }
        // One that takes longer than the lessor waits is handed out again.
        if self.leases.values().any(|other| *other == lease) {
            return;
        }
        while UNDER_WAY_MAX <= self.under_way.len() {
            if let Some(ended) = self.under_way.join_next_with_id().await {
                self.ended(ended);
            }
        }
        let store = self.store.clone();
        let end = async move { store.within(store.end_lease(lease, Some(term))).await.map(drop) };
        self.spawn(lease, end);
    }

    fn spawn(&mut self, lease: LeaseId, end: impl Future<Output = Result<(), Error>> + Send + 'static) {
        let id = self.under_way.spawn(end).id();
        self.leases.insert(id, lease);
    }

    fn ended(&mut self, ended: Result<(Id, Result<(), Error>), JoinError>) {
        let (id, ended) = match ended {
            Ok(ended) => ended,
            // It has panicked, and that was told.
            Err(error) => (error.id(), Ok(())),
        };
        if let Some(lease) = self.leases.remove(&id) {
            report(lease, ended);
        }
    }
}

fn report(lease: LeaseId, ended: Result<(), Error>) {
    match ended {
        // A client revoked it, or another lessor decides now.
        Ok(()) | Err(Error::LeaseNotFound | Error::Stopped) => {}
        Err(error) => tracing::warn!(
            lease = lease.0,
            %error,
            "an expired lease could not be revoked yet; it is tried again within seconds"
        ),
    }
}
