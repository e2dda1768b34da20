//! What a node answers to its peers.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use proto::raft::Message;
use proto::raft::raft_server::{self, RaftServer};
use tokio_stream::{Stream, StreamExt};
use tonic::body::Body as HttpBody;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic::{Code, Request, Response, Status, Streaming};

use super::envelope::MESSAGE_BYTES_MAX;
use super::wire::Wire;
use crate::raft::message::{Body, InstallSnapshot, Roster};
use crate::raft::types::Raft;

/// The gRPC service through which the other nodes of the cluster reach this one. It belongs on the addresses of
/// `--listen-peer-urls` and nowhere else.
#[derive(Clone)]
pub struct PeerService {
    server: RaftServer<Peers>,
}

impl PeerService {
    pub(super) fn new(wire: Wire) -> PeerService {
        let server = RaftServer::new(Peers { wire, strangers: Arc::default() });
        let server = server.max_decoding_message_size(MESSAGE_BYTES_MAX);
        PeerService { server: server.max_encoding_message_size(MESSAGE_BYTES_MAX) }
    }
}

impl fmt::Debug for PeerService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PeerService::NAME)
    }
}

impl NamedService for PeerService {
    const NAME: &'static str = raft_server::SERVICE_NAME;
}

impl Service<http::Request<HttpBody>> for PeerService {
    type Response = http::Response<HttpBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<http::Request<HttpBody>>::poll_ready(&mut self.server, context)
    }

    fn call(&mut self, request: http::Request<HttpBody>) -> Self::Future {
        self.server.call(request)
    }
}

/// Those whose messages are not read. More are not told of: whoever makes up names must not fill the log.
const STRANGERS_MAX: usize = 16;

#[derive(Clone)]
struct Peers {
    wire: Wire,
    strangers: Arc<Mutex<BTreeSet<(u64, u64)>>>,
}

impl Peers {
    fn raft(&self) -> Result<Raft, Status> {
        self.wire.raft().ok_or_else(|| Status::unavailable("the journal node is stopping"))
    }

    fn read<B: Body>(&self, message: Message) -> Result<B, Status> {
        let who = (message.cluster, message.from);
        let bytes = message.body.len();
        if message.cluster == self.wire.envelope().cluster {
            self.wire.count(message.from, |peer| peer.received(bytes));
        }
        self.wire.envelope().open(message).inspect_err(|status| {
            let mut strangers = self.strangers.lock();
            let is_stranger = status.code() == Code::FailedPrecondition;
            if is_stranger && strangers.len() < STRANGERS_MAX && strangers.insert(who) {
                tracing::error!("refused: {}", status.message());
            }
        })
    }

    async fn answer<Q, A, E, F>(
        &self,
        request: Request<Message>,
        ask: impl FnOnce(Raft, Q) -> F,
    ) -> Result<Response<Message>, Status>
    where
        Q: Body,
        A: Body,
        E: fmt::Display,
        F: Future<Output = Result<A, E>>,
    {
        let question = self.read(request.into_inner())?;
        let answer = ask(self.raft()?, question).await;
        let answer = answer.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(Response::new(self.wire.envelope().seal(&answer)))
    }
}

/// A request that cannot be read ends the requests; what was wrong with it ends the answers.
type Flaw = Arc<Mutex<Option<Status>>>;

#[tonic::async_trait]
impl raft_server::Raft for Peers {
    type AppendStream = Pin<Box<dyn Stream<Item = Result<Message, Status>> + Send>>;

    async fn append(
        &self,
        request: Request<Streaming<Message>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        let raft = self.raft()?;
        let (peers, flaw) = (self.clone(), Flaw::default());
        let noted = flaw.clone();
        let requests = request.into_inner().map_while(move |message| {
            let request = message.and_then(|message| peers.read(message));
            let request = request.map_err(|status| *noted.lock() = Some(status)).ok()?;
            peers.wire.hear();
            Some(request)
        });
        let envelope = self.wire.envelope();
        let answers = raft.stream_append(requests).map(move |answer| match answer {
            Ok(answer) => Ok(envelope.seal(&answer)),
            Err(fatal) => Err(Status::unavailable(fatal.to_string())),
        });
        let last = tokio_stream::once(()).filter_map(move |()| flaw.lock().take().map(Err));
        Ok(Response::new(Box::pin(answers.chain(last))))
    }

    async fn vote(&self, request: Request<Message>) -> Result<Response<Message>, Status> {
        self.answer(request, |raft, question| async move { raft.vote(question).await }).await
    }

    async fn pre_vote(&self, request: Request<Message>) -> Result<Response<Message>, Status> {
        self.answer(request, |raft, question| async move { raft.pre_vote(question).await }).await
    }

    async fn install_snapshot(&self, request: Request<Message>) -> Result<Response<Message>, Status> {
        let install = |raft: Raft, InstallSnapshot { vote, snapshot }| async move {
            raft.install_full_snapshot(vote, snapshot).await
        };
        self.answer(request, install).await
    }

    async fn transfer_leader(&self, request: Request<Message>) -> Result<Response<Message>, Status> {
        self.answer(request, |raft, question| async move { raft.handle_transfer_leader(question).await })
            .await
    }

    async fn members(&self, request: Request<Message>) -> Result<Response<Message>, Status> {
        let _: Roster = self.read(request.into_inner())?;
        Ok(Response::new(self.wire.envelope().seal(&self.wire.roster())))
    }
}
