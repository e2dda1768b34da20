//! The journal's thread: one runtime of its own for the sequencer and Raft, or for the way to a journal elsewhere, so
//! that no request delays them.

use std::sync::Arc;

use journal::{Journal, LogMetrics, PeersMetrics, Remote, SystemClock, machine};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::StartError;
use super::peer_listener::PeerListener;
use super::peers::{self, Snapshots};
use crate::version::Version;

/// What a journal in this process counts.
#[derive(Clone)]
pub(super) struct Figures {
    pub(super) log: Arc<LogMetrics>,
    /// Of the other members, where there may be any.
    pub(super) peers: Option<Arc<PeersMetrics>>,
}

/// The handle, and what is counted where the journal is here.
type Started = Result<(Journal, Option<Figures>), journal::Error>;

pub(super) struct JournalThread {
    handle: Journal,
    /// `None`: it is elsewhere.
    figures: Option<Figures>,
    /// Dropping it closes as well.
    close: oneshot::Sender<()>,
    stopped: CancellationToken,
    thread: oneshot::Receiver<()>,
}

impl JournalThread {
    pub(super) async fn start(
        config: journal::Config,
        peers: Vec<PeerListener>,
        snapshots: Snapshots,
        version: Version,
    ) -> Result<JournalThread, StartError> {
        JournalThread::spawn(move |started, closes| run(config, peers, snapshots, version, started, closes))
            .await
    }

    /// A thread for the way to a journal elsewhere.
    pub(super) async fn connect(remote: Remote) -> Result<JournalThread, StartError> {
        JournalThread::spawn(move |started, closes| async move {
            let connected = remote.connect().map(|journal| (journal, None));
            let goes_on = connected.is_ok();
            if started.send(connected).is_ok() && goes_on {
                // An error means that it was dropped, which closes as well.
                let _ = closes.await;
            }
        })
        .await
    }

    async fn spawn<F: Future<Output = ()> + Send>(
        run: impl FnOnce(oneshot::Sender<Started>, oneshot::Receiver<()>) -> F + Send + 'static,
    ) -> Result<JournalThread, StartError> {
        let (started, starts) = oneshot::channel();
        let (close, closes) = oneshot::channel();
        let stopped = CancellationToken::new();
        let tell = stopped.clone().drop_guard();
        let run = move || async move {
            run(started, closes).await;
            drop(tell);
        };
        let thread = machine::spawn_runtime("journal", run).map_err(StartError::Threads)?;
        let (handle, figures) = starts.await.unwrap_or(Err(journal::Error::Closed))?;
        Ok(JournalThread { handle, figures, close, stopped, thread })
    }

    pub(super) fn handle(&self) -> Journal {
        self.handle.clone()
    }

    /// What it counts.
    pub(super) fn figures(&self) -> Option<Figures> {
        self.figures.clone()
    }

    /// Resolves when the thread has ended.
    pub(super) fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        self.stopped.clone().cancelled_owned()
    }

    /// Closes it, and waits until everything is on disk.
    pub(super) async fn close(self) {
        // An error means that it has stopped already.
        let _ = self.close.send(());
        if self.thread.await.is_err() {
            tracing::error!("the journal's thread has panicked");
        }
    }
}

async fn run(
    config: journal::Config,
    peers: Vec<PeerListener>,
    snapshots: Snapshots,
    version: Version,
    started: oneshot::Sender<Started>,
    closes: oneshot::Receiver<()>,
) {
    let node = match journal::Node::start(config, Arc::new(SystemClock::default())).await {
        Ok(node) => node,
        Err(error) => {
            // Whoever started it may have gone.
            let _ = started.send(Err(error));
            return;
        }
    };
    let peers = match peers::serve(&node, peers, snapshots, version) {
        Ok(peers) => peers,
        Err(error) => {
            let _ = started.send(Err(journal::Error::Io(error.to_string())));
            return node.close().await;
        }
    };
    let figures = Figures { log: node.log_metrics(), peers: node.peer_metrics() };
    if started.send(Ok((node.handle(), Some(figures)))).is_err() {
        return node.close().await;
    }
    tokio::select! {
        _ = closes => {}
        () = node.stopped() => {}
    }
    // Others hear of its last entries, and that it has closed.
    node.close().await;
    peers.close().await;
}
