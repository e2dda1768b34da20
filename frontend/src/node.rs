//! A node: the tiers of a store that this process runs, started and stopped together.
//!
//!     start   sockets are bound ─► journal ─► memstores ─► frontends serve
//!     stop    frontends refuse, streams end, calls finish ─► memstores ─► journal, last
//!
//! Sockets come first, so that a port that is taken is found out before anything is touched. The journal goes last,
//! because everything else may still append to it, and what it holds must be durable when the process ends.

mod assignment;
mod background;
mod bootstrap;
mod error;
mod etcd_data;
mod etcd_peer;
mod identity;
mod journal_directory;
mod journal_role;
mod journal_thread;
mod memory_limit;
mod memstore_role;
mod memstore_server;
mod memstores;
mod peer_listener;
mod peer_pages;
mod peers;
mod probes;
mod publisher;
mod registration;
mod replicas_here;
mod routes_told;
mod rpc_server;
mod security;
mod services;
mod serving;
mod share;
mod sockets;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use journal::{Clock, Dialer, Journal, Network, SystemClock};
use memstore::Memory;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::background::Background;
pub use self::error::StartError;
use self::journal_role::{JournalRole, bind_for_processes};
use self::memory_limit::memory_limit;
use self::memstore_role::{MemstoreRole, snapshot_dir};
use self::memstores::Memstores;
use self::probes::Probes;
use self::replicas_here::ReplicasHere;
use self::security::Security;
use self::serving::Serving;
use self::sockets::{addresses, bind_all, secure, urls};
use crate::client::Client;
use crate::config::{Config, Roles};
use crate::error::Error;
use crate::grpc::AnswerRoom;
use crate::listener::{Frontends, Serves};
use crate::memory_keeper::MemoryKeeper;
use crate::metrics::process::anonymous_bytes;
use crate::routes::Routes;
use crate::store::Store;

/// etcd's patience with a request, to which two election timeouts come.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a start may take before somebody is told what it waits for.
const QUIET_START: Duration = Duration::from_secs(5);

/// A running node. Dropping it without `shutdown` is like killing it: nothing acknowledged is lost, and the next
/// start takes longer.
pub struct Node {
    frontends: Option<Frontends>,
    probes: Probes,
    background: Background,
    memstore: Option<MemstoreRole>,
    journal: JournalRole,
    client: Option<Client>,
    /// Ends the store's own tasks.
    closing: CancellationToken,
    stops: CancellationToken,
    summary: Summary,
}

/// What a node found and did when it started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    pub roles: Roles,
    pub cluster: u64,
    pub member: u64,
    /// Whether there was nothing before.
    pub is_new: bool,
    pub revision: journal::Revision,
    /// Where clients are served, with the ports that were chosen where 0 was asked for.
    pub clients: Vec<std::net::SocketAddr>,
    /// The same as URLs, and those of sockets that are files.
    pub client_urls: Vec<String>,
}

impl Node {
    /// Starts the tiers, and returns once they do what they are for.
    ///
    /// # Errors
    /// Why it could not be, in a sentence for whoever started it. Nothing is left running.
    pub async fn start(config: Config) -> Result<Node, StartError> {
        Node::start_by(config, None).await
    }

    /// The same, reaching other processes over `network`. They reach this one at its addresses.
    ///
    /// # Errors
    /// As `start`.
    pub async fn start_over(config: Config, network: Arc<dyn Network>) -> Result<Node, StartError> {
        Node::start_by(config, Some(network)).await
    }

    async fn start_by(config: Config, network: Option<Arc<dyn Network>>) -> Result<Node, StartError> {
        etcd_data::refuse(&config)?;
        let mut sockets = bind_all(&config)?;
        let (clients, client_urls) = (addresses(&sockets), urls(&config, &sockets));
        let mut security = Security::of(&config)?;
        if let Some(network) = network {
            security.dialer = Dialer::over(network);
        }
        secure(&config, &mut sockets, &security);
        let (for_probes, sockets) = sockets.into_iter().partition(|socket| socket.serves == Serves::Probes);
        let memory = Arc::new(Memory::measured(memory_limit(config.memory_limit_bytes), anonymous_bytes));
        let probes = Probes::start(&config, for_probes, &memory)?;
        let for_frontends = match config.roles.serves_frontends() {
            true => bind_for_processes(&config, &config.listen_memstore, &security)?,
            false => Vec::new(),
        };
        // A memstore without a folder has no snapshots, and needs all of the journal.
        let reach = watch::Sender::default();
        let journal = JournalRole::start(&config, &security, snapshot_dir(&config), &reach).await?;
        let handle = journal.handle();
        let answers = Arc::new(AnswerRoom::within(memory.clone()));
        let waiting = Serving {
            config: &config,
            security: &security,
            journal: &journal,
            memstore: None,
            unsettled: None,
            store: None,
            answers: answers.clone(),
            is_ready: false,
        };
        probes.answer_with(Arc::new(waiting.http(&[])));
        leads(&handle).await;
        let closing = CancellationToken::new();
        let memstore = match config.roles.memstore {
            true => {
                let listeners = for_frontends;
                let role =
                    MemstoreRole::start(&config, &security, &journal, listeners, &memory, reach, &closing);
                Some(role.await?)
            }
            false => None,
        };
        let here = memstore.as_ref().map(MemstoreRole::here);
        let store = config.roles.frontend.then(|| {
            let routes = match here {
                Some(here) => Routes::from(here.memstore.clone()),
                None => memstores_elsewhere(&config, &security, &journal, &closing),
            };
            let patience = REQUEST_TIMEOUT + 2 * config.election_timeout;
            Store::new(handle.clone(), routes, patience, closing.clone())
        });
        let revision = ready(&handle, here, store.as_ref()).await?;
        let JournalRole { cluster, member, is_new, .. } = journal;
        let summary =
            Summary { roles: config.roles, cluster, member, is_new, revision, clients, client_urls };
        let stops = CancellationToken::new();
        let keeper =
            MemoryKeeper { memory, memstore: here.map(|here| here.memstore.clone()), store: store.clone() };
        let background = Background::start(&config, &handle, store.as_ref(), member, keeper);
        let serving = Serving {
            config: &config,
            security: &security,
            journal: &journal,
            memstore: here,
            unsettled: memstore.as_ref().and_then(MemstoreRole::unsettled),
            store: store.as_ref(),
            answers,
            is_ready: true,
        };
        let frontends = serving.start(sockets, &probes, &stops).map_err(StartError::Threads)?;
        let client = store.map(|store| Client::new(store, &config));
        Ok(Node { frontends, probes, background, memstore, journal, client, closing, stops, summary })
    }

    /// The store as a typed client in this process: no socket, nothing is encoded.
    ///
    /// # Panics
    /// Where the node's roles have no frontend.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone().expect("the node has a frontend")
    }

    /// What it found and did.
    #[must_use]
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Resolves when another process of this kind may be stopped: a memstore that serves others holds its share of the
    /// keys by then. Everything else is ready once it has started.
    pub fn ready(&self) -> impl Future<Output = ()> + Send + use<> {
        let journal = self.journal.handle();
        let memstore = self.memstore.as_ref();
        let waits = memstore.and_then(|memstore| Some((memstore.here().clone(), memstore.unsettled()?)));
        async move {
            let Some((here, mut unsettled)) = waits else { return };
            let settled = unsettled.wait_for(Option::is_none).await.is_ok();
            let applied = journal.status_now().applied;
            if !settled || here.catch_up(applied).await.is_err() {
                // It is about to end, and `failed` tells that.
                std::future::pending().await
            }
        }
    }

    /// Resolves when a tier has stopped by itself: the journal, because its disk failed or it is no member any more,
    /// or the memstore, because it cannot go on from what it has. The process should end.
    pub fn failed(&self) -> impl Future<Output = ()> + Send + use<> {
        let journal = self.journal.thread.stopped();
        let memstore = self.memstore.as_ref().map(MemstoreRole::stopped);
        async move {
            let memstore = async {
                match memstore {
                    Some(stopped) => stopped.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = journal => {}
                () = memstore => {}
            }
        }
    }

    /// Stops in order. What was acknowledged is durable, and streams have been told why they end.
    pub async fn shutdown(self) {
        self.stops.cancel();
        if let Some(frontends) = self.frontends {
            frontends.stop().await;
        }
        self.probes.stop().await;
        self.background.stop().await;
        if let Some(memstore) = self.memstore {
            memstore.close().await;
        }
        self.closing.cancel();
        self.journal.thread.close().await;
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::default())
}

fn memstores_elsewhere(
    config: &Config,
    security: &Security,
    journal: &JournalRole,
    closing: &CancellationToken,
) -> Routes {
    let routes = Routes::new(&config.zone);
    let memstores = Memstores::new(journal.cluster, security.dialer.clone());
    memstores.follow(&journal.handle(), &routes, closing.child_token());
    routes
}

/// Waits until the process does what it is for: the state has to be there before the first client asks for it.
async fn ready(
    journal: &Journal,
    memstore: Option<&ReplicasHere>,
    store: Option<&Store>,
) -> Result<journal::Revision, StartError> {
    let ready = async {
        if let Some(store) = store {
            return store.ready().await;
        }
        let status = journal.status_now().clone();
        if let Some(memstore) = memstore {
            memstore.catch_up(status.applied).await?;
        }
        Ok::<_, Error>(status.revision)
    };
    let mut ready = pin!(ready);
    let revision = match tokio::time::timeout(QUIET_START, &mut ready).await {
        Ok(revision) => revision,
        Err(_) => {
            let routes = journal.status_now().routes.clone();
            let names: Vec<&str> = routes.memstores().iter().map(|memstore| &memstore.name[..]).collect();
            tracing::warn!(
                memstores = names.join(","),
                "still waiting to serve: the journal must have a leader, and every key a memstore that has caught up; \
                 `mainstem memstore` starts one"
            );
            // What no memstore serves by now may be lost, and the other keys need not wait for it.
            let in_part = async {
                match store {
                    Some(store) => store.ready_in_part().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                revision = ready => revision,
                revision = in_part => revision,
            }
        }
    };
    // Nothing else can have ended it.
    Ok(revision.map_err(|_| journal::Error::Closed)?)
}

/// Waits until somebody leads: until then every request would be refused.
async fn leads(journal: &Journal) {
    // An error means that the journal has stopped, which is told elsewhere.
    let _ = journal.status().wait_for(|status| status.leader.is_some()).await;
}

#[cfg(test)]
mod tests;
