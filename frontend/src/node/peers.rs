//! What other processes reach a node's journal by: its voters' messages, the questions, tails and statuses of
//! memstores and frontends, and the snapshots that members have of partitions, on the addresses of `--listen-peer-urls`.

use std::convert::Infallible;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use journal::{JournalService, Lsn, Node, PeerService};
use memstore::SnapshotService;
use proto::journal::journal_server::JournalServer;
use proto::snapshots::snapshots_server::SnapshotsServer;
use tokio::sync::watch;
use tonic::body::Body;
use tonic::server::NamedService;
use tower_service::Service;

use super::peer_listener::PeerListener;
use super::peer_pages::PeerPages;
use super::rpc_server::{RpcServer, service};
use crate::version::Version;

/// Begins to serve them, on the journal's runtime.
///
/// # Errors
/// When a listener cannot be used, or the folder of the snapshots.
pub(super) fn serve(
    node: &Node,
    listeners: Vec<PeerListener>,
    snapshots: Snapshots,
    version: Version,
) -> std::io::Result<RpcServer> {
    let snapshots = snapshots.service(node).map_err(std::io::Error::other)?;
    let pages = PeerPages { journal: node.handle(), version, etcd_members: Arc::default() };
    let services = Services { voters: node.peer_service(), journal: node.service(), snapshots, pages };
    RpcServer::serve(&services, listeners, None)
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
    pages: PeerPages,
}

impl Service<Request<Body>> for Services {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if PeerPages::serve(&request) {
            return Box::pin(std::future::ready(Ok(self.pages.answer(&request))));
        }
        let service = service(&request);
        match (&mut self.voters, &mut self.snapshots) {
            (Some(voters), _) if service == PeerService::NAME => voters.call(request),
            (_, Some(snapshots)) if service == SnapshotsServer::<SnapshotService>::NAME => {
                Box::pin(snapshots.call(request))
            }
            // Which also says that it does not know a service.
            _ => Box::pin(self.journal.call(request)),
        }
    }
}
