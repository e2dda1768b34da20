//! What other processes reach a node's journal by: its voters' messages, the questions, tails and statuses of
//! memstores and frontends, and the snapshots that members have of partitions, on the addresses of `--listen-peer-urls`.

use std::convert::Infallible;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use journal::tls::{Connection, Guard, Stream};
use journal::{JournalService, Lsn, Node, PeerService};
use memstore::SnapshotService;
use proto::journal::journal_server::JournalServer;
use proto::snapshots::snapshots_server::SnapshotsServer;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::transport::Server;
use tower_service::Service;

use super::peer_listener::PeerListener;

/// Flow control of one connection and of one stream: what may be on its way unread.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// How often a silent peer is asked for a sign of life, and how long it may take to give one.
const PING_EVERY: Duration = Duration::from_secs(5);
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// How long calls may take to end once the journal has closed.
const FAREWELL: Duration = Duration::from_secs(1);

/// Connections that wait for their server. When there are so many, accepting waits, and the kernel holds the next.
const ARRIVALS_MAX: usize = 64;

/// The servers, on the journal's runtime.
pub(super) struct Peers {
    servers: JoinSet<()>,
    closing: CancellationToken,
}

impl Peers {
    /// # Errors
    /// When a listener cannot be used.
    pub(super) fn serve(
        node: &Node,
        listeners: Vec<PeerListener>,
        snapshots: Snapshots,
    ) -> std::io::Result<Peers> {
        let (mut servers, closing) = (JoinSet::new(), CancellationToken::new());
        let snapshots = snapshots.service(node).map_err(std::io::Error::other)?;
        for listener in listeners {
            let (arrived, arrives) = mpsc::channel(ARRIVALS_MAX);
            let guard = listener.guard.clone();
            let accepts = closing.clone().run_until_cancelled_owned(listener.accept(arrived)?);
            servers.spawn(async move { accepts.await.unwrap_or(()) });
            let incoming = ReceiverStream::new(arrives).map(Ok::<Stream, std::io::Error>);
            let services = Services {
                voters: node.peer_service(),
                journal: node.service(),
                snapshots: snapshots.clone(),
                guard,
            };
            let server = Server::builder()
                .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
                .initial_stream_window_size(STREAM_WINDOW_BYTES)
                .http2_keepalive_interval(Some(PING_EVERY))
                .http2_keepalive_timeout(Some(SILENCE_MAX));
            let closing = closing.clone();
            servers.spawn(async move {
                let closed = closing.cancelled_owned();
                if let Err(error) = server.serve_with_incoming_shutdown(services, incoming, closed).await {
                    tracing::error!(%error, "other members are not served any more: restart this one");
                }
            });
        }
        Ok(Peers { servers, closing })
    }

    /// Ends what is under way. The journal has closed, so that streams end by themselves.
    pub(super) async fn close(mut self) {
        self.closing.cancel();
        let ended = async { while self.servers.join_next().await.is_some() {} };
        // A peer that does not read keeps its call open for as long as it likes.
        if tokio::time::timeout(FAREWELL, ended).await.is_err() {
            self.servers.shutdown().await;
        }
    }
}

/// The snapshots in this process's folder.
pub(super) enum Snapshots {
    None,
    /// Of its own memstore.
    Own(PathBuf),
    /// Left by memstores elsewhere. Told is how far the older of those reaches that are kept.
    Kept(PathBuf, watch::Sender<Lsn>),
}

impl Snapshots {
    fn service(self, node: &Node) -> Result<Option<SnapshotsServer<SnapshotService>>, memstore::Error> {
        match self {
            Snapshots::None => Ok(None),
            Snapshots::Own(folder) => Ok(Some(SnapshotService::of(&folder, &node.handle()))),
            Snapshots::Kept(folder, reach) => {
                SnapshotService::keeping(&folder, &node.handle(), reach).map(Some)
            }
        }
    }
}

/// All services behind one address, told apart by the path.
#[derive(Clone)]
struct Services {
    voters: Option<PeerService>,
    journal: JournalServer<JournalService>,
    snapshots: Option<SnapshotsServer<SnapshotService>>,
    guard: Arc<Guard>,
}

impl Service<Request<Body>> for Services {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let service = request.uri().path().trim_start_matches('/').split('/').next();
        let caller = request.extensions().get::<Connection>().and_then(|came| came.caller.as_deref());
        if let Err(refused) = self.guard.admit(caller, service.unwrap_or_default()) {
            return Box::pin(std::future::ready(Ok(refused.into_http())));
        }
        match (&mut self.voters, &mut self.snapshots) {
            (Some(voters), _) if service == Some(PeerService::NAME) => voters.call(request),
            (_, Some(snapshots)) if service == Some(SnapshotsServer::<SnapshotService>::NAME) => {
                Box::pin(snapshots.call(request))
            }
            // Which also says that it does not know a service.
            _ => Box::pin(self.journal.call(request)),
        }
    }
}
