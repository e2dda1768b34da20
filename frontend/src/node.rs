//! A node: the three tiers of a store, started and stopped together in this process.
//!
//!     start   sockets are bound ─► journal ─► memstores ─► frontends serve
//!     stop    frontends refuse, streams end, calls finish ─► memstores ─► journal, last
//!
//! Sockets come first, so that a port that is taken is found out before anything is touched. The journal goes last,
//! because everything else may still append to it, and what it holds must be durable when the process ends.

mod error;
mod identity;
mod journal_thread;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use journal::Journal;
use tokio_util::sync::CancellationToken;

pub use self::error::StartError;
use self::identity::Identity;
use self::journal_thread::JournalThread;
use crate::config::{Address, Config, Storage};
use crate::grpc::{BoxFuture, Services};
use crate::http::{HealthCounters, Http, Vitals};
use crate::listener::{Frontends, Reuse, Serves, Settings, Socket, Tools, bind};
use crate::metrics::Metrics;
use crate::metrics::rpc::RpcCounters;

/// What gRPC adds to the largest request, as etcd has it.
const GRPC_OVERHEAD_BYTES: usize = 512 << 10;
/// How long a probe waits for the journal.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// A running node. Dropping it without `shutdown` is like killing it: nothing acknowledged is lost, and the next
/// start takes longer.
pub struct Node {
    frontends: Frontends,
    journal: JournalThread,
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
        let identity = Identity::of(&config.storage)?;
        let journal = JournalThread::start(journal_config(&config, &identity)).await?;
        let handle = journal.handle();
        leads(&handle).await;
        let revision = handle.status().borrow().revision;
        let Identity { cluster, member, is_new } = identity;
        let summary = Summary { cluster, member, is_new, revision, clients };
        let stops = CancellationToken::new();
        let frontends = serve(&config, sockets, &journal, &stops).map_err(StartError::Threads)?;
        Ok(Node { frontends, journal, stops, summary })
    }

    /// What it found and did.
    #[must_use]
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Resolves when the journal has stopped by itself, because its disk failed: the process should end.
    pub fn failed(&self) -> impl Future<Output = ()> + Send + use<> {
        self.journal.stopped()
    }

    /// Stops in order. What was acknowledged is durable, and streams have been told why they end.
    pub async fn shutdown(self) {
        self.stops.cancel();
        self.frontends.stop().await;
        self.journal.close().await;
    }
}

fn bind_all(config: &Config) -> Result<Vec<Socket>, StartError> {
    let for_clients = if config.listen_http.is_empty() { Serves::Everything } else { Serves::GrpcOnly };
    let reuse = Reuse { port: config.share_port };
    let all = [
        (&config.listen_client, for_clients),
        (&config.listen_http, Serves::HttpOnly),
        (&config.listen_metrics, Serves::HttpOnly),
    ];
    let all = all.into_iter().flat_map(|(addresses, serves)| addresses.iter().map(move |one| (one, serves)));
    let bound = all.map(|(Address { url, socket }, serves)| {
        bind(*socket, serves, reuse).map_err(|error| StartError::Listen { url: url.clone(), error })
    });
    bound.collect()
}

fn addresses(sockets: &[Socket]) -> Vec<std::net::SocketAddr> {
    let clients = sockets.iter().filter(|socket| socket.serves != Serves::HttpOnly);
    clients.filter_map(|socket| socket.listener.local_addr().ok()).collect()
}

fn journal_config(config: &Config, identity: &Identity) -> journal::Config {
    let storage = match &config.storage {
        Storage::Directory(directory) => journal::Storage::Directory(directory.join("journal")),
        Storage::Memory => journal::Storage::Memory,
    };
    journal::Config {
        heartbeat: config.heartbeat,
        election_timeout: config.election_timeout,
        // So that nobody can choose keys that collide in the window of recent writes.
        seed: rand::random(),
        ..journal::Config::single(identity.cluster, identity.member, storage)
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
    stops: &CancellationToken,
) -> std::io::Result<Frontends> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = if config.frontend_threads == 0 { cores } else { config.frontend_threads };
    let counters: Vec<Arc<RpcCounters>> = (0..threads).map(|_| RpcCounters::new()).collect();
    let http = Arc::new(http(config, journal, &counters));
    let message_bytes_max = config.limits.request_bytes_max + GRPC_OVERHEAD_BYTES;
    let tools = counters.into_iter().map(|counters| Tools {
        services: Box::new(Services::default),
        counters,
        message_bytes_max,
        http: http.clone(),
    });
    let settings = Settings {
        streams_max: config.limits.streams_max,
        keepalive_interval: config.keep_alive.interval,
        keepalive_timeout: config.keep_alive.timeout,
        slow_call: config.warn_call,
    };
    Frontends::start(sockets, tools.collect(), &settings, stops)
}

fn http(config: &Config, thread: &JournalThread, counters: &[Arc<RpcCounters>]) -> Http {
    let journal = &thread.handle();
    let probed = journal.clone();
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
            sources: vec![crate::metrics::log::source(thread.log_metrics())],
        },
        origins: config.origins(),
        arguments: std::env::args().collect(),
    }
}

/// Whether the journal answers. What is stale can always be read.
async fn probe(journal: Journal, linearizable: bool) -> Result<(), String> {
    if !linearizable {
        return Ok(());
    }
    match tokio::time::timeout(PROBE_TIMEOUT, journal.barrier()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("etcdserver: request timed out".to_owned()),
    }
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
