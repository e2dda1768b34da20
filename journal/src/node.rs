//! A journal node, from start to close.
//!
//!     start:  log, snapshot ─► Raft ─► sequencer's task, trimming ─► handle
//!     close:  what is on its way lands ─► another voter leads ─► Raft stops ─► the log is closed, last
//!
//! Everything runs on the runtime that starts it; only the log has a thread of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use proto::journal::journal_server::JournalServer;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::client::{COMMANDS_MAX, Journal, Status, Tails};
use crate::clock::Clock;
use crate::config::{Config, Storage};
use crate::error::Error;
use crate::gray;
use crate::log::Log;
use crate::log_device::file::Sync;
use crate::lsn::Lsn;
use crate::metrics::LogMetrics;
use crate::pause;
use crate::peer_metrics::PeersMetrics;
use crate::raft::contact;
use crate::raft::introduction;
use crate::raft::log_store::LogStore;
use crate::raft::lookout;
use crate::raft::network::{Network, PeerService, Wire};
use crate::raft::outcast;
use crate::raft::snapshot::SnapshotStore;
use crate::raft::state_machine::{Machine, Restored, StateMachine};
use crate::raft::voter_registry::VoterRegistry;
use crate::raft::{Cluster, Timers};
use crate::remote::Lines;
use crate::sequencer::Limits;
use crate::sequencer_task::{Closing, SequencerTask};
use crate::service::JournalService;
use crate::tail::TailSource;
use crate::trim;

/// A running node.
pub struct Node {
    handle: Journal,
    cluster: Cluster,
    log: Log,
    closing: CancellationToken,
    stopped: CancellationToken,
    /// Its disk hangs, so nothing of it ends any more.
    hangs: CancellationToken,
    task: JoinHandle<()>,
    trimming: JoinHandle<()>,
    clock: Arc<dyn Clock>,
    /// How long another voter may take to lead before the next one is asked.
    patience: Duration,
}

impl Node {
    /// Starts a node on the current runtime. A node that votes alone leads a moment later.
    ///
    /// # Errors
    /// `Io` and `Corrupt`: the directory cannot be used, or what is in it.
    pub async fn start(config: Config, clock: Arc<dyn Clock>) -> Result<Node, Error> {
        let (log, snapshots) = open(&config, clock.clone())?;
        let network = match &config.dialer {
            None => Network::Alone,
            Some(dialer) => {
                let registry = VoterRegistry::open(config.node, directory(&config), config.storage_id)?;
                let (cluster, node, clock) = (config.cluster, config.node, clock.clone());
                Network::Wire(Wire::new(cluster, node, dialer.clone(), clock, registry))
            }
        };
        Node::assemble(config, clock, log, snapshots, network).await
    }

    pub(crate) async fn assemble(
        config: Config,
        clock: Arc<dyn Clock>,
        log: Log,
        snapshots: SnapshotStore,
        network: Network,
    ) -> Result<Node, Error> {
        pause::measure(log.metrics(), clock.clone());
        let store = LogStore::new(log.clone(), network.promise())?;
        let restored = Restored::load(&snapshots)?;
        let tail = TailSource::new(Arc::new(store.clone()), restored.tail(), config.recent_bytes_max);
        let (cluster, node, serves_clients) = (config.cluster, config.node, config.serves_clients);
        let status = Status { cluster, node, serves_clients, ..Status::default() };
        let (status, shown) = watch::channel(status);
        let retention_bytes = config.retention_bytes;
        let machine = StateMachine::new(
            restored,
            snapshots,
            tail.clone(),
            store.clone(),
            status,
            retention_bytes,
            network.clone(),
        );
        let state = machine.machine();
        let cluster = Cluster::start(&config, store, machine, network).await?;

        let (commands, questions) = mpsc::channel(COMMANDS_MAX);
        let (closing, stopped) = (CancellationToken::new(), CancellationToken::new());
        let contact = contact::watch(cluster.clone(), clock.clone(), config.election_timeout);
        pause::spawn(stopped.clone().run_until_cancelled_owned(contact));
        let own = config.own_snapshots.clone();
        let trimming = pause::spawn(trim::run(cluster.clone(), state.clone(), own, clock.clone()));
        if let Some(wire) = cluster.wire() {
            let removed = outcast::removed(cluster.clone(), wire.clone(), &config, clock.clone());
            pause::spawn(leave(removed, closing.clone(), stopped.clone()));
            let lookout = lookout::run(cluster.clone(), wire.clone(), clock.clone(), Timers::of(&config));
            pause::spawn(stopped.clone().run_until_cancelled_owned(lookout));
            let standing = show_standing(wire.registry().clone(), state.clone());
            pause::spawn(stopped.clone().run_until_cancelled_owned(standing));
            let applied = shown.clone();
            let has_applied = move || Lsn::ZERO < applied.borrow().applied;
            let introduced = introduction::run(wire.clone(), config.clone(), clock.clone(), has_applied);
            pause::spawn(end(introduced, closing.clone(), stopped.clone()));
            let (admit, stopped) = (cluster.clone().admit(), stopped.clone());
            pause::spawn(stopped.run_until_cancelled_owned(admit));
        }
        let hangs = CancellationToken::new();
        let handed_over =
            gray::handed_over(cluster.clone(), log.clone(), clock.clone(), config.election_timeout);
        pause::spawn({
            let (hangs, closing, stopped) = (hangs.clone(), closing.clone(), stopped.clone());
            async move {
                if stopped.run_until_cancelled(handed_over).await.is_some() {
                    hangs.cancel();
                    closing.cancel();
                }
            }
        });
        let task = SequencerTask::new(
            cluster.clone(),
            state,
            clock.clone(),
            limits(&config),
            questions,
            config.dialer.map(|dialer| Lines::new(dialer, shown.clone())),
            Closing { token: closing.clone(), patience: config.election_timeout * 2 },
        );
        let handle = Journal::new(commands, shown, Tails::Here(tail.clone()));
        let task = {
            let (stopped, closing) = (stopped.clone().drop_guard(), closing.clone());
            let (cluster, log) = (cluster.clone(), log.clone());
            pause::spawn(async move {
                task.run().await;
                // Whoever was asked to stop need not say why, and a log whose disk has failed has said it.
                if !closing.is_cancelled() && !log.has_failed() {
                    let reason = cluster.reason().await;
                    tracing::error!(reason, "the journal has stopped by itself");
                }
                tail.close();
                drop(stopped);
            })
        };
        let patience = config.election_timeout;
        Ok(Node { handle, cluster, log, closing, stopped, hangs, task, trimming, clock, patience })
    }

    /// The way in, for everybody.
    #[must_use]
    pub fn handle(&self) -> Journal {
        self.handle.clone()
    }

    /// How the other nodes reach this one: to be served where its peer URLs say. A node without a dialer has none.
    #[must_use]
    pub fn peer_service(&self) -> Option<PeerService> {
        self.cluster.wire().map(Wire::service)
    }

    /// What other processes reach this node by.
    #[must_use]
    pub fn service(&self) -> JournalServer<JournalService> {
        JournalService::of(self.handle.clone(), self.clock.clone())
    }

    /// What the log counts of its writes.
    #[must_use]
    pub fn log_metrics(&self) -> Arc<LogMetrics> {
        self.log.metrics()
    }

    /// What it counts of the other nodes. A node without a dialer has none.
    #[must_use]
    pub fn peer_metrics(&self) -> Option<Arc<PeersMetrics>> {
        self.cluster.wire().map(Wire::metrics)
    }

    /// Resolves when the node has stopped, because it was closed, its disk failed or hangs, or its
    /// cluster removed it.
    pub fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        self.stopped.clone().cancelled_owned()
    }

    /// Hands leadership to another voter.
    ///
    /// # Errors
    /// `Closed`.
    pub async fn transfer_leader(&self, to: u64) -> Result<(), Error> {
        self.cluster.transfer_leader(to).await
    }

    /// Stops taking appends, waits for what is on its way, lets another voter lead where there is one, and leaves the
    /// disk as it should be found. Where the disk hangs it is left as it is.
    pub async fn close(self) {
        self.closing.cancel();
        join(self.task).await;
        if self.hangs.is_cancelled() {
            return;
        }
        self.cluster.hand_over(&*self.clock, self.patience).await;
        self.cluster.close().await;
        join(self.trimming).await;
        self.log.close();
    }
}

/// Closes a node that its cluster has removed.
async fn leave(removed: impl Future<Output = ()>, closing: CancellationToken, stopped: CancellationToken) {
    tokio::select! {
        () = stopped.cancelled() => {}
        () = removed => {
            tracing::error!(
                "this node was removed from its cluster and stops: delete its data directory, and to take part again \
                 let it be added as a new member"
            );
            closing.cancel();
        }
    }
}

/// Tells in the status of the node which voters have promised something, and what it is missing itself.
async fn show_standing(registry: VoterRegistry, machine: Arc<Machine>) {
    let mut standing = registry.standing();
    loop {
        let missing = standing.borrow_and_update().missing;
        machine.status().send_modify(|status| {
            status.bootstrapped = registry.bootstrapped();
            status.missing_up_to = missing.map(|promise| Lsn(promise.last.map_or(1, |(_, index)| index + 1)));
        });
        if standing.changed().await.is_err() {
            return;
        }
    }
}

/// Closes a node that has no place in its cluster.
async fn end(
    introduced: impl Future<Output = String>,
    closing: CancellationToken,
    stopped: CancellationToken,
) {
    if let Some(why) = stopped.run_until_cancelled(introduced).await {
        tracing::error!("this member stops: {why}");
        closing.cancel();
    }
}

async fn join(task: JoinHandle<()>) {
    if let Err(error) = task.await {
        tracing::error!(%error, "a task of the journal failed");
    }
}

/// The directory is the log's, which has locked it; the state's snapshot lies beside the segments.
fn open(config: &Config, clock: Arc<dyn Clock>) -> Result<(Log, SnapshotStore), Error> {
    let sync = if config.unsafe_no_sync { Sync::Never } else { Sync::Always };
    let log = Log::open(&config.storage, sync, config.cluster, clock)?;
    let snapshots = match directory(config) {
        Some(path) => SnapshotStore::in_directory(&path)?,
        None => SnapshotStore::in_memory(),
    };
    Ok((log, snapshots))
}

fn directory(config: &Config) -> Option<PathBuf> {
    match &config.storage {
        Storage::Directory(path) => Some(path.clone()),
        Storage::Memory => None,
    }
}

fn limits(config: &Config) -> Limits {
    Limits {
        seed: config.seed,
        batches_max: config.batches_in_flight_max,
        batch_bytes_max: config.batch_bytes_max,
        record_bytes_max: config.record_bytes_max,
        ..Limits::default()
    }
}

#[cfg(test)]
mod tests;
