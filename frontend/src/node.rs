//! A node: the three tiers of a store, started and stopped together in this process.
//!
//!     start   sockets are bound ─► journal ─► memstores ─► frontends serve
//!     stop    frontends refuse, streams end, calls finish ─► memstores ─► journal, last
//!
//! Sockets come first, so that a port that is taken is found out before anything is touched. The journal goes last,
//! because everything else may still append to it, and what it holds must be durable when the process ends.

mod background;
mod bootstrap;
mod error;
mod identity;
mod journal_thread;
mod peers;
mod publisher;
mod services;

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use journal::{Dialer, Journal, Lsn, Member, SystemClock};
use memstore::SnapshotDue;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::background::Background;
pub use self::error::StartError;
use self::identity::{Begins, Identity};
use self::journal_thread::JournalThread;
use crate::client::Client;
use crate::config::{Address, Config, Storage};
use crate::error::Error;
use crate::etcd::header;
use crate::grpc::{BoxFuture, Leadership};
use crate::http::{HealthCounters, Http, Vitals};
use crate::listener::{Frontends, Reuse, Serves, Settings, Socket, Tools, bind};
use crate::metrics::Metrics;
use crate::metrics::rpc::RpcCounters;
use crate::store::Store;

/// etcd's patience with a request, to which two election timeouts come.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a probe waits for the journal.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// A running node. Dropping it without `shutdown` is like killing it: nothing acknowledged is lost, and the next
/// start takes longer.
pub struct Node {
    frontends: Frontends,
    background: Background,
    memstore: memstore::Node,
    journal: JournalThread,
    client: Client,
    /// Ends the store's own tasks.
    closing: CancellationToken,
    stops: CancellationToken,
    summary: Summary,
}

/// What a node found and did when it started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    pub cluster: u64,
    pub member: u64,
    /// Whether there was nothing before.
    pub is_new: bool,
    pub revision: journal::Revision,
    /// Where clients are served, with the ports that were chosen where 0 was asked for.
    pub clients: Vec<std::net::SocketAddr>,
}

impl Node {
    /// Starts all three tiers, and returns once clients are served.
    ///
    /// # Errors
    /// Why it could not be, in a sentence for whoever started it. Nothing is left running.
    pub async fn start(config: Config) -> Result<Node, StartError> {
        let sockets = bind_all(&config)?;
        let clients = addresses(&sockets);
        let identity = Identity::of(&config).await?;
        let peers = bind_peers(&config, &identity)?;
        // A memstore without a folder has no snapshots, and needs all of the journal.
        let reach = watch::Sender::default();
        let snapshots = snapshot_dir(&config);
        let journal = journal_config(&config, &identity, &reach);
        let journal = JournalThread::start(journal, peers, snapshots.clone()).await?;
        let handle = journal.handle();
        leads(&handle).await;
        let closing = CancellationToken::new();
        let told = memstore_config(&config, &identity, snapshots, reach);
        let clock = Arc::new(SystemClock::default());
        let memstore = memstore::Node::start(told, handle.clone(), clock, closing.child_token())?;
        let patience = REQUEST_TIMEOUT + 2 * config.election_timeout;
        let store = Store::new(handle.clone(), memstore.handle(), patience, closing.clone());
        // The state has to be there before the first client asks for it.
        let at = store.barrier().await.map_err(|_| journal::Error::Closed)?;
        for partition in store.memstore().partitions().iter() {
            store.memstore().wait(partition.id, at.lsn).await?;
        }
        let Identity { cluster, member, is_new, .. } = identity;
        let summary = Summary { cluster, member, is_new, revision: at.revision, clients };
        let stops = CancellationToken::new();
        let background = Background::start(&config, &store, member);
        let frontends =
            serve(&config, sockets, &journal, &store, &identity, &stops).map_err(StartError::Threads)?;
        let client = Client::new(store, &config);
        Ok(Node { frontends, background, memstore, journal, client, closing, stops, summary })
    }

    /// The store as a typed client in this process: no socket, nothing is encoded.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// What it found and did.
    #[must_use]
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Resolves when a tier has stopped by itself: the journal, because its disk failed or it is no member any more,
    /// or the memstore, because it cannot go on from what it has. The process should end.
    pub fn failed(&self) -> impl Future<Output = ()> + Send + use<> {
        let (journal, memstore) = (self.journal.stopped(), self.memstore.stopped());
        async move {
            tokio::select! {
                () = journal => {}
                () = memstore => {}
            }
        }
    }

    /// Stops in order. What was acknowledged is durable, and streams have been told why they end.
    pub async fn shutdown(self) {
        self.stops.cancel();
        self.frontends.stop().await;
        self.background.stop().await;
        // Its last snapshot is marked in the journal, which therefore closes behind it.
        match self.memstore.close().await {
            // What stopped it has been told.
            Ok(()) | Err(memstore::Error::Closed) => {}
            Err(error) => {
                tracing::error!(%error, "the memstore did not close; the next start reads more of the journal")
            }
        }
        self.closing.cancel();
        self.journal.close().await;
    }
}

fn bind_all(config: &Config) -> Result<Vec<Socket>, StartError> {
    let for_clients = if config.listen_http.is_empty() { Serves::Everything } else { Serves::GrpcOnly };
    let reuse = Reuse { port: config.share_port };
    let all = [
        (&config.listen_client, for_clients),
        (&config.listen_http, Serves::HttpOnly),
        (&config.listen_metrics, Serves::Probes),
    ];
    let all = all.into_iter().flat_map(|(addresses, serves)| addresses.iter().map(move |one| (one, serves)));
    all.map(|(address, serves)| bind_one(address, serves, reuse)).collect()
}

fn bind_one(address: &Address, serves: Serves, reuse: Reuse) -> Result<Socket, StartError> {
    let Address { url, socket } = address;
    bind(*socket, serves, reuse).map_err(|error| StartError::Listen { url: url.clone(), error })
}

fn addresses(sockets: &[Socket]) -> Vec<std::net::SocketAddr> {
    let clients =
        sockets.iter().filter(|socket| matches!(socket.serves, Serves::Everything | Serves::GrpcOnly));
    clients.filter_map(|socket| socket.listener.local_addr().ok()).collect()
}

fn journal_config(config: &Config, identity: &Identity, reach: &watch::Sender<Lsn>) -> journal::Config {
    let storage = match &config.storage {
        Storage::Directory(directory) => journal::Storage::Directory(directory.join("journal")),
        Storage::Memory => journal::Storage::Memory,
    };
    let (voters, join) = match &identity.begins {
        Begins::Alone => (vec![itself(config, identity)], false),
        Begins::With(voters) => (voters.clone(), false),
        Begins::Joins => (Vec::new(), true),
    };
    journal::Config {
        unsafe_no_sync: config.unsafe_no_sync,
        voters,
        join,
        dialer: reaches_others(config, identity).then(Dialer::plain),
        learners_max: config.learners_max,
        own_snapshots: Some(reach.subscribe()),
        retention_bytes: config.retention_bytes,
        heartbeat: config.heartbeat,
        election_timeout: config.election_timeout,
        // So that nobody can choose keys that collide in the window of recent writes.
        seed: rand::random(),
        ..journal::Config::single(identity.cluster, identity.member, storage)
    }
}

/// Whether there are other members, or may be some.
fn reaches_others(config: &Config, identity: &Identity) -> bool {
    config.serve_peers || identity.begins != Begins::Alone
}

/// This member in a cluster of its own.
fn itself(config: &Config, identity: &Identity) -> Member {
    Member {
        id: identity.member,
        name: config.name.clone(),
        peer_urls: config.advertise_peer.clone(),
        client_urls: config.advertise_client.clone(),
        learner: false,
    }
}

fn bind_peers(config: &Config, identity: &Identity) -> Result<Vec<TcpListener>, StartError> {
    let addresses = if reaches_others(config, identity) { &config.listen_peer[..] } else { &[] };
    let bound = addresses.iter().map(|address| {
        let socket = bind_one(address, Serves::GrpcOnly, Reuse { port: config.share_port })?;
        Ok(socket.listener)
    });
    bound.collect()
}

/// Where this node's snapshots are. `None`: it has none.
fn snapshot_dir(config: &Config) -> Option<PathBuf> {
    match (&config.storage, &config.snapshot_dir) {
        (Storage::Memory, _) => None,
        (Storage::Directory(_), Some(directory)) => Some(directory.clone()),
        (Storage::Directory(directory), None) => Some(directory.join("snapshots")),
    }
}

fn memstore_config(
    config: &Config,
    identity: &Identity,
    snapshot_dir: Option<PathBuf>,
    snapshots_reach: watch::Sender<Lsn>,
) -> memstore::Config {
    memstore::Config {
        split_keys: config.split_keys.clone(),
        snapshot_due: SnapshotDue { bytes: config.snapshot_after_bytes, ..SnapshotDue::default() },
        slow_apply: Some(config.warn_apply),
        snapshot_dir,
        snapshots_reach,
        helpers: reaches_others(config, identity).then(Dialer::plain),
        process: rand::random(),
        ..memstore::Config::default()
    }
}

/// Waits until somebody leads: until then every request would be refused.
async fn leads(journal: &Journal) {
    // An error means that the journal has stopped, which is told elsewhere.
    let _ = journal.status().wait_for(|status| status.leader.is_some()).await;
}

fn serve(
    config: &Config,
    sockets: Vec<Socket>,
    journal: &JournalThread,
    store: &Store,
    identity: &Identity,
    stops: &CancellationToken,
) -> std::io::Result<Frontends> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = if config.frontend_threads == 0 { cores } else { config.frontend_threads };
    let counters: Vec<Arc<RpcCounters>> = (0..threads).map(|_| RpcCounters::new()).collect();
    let http = Arc::new(http(config, journal, store, &counters));
    let identity = header::Identity { cluster_id: identity.cluster, member_id: identity.member };
    let message_bytes_max = services::message_bytes_max(config);
    let leadership = Leadership::follow(journal.handle().status(), config.election_timeout);
    let tools = counters.into_iter().map(|counters| Tools {
        services: services::maker(config, store, identity, stops),
        counters,
        message_bytes_max,
        leadership: leadership.clone(),
        http: http.clone(),
    });
    let settings = Settings {
        streams_max: config.limits.streams_max,
        keepalive_interval: config.keep_alive.interval,
        keepalive_timeout: config.keep_alive.timeout,
        slow_call: config.warn_call,
        gateway: config.gateway,
    };
    Frontends::start(sockets, tools.collect(), &settings, stops)
}

fn http(config: &Config, thread: &JournalThread, store: &Store, counters: &[Arc<RpcCounters>]) -> Http {
    let journal = &thread.handle();
    let probed = store.clone();
    let read = move |linearizable| -> BoxFuture<Result<(), String>> {
        Box::pin(probe(probed.clone(), linearizable))
    };
    Http {
        vitals: Vitals {
            status: journal.status(),
            read: Box::new(read),
            counters: HealthCounters::default(),
        },
        version: config.version.clone(),
        metrics: Metrics {
            version: config.version.clone(),
            quota_bytes: config.limits.quota_bytes.unwrap_or_default(),
            leader_changes: count_leaders(journal),
            rpc: counters.to_vec(),
            sources: vec![
                crate::metrics::log::source(thread.log_metrics()),
                crate::metrics::state::source(store.memstore().clone()),
                crate::metrics::log::applied(store.memstore().apply_metrics()),
                activity(store),
            ],
        },
        origins: config.origins(),
        arguments: std::env::args().collect(),
    }
}

fn activity(store: &Store) -> crate::metrics::Source {
    let activity = store.activity().clone();
    Box::new(move |page| activity.write(page))
}

/// Whether a read is answered. What is stale can always be read.
async fn probe(store: Store, linearizable: bool) -> Result<(), String> {
    if !linearizable {
        return Ok(());
    }
    let read = async {
        let at = store.barrier().await?;
        for partition in store.memstore().partitions().iter() {
            store.memstore().wait(partition.id, at.lsn).await?;
        }
        Ok(())
    };
    let timed = tokio::time::timeout(PROBE_TIMEOUT, read).await.unwrap_or(Err(Error::TimedOut));
    timed.map_err(|error| tonic::Status::from(error).message().to_owned())
}

/// Counts how often another node began to lead, from the first on.
fn count_leaders(journal: &Journal) -> Arc<AtomicU64> {
    let (changes, mut status) = (Arc::new(AtomicU64::new(0)), journal.status());
    let counted = changes.clone();
    tokio::spawn(async move {
        let mut reign = (0, None);
        loop {
            let seen = {
                let status = status.borrow_and_update();
                (status.term, status.leader)
            };
            if seen.1.is_some() && seen != reign {
                reign = seen;
                counted.fetch_add(1, Relaxed);
            }
            if status.changed().await.is_err() {
                return;
            }
        }
    });
    changes
}

#[cfg(test)]
mod tests;
