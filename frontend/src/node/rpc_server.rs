//! A server for the cluster's other processes: it listens where they were told, believes whom its sockets believe, and
//! answers the tiers that may ask.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use journal::tls::{Connection, Guard, Stream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::transport::Server;
use tower_service::Service;

use super::peer_listener::PeerListener;

/// Flow control of one connection and of one stream: what may be on its way unread. Those that watch have smaller ones
/// of their own.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// How often a silent peer is asked for a sign of life, and how long it may take to give one.
const PING_EVERY: Duration = Duration::from_secs(5);
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// How long calls may take to end once the tier behind them has closed.
const FAREWELL: Duration = Duration::from_secs(1);

/// Connections that wait for their server. When there are so many, accepting waits, and the kernel holds the next.
const ARRIVALS_MAX: usize = 64;

/// The running servers, on the runtime where they were started.
pub(super) struct RpcServer {
    servers: JoinSet<()>,
    closing: CancellationToken,
}

/// What answers calls.
pub(super) trait Serves:
    Service<
        Request<Body>,
        Response = Response<Body>,
        Error = Infallible,
        Future: Future<Output = Result<Response<Body>, Infallible>> + Send + 'static,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Serves for S where
    S: Service<
            Request<Body>,
            Response = Response<Body>,
            Error = Infallible,
            Future: Future<Output = Result<Response<Body>, Infallible>> + Send + 'static,
        > + Clone
        + Send
        + Sync
        + 'static
{
}

impl RpcServer {
    /// Answers by `services` at each of `listeners`. A connection has at most `streams_max` calls at once.
    ///
    /// # Errors
    /// When a listener cannot be used.
    pub(super) fn serve(
        services: &impl Serves,
        listeners: Vec<PeerListener>,
        streams_max: Option<u32>,
    ) -> std::io::Result<RpcServer> {
        let (mut servers, closing) = (JoinSet::new(), CancellationToken::new());
        for listener in listeners {
            let (arrived, arrives) = mpsc::channel(ARRIVALS_MAX);
            let guarded = Guarded { services: services.clone(), guard: listener.guard.clone() };
            let accepts = closing.clone().run_until_cancelled_owned(listener.accept(arrived)?);
            servers.spawn(async move { accepts.await.unwrap_or(()) });
            let incoming = ReceiverStream::new(arrives).map(Ok::<Stream, std::io::Error>);
            let server = Server::builder()
                // For people and their scripts; what is no call of gRPC's is refused by what has no pages.
                .accept_http1(true)
                .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
                .initial_stream_window_size(STREAM_WINDOW_BYTES)
                .max_concurrent_streams(streams_max)
                .http2_keepalive_interval(Some(PING_EVERY))
                .http2_keepalive_timeout(Some(SILENCE_MAX));
            let closing = closing.clone();
            servers.spawn(async move {
                let closed = closing.cancelled_owned();
                if let Err(error) = server.serve_with_incoming_shutdown(guarded, incoming, closed).await {
                    tracing::error!(%error, "other processes are not served any more: restart this one");
                }
            });
        }
        Ok(RpcServer { servers, closing })
    }

    /// Ends what is under way. The tier behind has closed, so that streams end by themselves.
    pub(super) async fn close(mut self) {
        self.closing.cancel();
        let ended = async { while self.servers.join_next().await.is_some() {} };
        // A peer that does not read keeps its call open for as long as it likes.
        if tokio::time::timeout(FAREWELL, ended).await.is_err() {
            self.servers.shutdown().await;
        }
    }
}

/// Services that only those reach who may.
#[derive(Clone)]
struct Guarded<S> {
    services: S,
    guard: Arc<Guard>,
}

impl<S: Serves> Service<Request<Body>> for Guarded<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.services.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let caller = request.extensions().get::<Connection>().and_then(|came| came.caller.as_deref());
        if let Err(refused) = self.guard.admit(caller, service(&request)) {
            return Box::pin(std::future::ready(Ok(refused.into_http())));
        }
        Box::pin(self.services.call(request))
    }
}

/// The name of the service that a call is for.
pub(super) fn service(request: &Request<Body>) -> &str {
    request.uri().path().trim_start_matches('/').split('/').next().unwrap_or_default()
}
