//! Ending the leases whose time is over: taken from the lessor, revoked with the keys they hold.

use journal::Expired;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::interregnum::Interregnum;
use crate::store::Store;

/// Leases whose ends are under way at the same time, at the most. Many may be due at once and must go within
/// seconds, without filling the sequencer's queue.
const UNDER_WAY_MAX: usize = 256;

/// The task. One that it loses is handed out again by the lessor.
pub(crate) struct Reaper {
    store: Store,
}

impl Reaper {
    pub(crate) fn new(store: Store) -> Reaper {
        Reaper { store }
    }

    /// Runs until `closing`.
    pub(crate) async fn run(self, closing: CancellationToken) {
        let mut under_way = JoinSet::new();
        let mut interregnum = Interregnum::default();
        loop {
            let expired = tokio::select! {
                () = closing.cancelled() => return,
                expired = self.store.journal().expired() => expired,
            };
            let expired = match expired {
                Ok(expired) => expired,
                Err(journal::Error::NotLeader { .. } | journal::Error::NoQuorum) => {
                    interregnum.wait(self.store.journal()).await;
                    continue;
                }
                // The journal has closed.
                Err(_) => return,
            };
            for Expired { lease, term } in expired {
                if under_way.len() >= UNDER_WAY_MAX {
                    under_way.join_next().await;
                }
                let store = self.store.clone();
                under_way.spawn(async move {
                    match store.end_lease(lease, Some(term)).await {
                        // Somebody revoked it, or another leader decides now.
                        Ok(_) | Err(Error::LeaseNotFound | Error::Stopped) => {}
                        Err(error) => tracing::warn!(lease = lease.0, %error, "a lease has ended and could not be revoked yet"),
                    }
                });
            }
            while under_way.try_join_next().is_some() {}
        }
    }
}
