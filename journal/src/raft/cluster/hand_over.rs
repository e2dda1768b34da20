//! Leadership handed over by a voter that is about to go.
//!
//!     without     stop ─── election timeout ─── election ─► another leads
//!     with        another leads ─► stop
//!
//! A hand-over is a round trip. The heir has everything that is committed, or else it would not be elected.

use std::cmp::Reverse;
use std::time::Duration;

use openraft::Instant as _;
use openraft::async_runtime::watch::WatchReceiver;

use super::Cluster;
use crate::clock::Clock;

impl Cluster {
    /// If this node leads and others vote, lets one of them lead, and returns when it does. Each voter that was
    /// heard of within `patience` is given as long to take over. Where nobody does, they elect one later.
    pub(crate) async fn hand_over(&self, clock: &dyn Clock, patience: Duration) {
        if !self.leadership().leads {
            return;
        }
        for heir in self.heirs(patience) {
            if self.transfer_leader(heir).await.is_err() {
                return;
            }
            tokio::select! {
                () = self.another_leads() => return tracing::info!(heir, "leadership was handed over"),
                () = clock.until(clock.now() + patience) => tracing::warn!(heir, "it did not take over"),
            }
        }
    }

    /// Whether this node leads and another voter, which was heard of within `patience`, could.
    pub(crate) fn has_heir(&self, patience: Duration) -> bool {
        self.leadership().leads && !self.heirs(patience).is_empty()
    }

    /// The other voters, whoever has most of the log first.
    fn heirs(&self, patience: Duration) -> Vec<u64> {
        let data = self.raft.data_metrics();
        let data = data.borrow_watched();
        let heard = |voter: &u64| data.heartbeat.as_ref()?.get(voter)?.map(|at| *at);
        let has = |voter: &u64| *data.replication.as_ref()?.get(voter)?;
        let voters =
            self.servers.borrow_watched().membership_config.membership().voter_ids().collect::<Vec<_>>();
        let here = |voter: &u64| heard(voter).is_some_and(|at| at.elapsed() < patience);
        let mut heirs: Vec<u64> =
            voters.into_iter().filter(|voter| *voter != self.node && here(voter)).collect();
        heirs.sort_by_key(|voter| Reverse((has(voter), heard(voter))));
        heirs
    }

    /// Waits until another node leads, or Raft has stopped.
    async fn another_leads(&self) {
        let mut servers = self.servers.clone();
        while self.leadership().leader.is_none_or(|leader| leader == self.node) {
            if servers.changed().await.is_err() {
                return;
            }
        }
    }
}
