//! What frontends in other processes reach a memstore by, on the addresses of `--listen-memstore-urls`: a thread with
//! a runtime of its own, so that neither following the journal nor probes wait for it.

use std::thread::JoinHandle;

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
    thread: JoinHandle<()>,
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
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let closing = CancellationToken::new();
        let (closes, (served, serves)) = (closing.clone(), oneshot::channel());
        let run = async move {
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
        let thread = std::thread::Builder::new().name("memstore-rpc".to_owned());
        let thread = thread.spawn(move || runtime.block_on(run))?;
        serves.await.map_err(std::io::Error::other)??;
        Ok(MemstoreServer { thread, closing })
    }

    /// Ends what is under way. The memstore has closed, so that streams end by themselves.
    pub(super) async fn close(self) {
        self.closing.cancel();
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("the thread that serves frontends has panicked");
        }
    }
}
