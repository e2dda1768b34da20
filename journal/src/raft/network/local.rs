//! Voters in one process, over links that a test can cut, slow down and make lose messages.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RaftNetworkV2};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_stream::{Stream, StreamExt};

use super::append_session::Interruptions;
use super::{VoteUnknown, failed, unreachable};
use crate::clock::{Clock, Wait};
use crate::raft::contact::Contact;
use crate::raft::types::{Raft, Snapshot, Types, Vote};

/// Where the voters of one process meet.
#[derive(Clone)]
pub(crate) struct Hub {
    links: Arc<Mutex<Links>>,
    interruptions: Arc<Interruptions>,
    clock: Arc<dyn Clock>,
}

#[derive(Default)]
struct Links {
    nodes: BTreeMap<u64, Raft>,
    contacts: BTreeMap<u64, Contact>,
    /// From, to.
    cut: BTreeSet<(u64, u64)>,
    delay: Duration,
    loss: Option<Loss>,
    /// Links, from and to, on which the answers to appends wait, and how many of them may pass.
    held: BTreeMap<(u64, u64), Arc<Semaphore>>,
    /// Nodes of a version that does not know `CurrentVote`.
    old: BTreeSet<u64>,
}

/// Single messages that get lost, by chance.
struct Loss {
    /// One of so many.
    one_in: u64,
    dice: u64,
}

impl Loss {
    fn strikes(&mut self) -> bool {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice.is_multiple_of(self.one_in)
    }
}

#[cfg(test)]
impl Hub {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Hub {
        Hub { links: Arc::default(), interruptions: Arc::default(), clock }
    }

    /// Nothing passes between `node` and `others` any more, in neither direction.
    pub(crate) fn cut(&self, node: u64, others: impl IntoIterator<Item = u64>) {
        let pairs = others.into_iter().flat_map(|other| [(node, other), (other, node)]);
        self.links.lock().cut.extend(pairs);
    }

    /// From here on one message of `one_in` is lost: a question, or the answer of one that was heard. Behind a lost
    /// message of a stream nothing else of it arrives, as of a connection that was reset.
    pub(crate) fn lose(&self, one_in: u64, seed: u64) {
        self.links.lock().loss = Some(Loss { one_in, dice: seed | 1 });
    }

    /// Every link works again, and loses nothing.
    pub(crate) fn heal(&self) {
        let mut links = self.links.lock();
        links.cut.clear();
        links.held.clear();
        links.loss = None;
    }

    /// From here on requests on the link are lost, and the answers to appends that were heard before wait.
    pub(crate) fn hold_answers(&self, from: u64, to: u64) {
        let mut links = self.links.lock();
        links.cut.insert((from, to));
        links.held.insert((from, to), Arc::new(Semaphore::new(0)));
    }

    /// From here on requests of `node` to these others are lost.
    pub(crate) fn lose_requests(&self, node: u64, others: impl IntoIterator<Item = u64>) {
        self.links.lock().cut.extend(others.into_iter().map(|other| (node, other)));
    }

    /// Lets the oldest answer that waits on the link arrive.
    pub(crate) fn deliver_answer(&self, from: u64, to: u64) {
        self.links.lock().held[&(from, to)].add_permits(1);
    }

    /// Makes the node one of the version before, which does not know `CurrentVote`.
    pub(crate) fn make_old(&self, node: u64) {
        self.links.lock().old.insert(node);
    }

    /// How long every message travels.
    pub(crate) fn delay(&self, delay: Duration) {
        self.links.lock().delay = delay;
    }
}

impl Hub {
    pub(super) fn join(&self, node: u64, raft: &Raft) {
        self.links.lock().nodes.insert(node, raft.clone());
    }

    pub(super) fn leave(&self, node: u64) {
        let mut links = self.links.lock();
        links.nodes.remove(&node);
        links.contacts.remove(&node);
    }

    /// The contact of the node with its leader, which a restart begins anew.
    pub(super) fn contact(&self, node: u64) -> Contact {
        self.links.lock().contacts.entry(node).or_default().clone()
    }

    pub(super) fn interruptions(&self) -> &Interruptions {
        &self.interruptions
    }

    /// A message of a leader, whose vote this is, has come to the node.
    fn hear(&self, node: u64, vote: &Vote) {
        self.contact(node).hear(vote, self.clock.now());
    }

    /// Whether the message that is under way does not arrive. To be asked once for each.
    fn loses(&self, from: u64, to: u64) -> bool {
        let mut links = self.links.lock();
        links.cut.contains(&(from, to)) || links.loss.as_mut().is_some_and(Loss::strikes)
    }

    /// Waits where answers are held. Answers whether the answer arrives.
    async fn answer_arrives(&self, from: u64, to: u64) -> bool {
        let held = self.links.lock().held.get(&(from, to)).cloned();
        match held {
            Some(held) => {
                held.acquire().await.expect("it is never closed").forget();
                true
            }
            None => !self.loses(from, to),
        }
    }

    fn travel(&self) -> Option<Wait> {
        let delay = self.links.lock().delay;
        (!delay.is_zero()).then(|| self.clock.until(self.clock.now() + delay))
    }
}

/// The way to one other voter.
pub(crate) struct Link {
    pub(super) hub: Hub,
    pub(super) node: u64,
    pub(super) target: u64,
}

impl Link {
    /// The other end, if the message gets there.
    async fn there(&self) -> Result<(Raft, &Hub, u64), Unreachable<Types>> {
        let Link { hub, node, .. } = self;
        if let Some(travel) = hub.travel() {
            travel.await;
        }
        if hub.loses(*node, self.target) {
            return Err(unreachable("the message is lost"));
        }
        let raft = hub.links.lock().nodes.get(&self.target).cloned();
        Ok((raft.ok_or_else(|| unreachable("the node is down"))?, hub, *node))
    }

    /// There, and back with the answer.
    async fn call<A, E: std::fmt::Display, F: Future<Output = Result<A, E>>>(
        &self,
        question: impl FnOnce(Raft) -> F,
    ) -> Result<A, Unreachable<Types>> {
        let (raft, hub, node) = self.there().await?;
        let answer = question(raft).await.map_err(|error| unreachable(&error.to_string()))?;
        if let Some(travel) = hub.travel() {
            travel.await;
        }
        if hub.loses(self.target, node) { Err(unreachable("the message is lost")) } else { Ok(answer) }
    }
}

impl Link {
    pub(super) async fn current_vote(&self) -> Result<Vote, VoteUnknown> {
        if self.hub.links.lock().old.contains(&self.target) {
            return Err(VoteUnknown::Unsupported);
        }
        let held = self.call(|raft| async move { raft.with_raft_state(|state| *state.vote_ref()).await });
        held.await.map_err(VoteUnknown::Unreachable)
    }
}

impl RaftNetworkV2<Types> for Link {
    type SnapshotData = Bytes;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        Ok(self.call(|raft| async move { raft.append_entries(request).await }).await?)
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _: RPCOption,
    ) -> BoxFuture<
        's,
        Result<BoxStream<'s, Result<StreamAppendResult<Types>, RPCError<Types>>>, RPCError<Types>>,
    >
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            let (raft, hub, node) = match self.there().await {
                Ok(there) => there,
                Err(error) => return Ok(failed(input, error)),
            };
            let target = self.target;
            let sent = Sent { input, hub: hub.clone(), from: node, to: target, travelling: None };
            let answers = raft.stream_append(sent).then(move |answer| async move {
                if !hub.answer_arrives(target, node).await {
                    return Err(unreachable("the message is lost").into());
                }
                answer.map_err(|fatal| unreachable(&fatal.to_string()).into())
            });
            let answers: BoxStream<'s, _> = Box::pin(answers);
            Ok(answers)
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        _: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        Ok(self.call(|raft| async move { raft.vote(request).await }).await?)
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        _: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        Ok(self.call(|raft| async move { raft.pre_vote(request).await }).await?)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        Ok(self.call(|raft| async move { raft.install_full_snapshot(vote, snapshot).await }).await?)
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        _: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        Ok(self.call(|raft| async move { raft.handle_transfer_leader(request).await }).await?)
    }
}

/// Requests on their way. The stream ends where one is lost.
struct Sent<S> {
    input: S,
    hub: Hub,
    from: u64,
    to: u64,
    travelling: Option<(AppendEntriesRequest<Types>, Wait)>,
}

impl<S: Stream<Item = AppendEntriesRequest<Types>> + Unpin> Stream for Sent<S> {
    type Item = AppendEntriesRequest<Types>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.travelling.is_none() {
            let request = ready!(Pin::new(&mut self.input).poll_next(context));
            match (request, self.hub.travel()) {
                (Some(request), Some(travel)) => self.travelling = Some((request, travel)),
                (request, _) => return Poll::Ready(self.arrives(request)),
            }
        }
        let (_, travel) = self.travelling.as_mut().expect("set just before");
        ready!(travel.as_mut().poll(context));
        let request = self.travelling.take().map(|(request, _)| request);
        Poll::Ready(self.arrives(request))
    }
}

impl<S> Sent<S> {
    fn arrives(&self, request: Option<AppendEntriesRequest<Types>>) -> Option<AppendEntriesRequest<Types>> {
        let request = request.filter(|_| !self.hub.loses(self.from, self.to))?;
        self.hub.hear(self.to, &request.vote);
        Some(request)
    }
}
