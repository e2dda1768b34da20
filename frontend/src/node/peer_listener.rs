//! A socket for other members: who comes in, and who is believed.

use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use journal::Arrivals;
use journal::tls::{Acceptor, Guard, Refused, Stream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// After a failure that is not one connection's fault, such as having no file descriptors left.
const PAUSE: Duration = Duration::from_millis(50);

/// Bound, and not yet served.
pub(super) struct PeerListener {
    pub(super) door: Door,
    /// Where TLS is spoken on it.
    pub(super) tls: Option<Acceptor>,
    /// Of the services behind it.
    pub(super) guard: Arc<Guard>,
}

/// Where others come in.
pub(super) enum Door {
    Tcp(TcpListener),
    /// Another network's.
    Carried(Arrivals),
}

impl PeerListener {
    /// Accepts, and makes secure what has to be, each without waiting for the others. Handshakes are bounded by the
    /// acceptor, which refuses what is too many at once.
    ///
    /// # Errors
    /// When the socket cannot be used.
    pub(super) fn accept(
        self,
        arrived: mpsc::Sender<Stream>,
    ) -> io::Result<Pin<Box<dyn Future<Output = ()> + Send>>> {
        Ok(match self.door {
            Door::Tcp(listener) => {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                Box::pin(accept(listener, self.tls, arrived))
            }
            Door::Carried(arrivals) => Box::pin(forward(arrivals, arrived)),
        })
    }
}

async fn forward(mut arrivals: Arrivals, arrived: mpsc::Sender<Stream>) {
    while let Some(connection) = arrivals.recv().await {
        // An error means that the server has ended.
        drop(arrived.send(Stream::Carried(connection)).await);
    }
}

async fn accept(listener: tokio::net::TcpListener, tls: Option<Acceptor>, arrived: mpsc::Sender<Stream>) {
    let mut handshakes = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = handshakes.join_next() => continue,
        };
        let (socket, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection of another member could not be accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // It works without, only slower.
        let _ = socket.set_nodelay(true);
        let Some(tls) = tls.clone() else {
            // An error means that the server has ended.
            drop(arrived.send(Stream::Plain(socket)).await);
            continue;
        };
        let arrived = arrived.clone();
        handshakes.spawn(async move {
            match tls.accept(socket).await {
                Ok(stream) => drop(arrived.send(stream).await),
                Err(error @ Refused::Handshake(_)) => {
                    tracing::warn!(remote_addr = from.to_string(), %error, "rejected connection on peer endpoint");
                }
                Err(error) => {
                    tracing::debug!(remote_addr = from.to_string(), %error, "rejected connection on peer endpoint");
                }
            }
        });
    }
}
