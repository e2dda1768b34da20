//! What a node answers to its peers.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use openraft::raft::AppendEntriesRequest;
use parking_lot::Mutex;
use proto::raft::Message;
use proto::raft::raft_server::{self, RaftServer};
use tokio_stream::{Stream, StreamExt};
use tonic::body::Body as HttpBody;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic::{Code, Request, Response, Status, Streaming};

use super::envelope::MESSAGE_BYTES_MAX;
use super::recovery::Recovery;
use super::wire::Wire;
use crate::raft::message::{Body, InstallSnapshot, Roster};
use crate::raft::types::{Raft, Types, Vote};

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
        let read = self.wire.examine(&message).and_then(|()| self.wire.envelope().open(message));
        read.inspect_err(|status| {
            let mut strangers = self.strangers.lock();
            let is_stranger = status.code() == Code::FailedPrecondition;
            if is_stranger && strangers.len() < STRANGERS_MAX && strangers.insert(who) {
                tracing::error!("refused: {}", status.message());
            }
        })
    }

    /// Reads a message, once its sender is recorded.
    async fn take<B: Body>(&self, message: Message) -> Result<B, Status> {
        let admitted = self.wire.admit(&message).await;
        self.read(message).and_then(|body| admitted.map(|()| body))
    }

    /// # Errors
    /// `unavailable`: this node does not vote now.
    fn votes<Q>(&self, _: &Q) -> Result<(), Status> {
        if self.wire.registry().may_vote() {
            return Ok(());
        }
        Err(Status::unavailable("the journal node does not vote until it has what it had acknowledged"))
    }

    /// # Errors
    /// `unavailable`: this node has voted in a later term, which its disk does not know.
    fn follows(&self, vote: &Vote) -> Result<(), Status> {
        let missing = self.wire.registry().standing_now().missing.unwrap_or_default();
        if missing.term <= vote.leader_id.term {
            return Ok(());
        }
        Err(Status::unavailable(format!("the journal node has voted in term {}", missing.term)))
    }

    async fn answer<Q, A, E, F>(
        &self,
        request: Request<Message>,
        check: impl FnOnce(&Q) -> Result<(), Status>,
        ask: impl FnOnce(Raft, Q) -> F,
    ) -> Result<Response<Message>, Status>
    where
        Q: Body,
        A: Body,
        E: fmt::Display,
        F: Future<Output = Result<A, E>>,
    {
        let message = request.into_inner();
        let from = message.from;
        let question = self.take(message).await?;
        check(&question)?;
        let answer = ask(self.raft()?, question).await;
        let answer = answer.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(Response::new(self.wire.seal(from, &answer)))
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
        let mut requests = request.into_inner();
        let Some(first) = requests.message().await? else {
            return Ok(Response::new(Box::pin(tokio_stream::empty())));
        };
        let from = first.from;
        // What is wrong with it is told below, as of every later one.
        let _ = self.wire.admit(&first).await;
        let (peers, flaw, recovery) = (self.clone(), Flaw::default(), Recovery::new(self.wire.registry()));
        let (noted, told) = (flaw.clone(), recovery.clone());
        let requests = tokio_stream::once(Ok(first)).chain(requests).map_while(move |message| {
            let request = message.and_then(|message| peers.read::<AppendEntriesRequest<Types>>(message));
            let request = request.and_then(|request| peers.follows(&request.vote).map(|()| request));
            let request = request.map_err(|status| *noted.lock() = Some(status)).ok()?;
            peers.wire.hear(&request.vote);
            told.told(&request);
            Some(request)
        });
        let wire = self.wire.clone();
        let answers = raft.stream_append(requests).map(move |answer| match answer {
            Ok(answer) => {
                recovery.answered(&answer);
                Ok(wire.seal(from, &answer))
            }
            Err(fatal) => Err(Status::unavailable(fatal.to_string())),
        });
        let last = tokio_stream::once(()).filter_map(move |()| flaw.lock().take().map(Err));
        Ok(Response::new(Box::pin(answers.chain(last))))
    }

    async fn vote(&self, request: Request<Message>) -> Result<Response<Message>, Status> {
        let votes = |question: &_| self.votes(question);
        self.answer(request, votes, |raft, question| async move { raft.vote(question).await }).await
    }

    async fn pre_vote(&self, request: Request<Message>) -> Result<Response<Message>, Status> {
        let votes = |question: &_| self.votes(question);
        self.answer(request, votes, |raft, question| async move { raft.pre_vote(question).await }).await
    }

    async fn install_snapshot(&self, request: Request<Message>) -> Result<Response<Message>, Status> {
        let wire = self.wire.clone();
        let install = move |raft: Raft, InstallSnapshot { vote, snapshot }| async move {
            wire.hear(&vote);
            raft.install_full_snapshot(vote, snapshot).await
        };
        let follows = |question: &InstallSnapshot| self.follows(&question.vote);
        self.answer(request, follows, install).await
    }

    async fn transfer_leader(&self, request: Request<Message>) -> Result<Response<Message>, Status> {
        let votes = |question: &_| self.votes(question);
        let transfer = |raft: Raft, question| async move { raft.handle_transfer_leader(question).await };
        self.answer(request, votes, transfer).await
    }

    /// Through the queue that votes are granted through: what was granted before this call arrived is in the answer.
    async fn current_vote(&self, request: Request<Message>) -> Result<Response<Message>, Status> {
        let held = |raft: Raft, _: Vote| async move { raft.with_raft_state(|state| *state.vote_ref()).await };
        let votes = |question: &_| self.votes(question);
        self.answer(request, votes, held).await
    }

    async fn members(&self, request: Request<Message>) -> Result<Response<Message>, Status> {
        let message = request.into_inner();
        let from = message.from;
        self.wire.envelope().check(&message)?;
        // One that is refused learns why: from what the answer tells of it.
        let _ = self.wire.admit(&message).await;
        let _: Roster = self.wire.envelope().open(message)?;
        Ok(Response::new(self.wire.introduction(from)))
    }
}
