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
mod identity;
mod journal_role;
mod journal_thread;
mod memstore_role;
mod peer_listener;
mod peers;
mod publisher;
mod rpc_server;
mod security;
mod services;
mod serving;

use std::sync::Arc;
use std::time::Duration;

use journal::{Clock, Journal, SystemClock};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::background::Background;
pub use self::error::StartError;
use self::journal_role::JournalRole;
use self::memstore_role::snapshot_dir;
use self::security::Security;
use self::serving::{Serving, addresses, bind_all, secure};
use crate::client::Client;
use crate::config::{Config, Roles};
use crate::listener::Frontends;
use crate::store::Store;

/// etcd's patience with a request, to which two election timeouts come.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// A running node. Dropping it without `shutdown` is like killing it: nothing acknowledged is lost, and the next
/// start takes longer.
pub struct Node {
    /// Also where only probes are answered.
    frontends: Option<Frontends>,
    background: Background,
    memstore: Option<memstore::Node>,
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
}

impl Node {
    /// Starts the tiers, and returns once they do what they are for.
    ///
    /// # Errors
    /// Why it could not be, in a sentence for whoever started it. Nothing is left running.
    pub async fn start(config: Config) -> Result<Node, StartError> {
        let mut sockets = bind_all(&config)?;
        let clients = addresses(&sockets);
        let security = Security::of(&config)?;
        secure(&config, &mut sockets, &security);
        // A memstore without a folder has no snapshots, and needs all of the journal.
        let reach = watch::Sender::default();
        let journal = JournalRole::start(&config, &security, snapshot_dir(&config), &reach).await?;
        let handle = journal.handle();
        leads(&handle).await;
        let closing = CancellationToken::new();
        let memstore = match config.roles.memstore {
            true => {
                let helpers = journal.reaches_others.then(|| security.dialer.clone());
                Some(memstore_role::start(&config, &handle, helpers, reach, &closing)?)
            }
            false => None,
        };
        let here = memstore.as_ref().map(memstore::Node::handle);
        let store = here.clone().filter(|_| config.roles.frontend).map(|memstore| {
            let patience = REQUEST_TIMEOUT + 2 * config.election_timeout;
            Store::new(handle.clone(), memstore, patience, closing.clone())
        });
        let revision = match &store {
            // The state has to be there before the first client asks for it.
            Some(store) => store.ready().await.map_err(|_| journal::Error::Closed)?,
            None => handle.status_now().revision,
        };
        let JournalRole { cluster, member, is_new, .. } = journal;
        let summary = Summary { roles: config.roles, cluster, member, is_new, revision, clients };
        let stops = CancellationToken::new();
        let background = Background::start(&config, &handle, store.as_ref(), member);
        let serving = Serving { config: &config, journal: &journal, memstore: here, store: store.as_ref() };
        let frontends = serving.start(sockets, &stops).map_err(StartError::Threads)?;
        let client = store.map(|store| Client::new(store, &config));
        Ok(Node { frontends, background, memstore, journal, client, closing, stops, summary })
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

    /// Resolves when a tier has stopped by itself: the journal, because its disk failed or it is no member any more,
    /// or the memstore, because it cannot go on from what it has. The process should end.
    pub fn failed(&self) -> impl Future<Output = ()> + Send + use<> {
        let journal = self.journal.thread.stopped();
        let memstore = self.memstore.as_ref().map(memstore::Node::stopped);
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
        self.background.stop().await;
        if let Some(memstore) = self.memstore {
            // Its last snapshot is marked in the journal, which therefore closes behind it.
            match memstore.close().await {
                // What stopped it has been told.
                Ok(()) | Err(memstore::Error::Closed) => {}
                Err(error) => {
                    tracing::error!(%error, "the memstore did not close; the next start reads more of the journal")
                }
            }
        }
        self.closing.cancel();
        self.journal.thread.close().await;
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::default())
}

/// Waits until somebody leads: until then every request would be refused.
async fn leads(journal: &Journal) {
    // An error means that the journal has stopped, which is told elsewhere.
    let _ = journal.status().wait_for(|status| status.leader.is_some()).await;
}

#[cfg(test)]
mod tests;
