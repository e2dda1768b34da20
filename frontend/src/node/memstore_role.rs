//! The memstore of this process: a frontend's own, or one that is registered and serves frontends elsewhere.

use std::path::PathBuf;
use std::sync::Arc;

use journal::Lsn;
use memstore::{Memory, SnapshotDue, SnapshotStore, Wanted};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::assignment::Holder;
use super::journal_role::{JournalRole, process_id};
use super::memstore_server::MemstoreServer;
use super::peer_listener::PeerListener;
use super::registration::Registration;
use super::replicas_here::ReplicasHere;
use super::security::Security;
use super::share::{Share, Unsettled};
use super::{StartError, clock};
use crate::config::{Config, Storage};

/// The running memstore.
pub(super) struct MemstoreRole {
    node: memstore::Node,
    here: ReplicasHere,
    registered: Option<Registered>,
}

/// What one that serves others has besides.
struct Registered {
    server: MemstoreServer,
    keeps: JoinHandle<()>,
    closing: CancellationToken,
    /// It has no place any more.
    lost: CancellationToken,
    unsettled: watch::Receiver<Unsettled>,
}

impl MemstoreRole {
    /// `listeners` are for frontends elsewhere, and `reach` is told how far its snapshots go. Ends with `closing`.
    pub(super) async fn start(
        config: &Config,
        security: &Security,
        journal: &JournalRole,
        listeners: Vec<PeerListener>,
        memory: &Arc<Memory>,
        reach: watch::Sender<Lsn>,
        closing: &CancellationToken,
    ) -> Result<MemstoreRole, StartError> {
        // The highest bit says that it is doubted.
        let (handle, process) = (journal.handle(), rand::random::<u64>() >> 1);
        let asks = journal.reaches_others || config.snapshot_store.is_some();
        let start = |holder: Holder| {
            let wanted = holder.follow(&handle, closing.child_token());
            let told = memstore::Config {
                wanted: Wanted::Told(wanted.clone()),
                helpers: asks.then(|| security.dialer.clone()),
                process,
                memory: memory.clone(),
                ..memstore_config(config, reach)?
            };
            let node = memstore::Node::start(told, handle.clone(), clock(), closing.child_token())?;
            let here = ReplicasHere::new(node.handle(), wanted);
            Ok::<_, StartError>((node, here))
        };
        if !config.roles.serves_frontends() {
            let (node, here) = start(Holder::Everything { split_keys: config.split_keys.clone() })?;
            return Ok(MemstoreRole { node, here, registered: None });
        }
        let id = process_id(&config.name, "memstore");
        let mut registration = Registration::new(config, id, process, &handle, security.dialer.clone());
        registration.register().await?;
        let (node, here) = start(Holder::Registered(id))?;
        let server = MemstoreServer::serve(node.service(), listeners).await.map_err(StartError::Threads)?;
        let (closing, lost) = (CancellationToken::new(), CancellationToken::new());
        let keeps = tokio::spawn(registration.keep(closing.clone(), lost.clone()));
        let share = Share { memstore: id, journal: handle, dialer: security.dialer.clone() };
        let unsettled = share.follow(closing.clone());
        let registered = Some(Registered { server, keeps, closing, lost, unsettled });
        Ok(MemstoreRole { node, here, registered })
    }

    pub(super) fn here(&self) -> &ReplicasHere {
        &self.here
    }

    /// Why another memstore must not be stopped yet for this one being there; a frontend's own has nothing to tell.
    pub(super) fn unsettled(&self) -> Option<watch::Receiver<Unsettled>> {
        self.registered.as_ref().map(|registered| registered.unsettled.clone())
    }

    /// Resolves when it has stopped by itself, or has no place any more.
    pub(super) fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let stopped = self.node.stopped();
        let lost = self.registered.as_ref().map(|registered| registered.lost.clone());
        // Dropped, it is never cancelled.
        let lost = lost.unwrap_or_default();
        async move {
            tokio::select! {
                () = stopped => {}
                () = lost.cancelled() => {}
            }
        }
    }

    /// Frontends elsewhere are told first, so that they ask others. Its last snapshot is marked in the journal, which has
    /// to be there until this returns.
    pub(super) async fn close(self) {
        let MemstoreRole { node, registered, .. } = self;
        if let Some(registered) = &registered {
            // Before anything is taken from those who ask it.
            if !node.leave().await {
                tracing::info!(
                    "the memstore stops although it is asked: others are asked then, if they have the keys"
                );
            }
            registered.closing.cancel();
        }
        match node.close().await {
            // What stopped it has been told.
            Ok(()) | Err(memstore::Error::Closed) => {}
            Err(error) => {
                tracing::error!(%error, "the memstore did not close; the next start reads more of the journal")
            }
        }
        if let Some(Registered { server, keeps, .. }) = registered {
            server.close().await;
            // It has ended, or panicked, which its thread has told.
            let _ = keeps.await;
        }
    }
}

/// Where the snapshots are that this process has. `None`: it has none.
pub(super) fn snapshot_dir(config: &Config) -> Option<PathBuf> {
    match (&config.storage, &config.snapshot_dir) {
        (Storage::Memory, _) => None,
        (Storage::Directory(_), Some(directory)) => Some(directory.clone()),
        (Storage::Directory(directory), None) => Some(directory.join("snapshots")),
    }
}

fn memstore_config(
    config: &Config,
    snapshots_reach: watch::Sender<Lsn>,
) -> Result<memstore::Config, memstore::Error> {
    let snapshot_store = config.snapshot_store.as_deref().map(SnapshotStore::open).transpose()?;
    Ok(memstore::Config {
        snapshot_due: SnapshotDue { bytes: config.snapshot_after_bytes, ..SnapshotDue::default() },
        slow_apply: Some(config.warn_apply),
        snapshot_dir: snapshot_dir(config),
        snapshots_reach,
        // They outlive this process.
        nodes_keep: !config.roles.journal,
        snapshot_store,
        name: config.name.clone(),
        ..memstore::Config::default()
    })
}
