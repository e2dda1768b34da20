//! Sockets, and the threads that serve what comes in on them.
//!
//!                  accept                              frontend-0   one thread, one runtime,
//!     socket ────► (on frontend-0) ── hand over to ──► frontend-1   the connection for its whole life
//!                                     the least busy   …
//!
//! A connection never moves, so nothing that serves it is shared or stolen. Connections are handed over instead of
//! taken by SO_REUSEPORT: the kernel would spread a hundred of them unevenly by chance, and a second program on the
//! same port would not be told that it is taken.
//!
//! HTTP/1.1 and HTTP/2 come on one port, gRPC and plain HTTP as well; only the first bytes tell.

mod accept;
mod authority;
mod connection;
mod socket;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use self::connection::Settings;
use self::connection::{Accepted, Dispatch};
pub(crate) use self::socket::{Listener, Reuse, Socket, bind, bind_tcp};
use crate::grpc::{AnswerRoom, Grpc, Leadership, Services};
use crate::http::Http;
use crate::metrics::rpc::RpcCounters;

/// Connections on their way to a thread. When full, accepting waits, and the kernel holds the next ones.
const HANDOVER_MAX: usize = 256;

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Serves {
    Everything,
    GrpcOnly,
    HttpOnly,
    /// Plain HTTP for those who look after the node: nobody's data.
    Probes,
}

/// A thread as the acceptor sees it.
#[derive(Clone)]
struct Seat {
    handover: mpsc::Sender<Accepted>,
    connections: Arc<AtomicUsize>,
}

/// The running threads.
pub(crate) struct Frontends {
    threads: Vec<JoinHandle<()>>,
    drained: Vec<oneshot::Receiver<()>>,
    stops: CancellationToken,
}

/// What one thread serves with.
pub(crate) struct Tools {
    /// Made on the thread's own runtime, where the tasks that they start then live.
    pub(crate) services: Box<dyn FnOnce() -> Services + Send>,
    pub(crate) counters: Arc<RpcCounters>,
    pub(crate) message_bytes_max: usize,
    pub(crate) answers: Arc<AnswerRoom>,
    pub(crate) leadership: Leadership,
    /// Replaced while a process starts.
    pub(crate) http: watch::Receiver<Arc<Http>>,
}

impl Frontends {
    /// Starts one thread per set of tools. They serve until `stops`, then finish what they have begun.
    pub(crate) fn start(
        sockets: Vec<Socket>,
        tools: Vec<Tools>,
        settings: &Settings,
        stops: &CancellationToken,
    ) -> std::io::Result<Frontends> {
        let mut frontends = Frontends { threads: Vec::new(), drained: Vec::new(), stops: stops.clone() };
        let (mut seats, mut arrivals) = (Vec::new(), Vec::new());
        for _ in &tools {
            let (handover, arrives) = mpsc::channel(HANDOVER_MAX);
            seats.push(Seat { handover, connections: Arc::default() });
            arrivals.push(arrives);
        }
        let mut sockets = Some((sockets, seats.clone()));
        for (number, ((tools, arrives), seat)) in tools.into_iter().zip(arrivals).zip(seats).enumerate() {
            let (drained, is_drained) = oneshot::channel();
            let thread = Thread {
                tools,
                arrives,
                connections: seat.connections,
                settings: settings.clone(),
                stops: stops.clone(),
            };
            let accepts = sockets.take();
            let builder = std::thread::Builder::new().name(format!("frontend-{number}"));
            frontends.drained.push(is_drained);
            frontends.threads.push(builder.spawn(move || {
                thread.run(accepts);
                // Nobody waits when the program is not stopped in order.
                let _ = drained.send(());
            })?);
        }
        Ok(frontends)
    }

    /// Refuses new connections, lets the calls under way end, and closes. Streams end at once with their cause.
    pub(crate) async fn stop(mut self) {
        self.stops.cancel();
        for drained in self.drained.drain(..) {
            // An error means that the thread is gone, which is as good.
            let _ = drained.await;
        }
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a frontend thread has panicked");
            }
        }
    }
}

impl Drop for Frontends {
    fn drop(&mut self) {
        self.stops.cancel();
    }
}

/// One thread and its runtime.
struct Thread {
    tools: Tools,
    arrives: mpsc::Receiver<Accepted>,
    connections: Arc<AtomicUsize>,
    settings: Settings,
    stops: CancellationToken,
}

/// How long calls that are under way may take to end when the program stops.
const DRAIN: Duration = Duration::from_secs(5);

impl Thread {
    fn run(self, accepts: Option<(Vec<Socket>, Vec<Seat>)>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("the system has file descriptors left for a runtime");
        runtime.block_on(async move {
            if let Some((sockets, seats)) = accepts {
                accept::spawn(sockets, &seats, &self.stops);
            }
            self.serve().await;
        });
    }

    async fn serve(self) {
        let Thread { tools, mut arrives, connections, settings, stops } = self;
        let Tools { services, counters, message_bytes_max, answers, leadership, http } = tools;
        let slow = settings.slow_call;
        let grpc =
            Grpc::new(services(), counters, message_bytes_max, answers, slow, leadership, stops.clone());
        let (dispatch, builder) =
            (Dispatch::new(grpc, http, settings.gateway), connection::builder(&settings));
        let tasks = TaskTracker::new();
        while let Some(Some(accepted)) = stops.run_until_cancelled(arrives.recv()).await {
            let (dispatch, builder) = (dispatch.clone(), builder.clone());
            tasks.spawn(connection::serve(accepted, dispatch, builder, stops.clone(), connections.clone()));
        }
        tasks.close();
        if tokio::time::timeout(DRAIN, tasks.wait()).await.is_err() {
            tracing::warn!(open = tasks.len(), "connections were cut off: they did not end in time");
        }
    }
}

#[cfg(test)]
mod tests;
