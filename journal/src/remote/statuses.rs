//! What all nodes of a journal say of themselves, as one status.
//!
//! The node of the newest term says who leads; the one that is furthest says everything else. Nodes that were not
//! named are learned from the members that the others tell of. All URLs of a node are listened to: which of them works
//! may change at any time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proto::journal::journal_client::JournalClient;
use proto::journal::{StatusPart, StatusRequest};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use super::Remote;
use crate::client::Status;
use crate::dial::Dialer;
use crate::error::Error;
use crate::member::Member;
use crate::wire::status;

/// How long until a node that could not be reached is asked again.
const PAUSE: Duration = Duration::from_millis(100);
/// A node tells its status twice a second. One that is silent for so long is asked anew, and what it told last, such as
/// who leads, counts no more: its machine may be gone, and the connection does not tell.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// The status of the whole, kept up to date until nobody looks any more.
pub(super) fn watch(remote: &Remote) -> watch::Receiver<Status> {
    let (merged, shown) = watch::channel(Status::default());
    tokio::spawn(run(remote.clone(), merged));
    shown
}

async fn run(remote: Remote, merged: watch::Sender<Status>) {
    let (told, mut tells) = tokio::sync::mpsc::channel(64);
    let mut asked = BTreeSet::new();
    let mut tasks = JoinSet::new();
    let mut known: BTreeMap<String, Status> = BTreeMap::new();
    let ending = CancellationToken::new();
    let _ends = ending.clone().drop_guard();
    let mut cluster = remote.cluster;
    let mut strangers = BTreeSet::new();
    let mut ask = |urls: Vec<String>| {
        for url in urls {
            if asked.insert(url.clone()) {
                tasks.spawn(follow(remote.clone(), url, told.clone(), ending.clone()));
            }
        }
    };
    ask(remote.endpoints.clone());
    loop {
        let (url, status) = tokio::select! {
            () = merged.closed() => return,
            told = tells.recv() => told.expect("a sender is held here"),
        };
        match status {
            Some(status) if cluster.is_some_and(|cluster| cluster != status.cluster) => {
                if strangers.insert(url.clone()) {
                    let expected = cluster.unwrap_or_default();
                    tracing::error!(
                        url,
                        "this journal node belongs to cluster {:x}, and this process to {expected:x}: it is left \
                         alone; look at the addresses of the journal that you gave",
                        status.cluster
                    );
                }
                continue;
            }
            Some(status) => {
                cluster = Some(status.cluster);
                ask(status.members.iter().flat_map(|member| member.peer_urls.iter().cloned()).collect());
                known.insert(url, status);
            }
            None => drop(known.remove(&url)),
        }
        let now = merge(&known).map(|status| Status { node: remote.id, ..status });
        merged.send_if_modified(|status| {
            // Whom nobody tells of any more keeps its last state, without a leader.
            let now = now.unwrap_or_else(|| Status { leader: None, ..status.clone() });
            let changed = *status != now;
            *status = now;
            changed
        });
    }
}

fn merge(known: &BTreeMap<String, Status>) -> Option<Status> {
    let furthest = known.values().max_by_key(|status| status.applied)?;
    let newest = known.values().max_by_key(|status| (status.term, status.leader.is_some()))?;
    let mut members = furthest.members.clone();
    for (url, status) in known {
        // A cluster of one that nobody else joins has no members to tell of.
        if members.iter().all(|member| member.id != status.node) {
            members.push(Member { id: status.node, peer_urls: vec![url.clone()], ..Member::default() });
        }
    }
    Some(Status { leader: newest.leader, term: newest.term, members, ..furthest.clone() })
}

type Told = (String, Option<Status>);

/// Tells what one node says, and `None` when it says nothing any more.
async fn follow(
    remote: Remote,
    url: String,
    told: tokio::sync::mpsc::Sender<Told>,
    ending: CancellationToken,
) {
    loop {
        let end = tokio::select! {
            () = ending.cancelled() => return,
            end = listen(&remote, &url, &told) => end,
        };
        if let Err(error) = end {
            tracing::debug!(url, %error, "a journal node does not tell its status");
        }
        if told.send((url.clone(), None)).await.is_err() {
            return;
        }
        let pause = remote.clock.until(remote.clock.now() + PAUSE);
        tokio::select! {
            () = ending.cancelled() => return,
            () = pause => {}
        }
    }
}

async fn listen(
    remote: &Remote,
    url: &str,
    told: &tokio::sync::mpsc::Sender<Told>,
) -> Result<(), tonic::Status> {
    let mut parts = tokio::select! {
        parts = open_status(&remote.dialer, url) => parts?,
        () = remote.clock.until(remote.clock.now() + SILENCE_MAX) => {
            return Err(tonic::Status::deadline_exceeded("it does not answer"));
        }
    };
    loop {
        let part = tokio::select! {
            biased;
            part = parts.message() => part?,
            () = remote.clock.until(remote.clock.now() + SILENCE_MAX) => {
                return Err(tonic::Status::deadline_exceeded("it has fallen silent"));
            }
        };
        let Some(part) = part else { return Ok(()) };
        let status = status::read(part)?;
        if told.send((url.to_owned(), Some(status))).await.is_err() {
            return Ok(());
        }
    }
}

/// What the node at `url` says of itself now.
///
/// # Errors
/// `Io`: it does not say it, and why.
pub async fn ask_status(dialer: &Dialer, url: &str) -> Result<Status, Error> {
    let said = async {
        let part = open_status(dialer, url).await?.message().await?;
        let part = part.ok_or_else(|| tonic::Status::unavailable("it says nothing"))?;
        Ok(status::read(part)?)
    };
    said.await.map_err(|status: tonic::Status| Error::Io(status.message().to_owned()))
}

/// What the node at `url` says of itself, now and whenever it changes.
pub(crate) async fn open_status(dialer: &Dialer, url: &str) -> Result<Streaming<StatusPart>, tonic::Status> {
    let channel = dialer.channel(url);
    let channel = channel.map_err(|error| tonic::Status::invalid_argument(error.to_string()))?;
    // Whose it is, it tells itself.
    let request = StatusRequest { cluster: 0 };
    Ok(JournalClient::new(channel).status(request).await?.into_inner())
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::Arc;

    use hyper::body::Incoming;
    use hyper::server::conn::http2;
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use proto::journal::journal_server::{Journal as Rpc, JournalServer};
    use proto::journal::{Answers, Questions, TailPart, TailRequest};
    use tokio_stream::{Stream, StreamExt};
    use tonic::codegen::Service as _;
    use tonic::{Request, Response, Status as Refusal};

    use super::*;
    use crate::clock::SystemClock;
    use crate::lsn::Lsn;

    type Out<T> = Pin<Box<dyn Stream<Item = Result<T, Refusal>> + Send>>;

    /// A node that tells its status once, and whose connection lives on in silence.
    struct Silent;

    #[tonic::async_trait]
    impl Rpc for Silent {
        type AskStream = Out<Answers>;
        type TailStream = Out<TailPart>;
        type StatusStream = Out<StatusPart>;

        async fn ask(&self, _: Request<Streaming<Questions>>) -> Result<Response<Out<Answers>>, Refusal> {
            Err(Refusal::unimplemented("not asked"))
        }

        async fn tail(&self, _: Request<TailRequest>) -> Result<Response<Out<TailPart>>, Refusal> {
            Err(Refusal::unimplemented("not asked"))
        }

        async fn status(&self, _: Request<StatusRequest>) -> Result<Response<Out<StatusPart>>, Refusal> {
            let status = Status { cluster: 7, node: 1, leader: Some(1), term: 5, ..Status::default() };
            let once = tokio_stream::once(Ok(status::write(&status)));
            Ok(Response::new(Box::pin(once.chain(tokio_stream::pending()))))
        }
    }

    async fn serve(listener: tokio::net::TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let server = JournalServer::new(Silent);
            let answer = service_fn(move |request: hyper::Request<Incoming>| {
                let mut server = server.clone();
                async move { server.call(request.map(tonic::body::Body::new)).await }
            });
            let connection = http2::Builder::new(TokioExecutor::new());
            connections.spawn(connection.serve_connection(TokioIo::new(socket), answer));
        }
    }

    #[tokio::test]
    async fn a_node_that_falls_silent_names_no_leader_any_more() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut told = {
            tokio::spawn(serve(listener));
            let clock = Arc::new(SystemClock::default());
            let dialer = Dialer::plain();
            watch(&Remote { endpoints: vec![url], cluster: None, id: 9, dialer, clock })
        };
        told.wait_for(|status| status.leader == Some(1)).await.unwrap();
        told.wait_for(|status| status.leader.is_none()).await.unwrap();
    }

    #[test]
    fn the_newest_term_says_who_leads_and_the_furthest_everything_else() {
        let zombie = Status {
            node: 1,
            leader: Some(1),
            term: 5,
            applied: Lsn(90),
            disk_bytes: 7,
            ..Status::default()
        };
        let follower = Status { node: 2, leader: Some(3), term: 6, applied: Lsn(80), ..Status::default() };
        let electing = Status { node: 3, leader: None, term: 6, applied: Lsn(85), ..Status::default() };
        let told = [zombie, follower, electing].map(|status| (format!("http://{}", status.node), status));
        let merged = merge(&told.into()).expect("three told");
        assert_eq!((merged.leader, merged.term), (Some(3), 6));
        assert_eq!((merged.applied, merged.disk_bytes), (Lsn(90), 7));
        assert_eq!(merged.members[2].peer_urls, ["http://3"]);
        assert_eq!(merge(&BTreeMap::new()), None);
    }
}
