//! Accepting, and choosing the thread.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use journal::tls;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::connection::Accepted;
use super::{Seat, Serves, Socket};

/// After a failure that is not one connection's fault, such as having no file descriptors left.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts on each socket until told to stop. The sockets close then, and further clients are refused.
pub(super) fn spawn(sockets: Vec<Socket>, seats: &[Seat], stops: &CancellationToken) {
    for Socket { listener, serves, tls } in sockets {
        let listener = TcpListener::from_std(listener).expect("the socket is bound and non-blocking");
        let acceptor = Acceptor { listener, serves, tls, seats: seats.to_vec() };
        let stops = stops.clone();
        tokio::spawn(async move { stops.run_until_cancelled(acceptor.run()).await });
    }
}

struct Acceptor {
    listener: TcpListener,
    serves: Serves,
    tls: Option<tls::Acceptor>,
    seats: Vec<Seat>,
}

impl Acceptor {
    async fn run(self) {
        loop {
            match self.listener.accept().await.and_then(|(stream, _)| stream.into_std()) {
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
