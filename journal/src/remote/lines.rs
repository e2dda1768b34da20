//! The lines of one process to the nodes of its journal: at most one is open, to the leader.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::line::{Line, Ways};
use crate::client::{Command, Status};
use crate::dial::Dialer;
use crate::error::Error;
use crate::member::Member;

/// Questions that wait for one line. When it is full, an append is refused as `Overloaded`, and everything else as
/// if nobody led.
const WAITING_MAX: usize = 8_192;

/// Opens lines, and lets go of those to nodes that no longer lead.
pub(crate) struct Lines {
    dialer: Dialer,
    /// Tells the cluster.
    status: watch::Receiver<Status>,
    open: Option<Open>,
    /// The node that was turned to last, its URLs, and which of them worked.
    last: Option<(u64, Vec<String>, Arc<AtomicUsize>)>,
}

/// A line that is open. Dropping it ends the line, also one whose node takes nothing any more.
struct Open {
    node: u64,
    line: mpsc::Sender<Command>,
    _ends: DropGuard,
}

impl Lines {
    pub(crate) fn new(dialer: Dialer, status: watch::Receiver<Status>) -> Lines {
        Lines { dialer, status, open: None, last: None }
    }

    /// Lets go of every line but that to `leader`. Who waits for an answer there learns that it is lost.
    pub(crate) fn keep(&mut self, leader: Option<u64>) {
        self.open = self.open.take().filter(|open| Some(open.node) == leader);
    }

    /// Asks `leader`, which is one of `members`.
    pub(crate) fn pass_on(&mut self, leader: u64, members: &[Member], command: Command) {
        self.keep(Some(leader));
        let command = match &self.open {
            Some(open) => match open.line.try_send(command) {
                Ok(()) => return,
                Err(mpsc::error::TrySendError::Full(command)) => return command.turn_away(),
                Err(mpsc::error::TrySendError::Closed(command)) => command,
            },
            None => command,
        };
        let Some(open) = self.line(leader, members) else {
            return command.refuse(Error::NotLeader { hint: Some(leader) });
        };
        // A line that was opened just now has room.
        if let Err(error) = open.line.try_send(command) {
            error.into_inner().refuse(Error::NotLeader { hint: Some(leader) });
        }
        self.open = Some(open);
    }

    fn line(&mut self, leader: u64, members: &[Member]) -> Option<Open> {
        let urls = &members.iter().find(|member| member.id == leader)?.peer_urls;
        let channels: Vec<_> = urls.iter().filter_map(|url| self.dialer.channel(url).ok()).collect();
        if channels.is_empty() {
            return None;
        }
        let preferred = match &self.last {
            Some((node, known, preferred)) if *node == leader && known == urls => preferred.clone(),
            _ => Arc::default(),
        };
        self.last = Some((leader, urls.clone(), preferred.clone()));
        let cluster = self.status.borrow().cluster;
        let (line, commands) = mpsc::channel(WAITING_MAX);
        let ends = CancellationToken::new();
        tokio::spawn(Line::new(Ways { channels, preferred }, cluster, commands).run(ends.clone()));
        Some(Open { node: leader, line, _ends: ends.drop_guard() })
    }
}

#[cfg(test)]
mod tests {
    use hyper::body::Incoming;
    use hyper::server::conn::http2;
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::net::TcpListener;
    use tokio::sync::oneshot;

    use super::*;

    /// A node whose connections live, and that answers nothing: frozen, as far as its callers can tell.
    async fn silent_node() -> Member {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        tokio::spawn(async move {
            let (socket, _) = listener.accept().await.expect("it is called");
            type Never = Result<hyper::Response<tonic::body::Body>, std::convert::Infallible>;
            let silence = service_fn(|_: hyper::Request<Incoming>| std::future::pending::<Never>());
            http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), silence).await
        });
        Member { id: 1, peer_urls: vec![url], ..Member::default() }
    }

    #[tokio::test]
    async fn who_waits_for_a_silent_node_hears_when_another_leads() {
        let members = [silent_node().await];
        let (_status, shown) = watch::channel(Status::default());
        let mut lines = Lines::new(Dialer::plain(), shown);
        let (reply, answer) = oneshot::channel();
        lines.pass_on(1, &members, Command::Barrier { reply });
        // The question is on its way, or still in the queue.
        tokio::task::yield_now().await;
        lines.keep(Some(2));
        assert_eq!(answer.await.expect("it is answered"), Err(Error::NotLeader { hint: None }));
    }
}
