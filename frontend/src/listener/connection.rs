//! One connection, from its first byte to its last.

use std::net::{SocketAddr, TcpStream as StdTcpStream};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use journal::tls::{self, Stream};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Serves;
use super::authority::Renamed;
use crate::grpc::{Body, Call, Grpc, Inbound};
use crate::http::Http;

/// What a client may send before it is told that it was read. Several requests of the largest size fit, so that
/// one client's puts are not held up by its own window.
const STREAM_WINDOW_BYTES: u32 = 2 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// The protocol's least, which Go's clients keep to whatever a server allows. With larger frames announced, h2 would take
/// fewer pieces of a request's headers, and refuse those of such a client far below `HEADER_BYTES_MAX`.
const FRAME_BYTES_MAX: u32 = 16 << 10;
/// What a stream may have encoded and not yet written to its connection; the rest stays where it is bounded. There
/// may be thousands of streams that nobody reads.
const SEND_BUFFER_BYTES: usize = 64 << 10;
/// What the names and values of a request's headers may take. Go's servers allow as much. It is announced to clients
/// that speak HTTP/2.
pub(super) const HEADER_BYTES_MAX: u32 = 1 << 20;
/// Headers of one request over HTTP/1.1; Go knows no such bound.
const HEADERS_MAX: usize = 4_096;
/// Calls that a client may have given up before this process has looked at them. After it was frozen or swapped out
/// it finds what clients sent meanwhile, and what they gave up: those who still wait on the same connection must not
/// lose it for that. Beyond this, the connection is closed, because somebody does it on purpose.
const GIVEN_UP_MAX: usize = 16_384;

/// What etcd's flags say of connections.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// `None`: as many as a client likes.
    pub(crate) streams_max: Option<u32>,
    /// A client that is silent for so long is asked whether it is there. `None`: never.
    pub(crate) keepalive_interval: Option<Duration>,
    pub(crate) keepalive_timeout: Duration,
    /// Unary calls that take longer are logged.
    pub(crate) slow_call: Duration,
    /// Whether plain HTTP has etcd's API as JSON.
    pub(crate) gateway: bool,
}

/// A connection on its way to its thread.
pub(super) struct Accepted {
    pub(super) stream: AcceptedStream,
    pub(super) serves: Serves,
    pub(super) tls: Option<tls::Acceptor>,
}

/// A connection on no runtime.
pub(super) enum AcceptedStream {
    Tcp(StdTcpStream),
    Unix(StdUnixStream),
}

pub(super) fn builder(settings: &Settings) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).max_headers(HEADERS_MAX).max_buf_size(HEADER_BYTES_MAX as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_concurrent_streams(settings.streams_max)
        .max_pending_accept_reset_streams(GIVEN_UP_MAX)
        .keep_alive_interval(settings.keepalive_interval)
        .keep_alive_timeout(settings.keepalive_timeout)
        // gRPC has no use for it, and it is sent with each response.
        .auto_date_header(false);
    builder
}

/// Serves until the client leaves, or until `stops`: then the client is told to open no more calls here, and the
/// calls under way end.
pub(super) async fn serve(
    accepted: Accepted,
    dispatch: Dispatch,
    builder: Builder<TokioExecutor>,
    stops: CancellationToken,
    connections: Arc<AtomicUsize>,
) {
    let plain = accepted.tls.is_none();
    if let Err(error) = serve_until(accepted, dispatch, builder, stops).await {
        // Clients that vanish are their own business.
        let is_no_http = error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse);
        let hint = if plain && is_no_http { "; https:// is spoken at https:// URLs only" } else { "" };
        tracing::debug!(error, "a connection ended in an error{hint}");
    }
    connections.fetch_sub(1, Relaxed);
}

async fn serve_until(
    accepted: Accepted,
    dispatch: Dispatch,
    builder: Builder<TokioExecutor>,
    stops: CancellationToken,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let Accepted { stream, serves, tls } = accepted;
    let stream = match stream {
        AcceptedStream::Tcp(stream) => {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let stream = TcpStream::from_std(stream)?;
            let from = stream.peer_addr().map_or_else(|_| String::new(), remote);
            stops.run_until_cancelled(begun(tls.as_ref(), stream, from)).await
        }
        AcceptedStream::Unix(stream) => {
            stream.set_nonblocking(true)?;
            stops
                .run_until_cancelled(begun(tls.as_ref(), UnixStream::from_std(stream)?, "@".to_owned()))
                .await
        }
    };
    let Some(stream) = stream.flatten() else { return Ok(()) };
    let caller = stream.caller();
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        if caller.is_some() {
            request.extensions_mut().insert(tls::Connection { caller: caller.clone() });
        }
        dispatch.call(request, serves)
    });
    let stream = TokioIo::new(Renamed::new(stream));
    let mut connection = pin!(builder.serve_connection(stream, service));
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = stops.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

/// An address as its owner knows it, and not as a socket of both families has it.
fn remote(address: SocketAddr) -> String {
    SocketAddr::new(address.ip().to_canonical(), address.port()).to_string()
}

/// The connection as it is served: with TLS where that is spoken. `None`: the other side cannot be believed, or speaks
/// something else.
async fn begun(tls: Option<&tls::Acceptor>, stream: impl tls::Socket, from: String) -> Option<Stream> {
    let Some(tls) = tls else { return Some(stream.plain()) };
    match tls.accept(stream).await {
        Ok(stream) => Some(stream),
        Err(refused @ tls::Refused::Handshake(_)) => {
            tracing::warn!(remote_addr = from, error = %refused, "rejected connection on client endpoint");
            None
        }
        Err(refused) => {
            tracing::debug!(remote_addr = from, error = %refused, "rejected connection on client endpoint");
            None
        }
    }
}

/// Takes each request to the side it is for.
#[derive(Clone)]
pub(super) struct Dispatch {
    grpc: Arc<Grpc>,
    http: watch::Receiver<Arc<Http>>,
    /// Whether plain HTTP has etcd's API as JSON.
    gateway: bool,
}

impl Dispatch {
    pub(super) fn new(grpc: Grpc, http: watch::Receiver<Arc<Http>>, gateway: bool) -> Dispatch {
        Dispatch { grpc: Arc::new(grpc), http, gateway }
    }

    fn http(&self) -> Arc<Http> {
        self.http.borrow().clone()
    }

    fn call(&self, request: Request<Incoming>, serves: Serves) -> Call {
        match (is_grpc(&request), serves) {
            (true, Serves::Everything | Serves::GrpcOnly) => self.grpc.call(request.map(Inbound::Connection)),
            (false, Serves::Everything | Serves::HttpOnly) => {
                let grpc = self.gateway.then(|| self.grpc.clone());
                Call::Http(self.http().call(request, grpc))
            }
            (false, Serves::Probes) => Call::Http(self.http().probed(request)),
            (true, Serves::HttpOnly | Serves::Probes) | (false, Serves::GrpcOnly) => {
                Call::Ready(Some(not_here()))
            }
        }
    }
}

fn is_grpc<B>(request: &Request<B>) -> bool {
    let content = request.headers().get(CONTENT_TYPE);
    request.version() == Version::HTTP_2
        && content.is_some_and(|content| content.as_bytes().starts_with(b"application/grpc"))
}

fn not_here() -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}
