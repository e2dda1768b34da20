//! A memstore: every partition of one process, kept up with the journal.
//!
//!     start ──► newest usable snapshots ──► tail behind them ──► … ──► close: a last snapshot
//!
//! It runs on a thread of its own, named "memstore": the follower and the keeper take turns there. Readers and
//! watchers work on the threads of whoever asks.

mod builder;
mod gap;
#[cfg(test)]
mod helped_tests;
#[cfg(test)]
mod parts_tests;
mod restart;
mod rising;
mod run;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use journal::{Clock, Dialer, Journal, Lsn, machine};
use proto::memstore::memstore_server::MemstoreServer;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use self::gap::Helpers;
use self::restart::{Start, load};
use self::run::Run;
use crate::client::Memstore;
use crate::doubt::Throw;
use crate::error::Error;
use crate::farewell::Farewell;
use crate::feed::Feed;
use crate::here::Here;
use crate::holding::Holding;
use crate::memory::Memory;
use crate::metrics::ApplyMetrics;
use crate::replica::Replica;
use crate::replicas::Replicas;
#[cfg(test)]
use crate::replicas::Served;
use crate::service::MemstoreService;
use crate::snapshot::{Folder, SnapshotStore};
use crate::wanted::Wanted;
use crate::watch::WatchLimits;
use crate::wire::reports::Identity;
use crate::work::{Held, SnapshotDue, Work};

/// Replicas that wait to be thrown away. When there are more, whoever tells of them waits.
const THROWS_MAX: usize = 4;

/// What a memstore is told at its start.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Which partitions to hold.
    pub wanted: Wanted,
    /// Where snapshots go. `None` for a store that ends with its process.
    pub snapshot_dir: Option<PathBuf>,
    pub snapshot_due: SnapshotDue,
    /// How other members are reached, which have snapshots of what is trimmed and missing here. `None`: there are none.
    pub helpers: Option<Dialer>,
    /// Whether the journal's nodes keep the snapshots as well, because the folder may go with this process: a
    /// majority of them before the journal is told. They are reached as `helpers` are.
    pub nodes_keep: bool,
    /// Where snapshots are left before the journal is told, instead of with its nodes, and looked for like those of
    /// members. Takes `helpers`.
    pub snapshot_store: Option<SnapshotStore>,
    /// Told how far the older of the snapshots reaches that are kept: up to there this memstore needs no journal.
    pub snapshots_reach: watch::Sender<Lsn>,
    pub watch: WatchLimits,
    /// That of the process, which somebody else looks at.
    pub memory: Arc<Memory>,
    /// Applying an entry should not take longer: what does is logged. `None`: however long.
    pub slow_apply: Option<Duration>,
    /// Names this process to the journal. Random at each start.
    pub process: u64,
    /// What people call it.
    pub name: String,
}

/// A running memstore.
pub struct Node {
    identity: Identity,
    feed: Feed,
    clock: Arc<dyn Clock>,
    memory: Arc<Memory>,
    replicas: Arc<Replicas>,
    metrics: Arc<ApplyMetrics>,
    cancel: CancellationToken,
    /// Cancelled once nothing is applied any more.
    closed: CancellationToken,
    throws: mpsc::Sender<Throw>,
    farewell: Farewell,
    outcome: oneshot::Receiver<Result<(), Error>>,
}

impl Node {
    /// Reads the newest snapshots, which may take seconds, and begins to follow the journal behind them.
    /// It stops when `cancel` is cancelled, or the journal closes.
    ///
    /// # Errors
    /// `Io` and `Missing` where neither a snapshot nor the journal alone leads back to the state, and nobody else can
    /// be asked.
    pub fn start(
        config: Config,
        journal: Journal,
        clock: Arc<dyn Clock>,
        cancel: CancellationToken,
    ) -> Result<Node, Error> {
        let status = journal.status();
        let cluster = status.borrow().cluster;
        let store = config.snapshot_store.clone().map(|store| store.of(cluster, clock.clone()));
        let others = |dialer| {
            let helpers = Helpers::new(journal.status(), dialer, config.nodes_keep, clock.clone());
            helpers.with_store(store)
        };
        let helpers = config.helpers.clone().map(others);
        let feed = Feed::Journal { journal, clock, process: config.process, seq: Arc::default() };
        Node::follow(config, feed, helpers, cluster, cancel)
    }

    pub(crate) fn follow(
        config: Config,
        feed: Feed,
        helpers: Option<Helpers>,
        cluster: u64,
        cancel: CancellationToken,
    ) -> Result<Node, Error> {
        // Where nobody has said yet how keys are divided, nothing is held until somebody does.
        let ranges = config.wanted.ranges().unwrap_or_default();
        let open = |path: &PathBuf| Folder::open(path, cluster).map(Arc::new);
        let folder = config.snapshot_dir.as_ref().map(open).transpose()?;
        let start = load(folder.as_deref(), &ranges)?;
        let is_told = matches!(config.wanted, Wanted::Told(_)) && helpers.is_some();
        let lags = |start: &Start| is_told && start.applied.lsn.next() < feed.first();
        let (start, wanted) = match start.filter(|start| !lags(start)) {
            Some(start) => (start, config.wanted),
            // What there is stands at several positions, or too far behind: each is served once it has been built.
            None => (Start::with_nothing(), config.wanted.told(&ranges)),
        };
        // Where others can help, that takes its time and is not waited for.
        let checked = helpers.is_none() && !start.partitions.is_empty();
        let Start { applied, partitions } = if checked { start.check(feed.first())? } else { start };
        let replica = |partition| Arc::new(Replica::new(partition, applied, config.watch));
        let replicas = Arc::new(Replicas::new(partitions.into_iter().map(replica).collect()));
        let work = Arc::new(Work::new(Held::by(&replicas.served())));
        let holding = Arc::new(Holding::new(replicas.clone(), config.watch, work.clone()));
        let closed = CancellationToken::new();
        let metrics = Arc::new(ApplyMetrics { slow_after: config.slow_apply, ..ApplyMetrics::default() });
        let identity = Identity { cluster, process: config.process, name: config.name };
        let (clock, memory) = (feed.clock(), config.memory);
        let (throws, thrown) = mpsc::channel(THROWS_MAX);
        let run = Run {
            holding,
            work,
            wanted,
            thrown: Some(thrown),
            metrics: metrics.clone(),
            feed: feed.clone(),
            helpers,
            folder,
            cluster,
            due: config.snapshot_due,
            reach: config.snapshots_reach,
            cancel: cancel.clone(),
            closed: closed.clone(),
        };
        let outcome = spawn(run)?;
        let farewell = Farewell::default();
        Ok(Node {
            identity,
            feed,
            clock,
            memory,
            replicas,
            metrics,
            cancel,
            closed,
            throws,
            farewell,
            outcome,
        })
    }

    #[cfg(test)]
    pub(crate) fn replicas(&self) -> Arc<Served> {
        self.replicas.served()
    }

    /// The handle on it.
    #[must_use]
    pub fn handle(&self) -> Memstore {
        let (replicas, metrics, memory) = (&self.replicas, &self.metrics, &self.memory);
        let (closed, throws) = (self.closed.clone(), self.throws.clone());
        Memstore::here(Here::new(replicas.clone(), metrics.clone(), memory.clone(), closed, throws))
    }

    /// What it answers to other processes. Each stream of theirs is a client that watches, so the server should let
    /// a connection have as many streams as there can be clients.
    #[must_use]
    pub fn service(&self) -> MemstoreServer<MemstoreService> {
        let (identity, feed, clock) = (self.identity.clone(), self.feed.clone(), self.clock.clone());
        MemstoreService::of(self.handle(), identity, feed, clock, self.farewell.clone())
    }

    /// Resolves when it has stopped, for whichever reason.
    pub fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        self.closed.clone().cancelled_owned()
    }

    /// Tells other processes that it is about to go, and answers until others are asked instead, for three seconds at
    /// most. Answers whether nobody asks it any more.
    pub async fn leave(&self) -> bool {
        tokio::select! {
            is_idle = self.farewell.leave(&*self.clock) => is_idle,
            () = self.closed.cancelled() => true,
        }
    }

    #[cfg(test)]
    pub(crate) fn farewell(&self) -> Farewell {
        self.farewell.clone()
    }

    /// Stops: watches end, waiting reads are refused, and a last snapshot makes the next start short. The
    /// journal has to be there until this returns.
    ///
    /// # Errors
    /// What had stopped it before.
    pub async fn close(self) -> Result<(), Error> {
        self.cancel.cancel();
        self.outcome.await.unwrap_or(Err(Error::Closed))
    }
}

fn spawn(run: Run) -> Result<oneshot::Receiver<Result<(), Error>>, Error> {
    let (tell, outcome) = oneshot::channel();
    let run = move || async move {
        // Whoever started it may have left without waiting.
        let _ = tell.send(run.run().await);
    };
    machine::spawn_runtime("memstore", run).map_err(|error| Error::io(&error))?;
    Ok(outcome)
}
