//! Accepting, and choosing the thread.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use journal::tls;
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;

use super::connection::{Accepted, AcceptedStream};
use super::socket::{Listener, SocketFile};
use super::{Seat, Serves, Socket};

/// After a failure that is not one connection's fault, such as having no file descriptors left.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts on each socket until told to stop. The sockets close then, and further clients are refused.
pub(super) fn spawn(sockets: Vec<Socket>, seats: &[Seat], stops: &CancellationToken) {
    for Socket { listener, serves, tls } in sockets {
        let listener = Listening::of(listener).expect("the socket is bound and non-blocking");
        let acceptor = Acceptor { listener, serves, tls, seats: seats.to_vec() };
        let stops = stops.clone();
        tokio::spawn(async move { stops.run_until_cancelled(acceptor.run()).await });
    }
}

/// A socket on this thread's runtime.
enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener, #[expect(dead_code, reason = "removes the file when it is dropped")] SocketFile),
}

impl Listening {
    fn of(listener: Listener) -> std::io::Result<Listening> {
        Ok(match listener {
            Listener::Tcp(listener) => Listening::Tcp(TcpListener::from_std(listener)?),
            Listener::Unix(listener, file) => Listening::Unix(UnixListener::from_std(listener)?, file),
        })
    }

    async fn accept(&self) -> std::io::Result<AcceptedStream> {
        Ok(match self {
            Listening::Tcp(listener) => AcceptedStream::Tcp(listener.accept().await?.0.into_std()?),
            Listening::Unix(listener, _) => AcceptedStream::Unix(listener.accept().await?.0.into_std()?),
        })
    }
}

struct Acceptor {
    listener: Listening,
    serves: Serves,
    tls: Option<tls::Acceptor>,
    seats: Vec<Seat>,
}

impl Acceptor {
    async fn run(self) {
        loop {
            match self.listener.accept().await {
                Ok(stream) => {
                    let (serves, tls) = (self.serves, self.tls.clone());
                    self.hand_over(Accepted { stream, serves, tls }).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn hand_over(&self, accepted: Accepted) {
        let least = self.seats.iter().min_by_key(|seat| seat.connections.load(Relaxed));
        let seat = least.expect("there is at least one thread");
        seat.connections.fetch_add(1, Relaxed);
        // An error means that the thread has stopped: the connection closes.
        let _ = seat.handover.send(accepted).await;
    }
}
