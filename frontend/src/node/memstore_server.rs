//! What frontends in other processes reach a memstore by, on the addresses of `--listen-memstore-urls`: a thread with
//! a runtime of its own, so that neither following the journal nor probes wait for it.

use journal::machine;
use memstore::MemstoreService;
use proto::memstore::memstore_server::MemstoreServer as Service;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::peer_listener::PeerListener;
use super::rpc_server::RpcServer;

/// Each client that watches has a stream, and a frontend has one connection for all of them.
const STREAMS_MAX: u32 = 1 << 20;

/// The running thread.
pub(super) struct MemstoreServer {
    thread: oneshot::Receiver<()>,
    closing: CancellationToken,
}

impl MemstoreServer {
    /// Returns once frontends can call.
    ///
    /// # Errors
    /// When a listener cannot be used, or there is no thread or descriptor left.
    pub(super) async fn serve(
        service: Service<MemstoreService>,
        listeners: Vec<PeerListener>,
    ) -> std::io::Result<MemstoreServer> {
        let closing = CancellationToken::new();
        let (closes, (served, serves)) = (closing.clone(), oneshot::channel());
        let run = move || async move {
            match RpcServer::serve(&service, listeners, Some(STREAMS_MAX)) {
                Err(error) => drop(served.send(Err(error))),
                Ok(server) => {
                    // Whoever started it may have gone, and closes it then.
                    drop(served.send(Ok(())));
                    closes.cancelled().await;
                    server.close().await;
                }
            }
        };
        let thread = machine::spawn_runtime("memstore-rpc", run)?;
        serves.await.map_err(std::io::Error::other)??;
        Ok(MemstoreServer { thread, closing })
    }

    /// Ends what is under way. The memstore has closed, so that streams end by themselves.
    pub(super) async fn close(self) {
        self.closing.cancel();
        if self.thread.await.is_err() {
            tracing::error!("the thread that serves frontends has panicked");
        }
    }
}
