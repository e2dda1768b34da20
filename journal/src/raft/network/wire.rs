//! Voters in processes of their own, over gRPC.
//!
//!     heartbeats, votes ──► talk ─┐
//!                                 ├─► the peer's URL, the next of them where one does not answer
//!     appends, snapshots ─► bulk ─┘
//!
//! Two connections a peer, so that nothing large stands before a sign of life. Where a peer is reached is looked up
//! for every call: it may have moved.

mod addresses;
mod admission;
mod call;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::base::BoxFuture;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RaftNetworkV2};
use parking_lot::Mutex;
use proto::raft::Message;
use proto::raft::raft_client::RaftClient;
use tokio::sync::futures::OwnedNotified;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::Channel;
use tonic::{Code, Status};

use self::call::Method;
use super::append_session::Interruptions;
use super::book::Book;
use super::envelope::{Envelope, MESSAGE_BYTES_MAX};
use super::exchange::Exchange;
use super::service::PeerService;
use super::{Answers, timely, unreachable};
use crate::clock::Clock;
use crate::dial::Dialer;
use crate::lsn::Lsn;
use crate::peer_metrics::{PeerMetrics, PeersMetrics};
use crate::raft::contact::Contact;
use crate::raft::membership::Voters;
use crate::raft::message::{InstallSnapshot, Roster};
use crate::raft::peer::Peer;
use crate::raft::peer_activity::PeerActivity;
use crate::raft::types::{Raft, Snapshot, Types, Vote};
use crate::raft::voter_registry::VoterRegistry;

/// How long a peer may take until a stream to it is open.
const OPEN_MAX: Duration = Duration::from_secs(2);
/// How long a peer may take to tell who its members are.
const ROSTER_MAX: Duration = Duration::from_secs(1);

/// Which of the connections to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    Talk,
    Bulk,
}

/// The network of one node. Clones are the same.
#[derive(Clone)]
pub(crate) struct Wire {
    shared: Arc<Shared>,
}

struct Shared {
    envelope: Envelope,
    registry: VoterRegistry,
    dialer: Dialer,
    /// Whom messages are for, while the node runs.
    raft: Mutex<Option<Raft>>,
    roster: Mutex<Roster>,
    book: Mutex<Book>,
    contact: Contact,
    activity: PeerActivity,
    peers: Arc<PeersMetrics>,
    interruptions: Interruptions,
    clock: Arc<dyn Clock>,
}

impl Wire {
    pub(crate) fn new(
        cluster: u64,
        node: u64,
        dialer: Dialer,
        clock: Arc<dyn Clock>,
        registry: VoterRegistry,
    ) -> Wire {
        let shared = Shared {
            envelope: Envelope { cluster, node },
            registry,
            dialer,
            raft: Mutex::default(),
            roster: Mutex::new(Roster { at: Lsn::ZERO, members: Voters::default() }),
            book: Mutex::default(),
            contact: Contact::default(),
            activity: PeerActivity::default(),
            peers: Arc::default(),
            interruptions: Interruptions::default(),
            clock,
        };
        Wire { shared: Arc::new(shared) }
    }

    /// What serves the node to its peers.
    pub(crate) fn service(&self) -> PeerService {
        PeerService::new(self.clone())
    }

    pub(super) fn join(&self, raft: &Raft) {
        *self.shared.raft.lock() = Some(raft.clone());
    }

    pub(super) fn leave(&self) {
        *self.shared.raft.lock() = None;
    }

    pub(super) fn raft(&self) -> Option<Raft> {
        self.shared.raft.lock().clone()
    }

    pub(super) fn envelope(&self) -> Envelope {
        self.shared.envelope
    }

    /// The members as of what is applied here.
    pub(crate) fn roster(&self) -> Roster {
        self.shared.roster.lock().clone()
    }

    pub(in crate::raft) fn dialer(&self) -> &Dialer {
        &self.shared.dialer
    }

    /// What is counted of the others.
    pub(crate) fn metrics(&self) -> Arc<PeersMetrics> {
        self.shared.peers.clone()
    }

    /// The same of one, if it is a member.
    pub(super) fn count(&self, peer: u64, what: impl FnOnce(&PeerMetrics)) {
        if let Some(metrics) = self.shared.peers.of(peer) {
            what(&metrics);
        }
    }

    pub(super) fn interruptions(&self) -> &Interruptions {
        &self.shared.interruptions
    }

    /// A leader has spoken, whose vote this is.
    pub(in crate::raft) fn hear(&self, vote: &Vote) {
        self.shared.contact.hear(vote, self.shared.clock.now());
    }

    pub(in crate::raft) fn contact(&self) -> &Contact {
        &self.shared.contact
    }

    /// Returns true where the peer has been connected long enough to count when members change.
    pub(in crate::raft) fn is_steady(&self, peer: u64) -> bool {
        self.shared.activity.is_steady(peer, self.shared.clock.now())
    }

    /// Returns true where a message of the peer came within this time, and no connection to it broke since.
    pub(in crate::raft) fn is_heard(&self, peer: u64, within: Duration) -> bool {
        self.shared.activity.is_heard(peer, self.shared.clock.now(), within)
    }

    /// The members as of what is applied at `peer`, or `None` where it tells by none of its URLs, or where this node itself
    /// answers there.
    pub(crate) async fn roster_of(&self, peer: u64) -> Option<Roster> {
        let link = Link { wire: self.clone(), target: peer, lane: Lane::Talk };
        let urls = self.shared.book.lock().peers.get(&peer).map_or(0, |place| place.urls.len());
        for _ in 0..urls {
            let answer = link.call(Method::Members, &self.roster(), ROSTER_MAX).await;
            if self.own_url_of(peer).is_some() {
                return None;
            }
            if let Ok(roster) = answer {
                return Some(roster);
            }
        }
        None
    }

    /// The peer does not answer at this URL: the next is tried from here on.
    pub(in crate::raft) fn turn_from(&self, peer: u64, url: &str) {
        if let Some(place) = self.shared.book.lock().peers.get_mut(&peer) {
            place.failed(url);
        }
    }

    pub(super) fn link(&self, target: u64, peer: &Peer, lane: Lane) -> Link {
        self.shared.book.lock().note(target, &peer.peer_urls);
        Link { wire: self.clone(), target, lane }
    }

    /// Answers the URL, too, by which the peer is reached.
    fn client(&self, peer: u64, lane: Lane) -> Result<(RaftClient<Channel>, String), Unreachable<Types>> {
        let mut book = self.shared.book.lock();
        let place = book.peers.get(&peer).filter(|place| !place.urls.is_empty());
        let place = place.ok_or_else(|| unreachable("nobody knows where the node is"))?;
        let url = place.url().to_owned();
        let channel = match book.channels.get(&(peer, lane)) {
            Some((known, channel)) if *known == url => channel.clone(),
            _ => {
                let dialed = self.shared.dialer.channel(&url);
                let channel = dialed.map_err(|error| unreachable(&error.to_string()))?;
                book.channels.insert((peer, lane), (url.clone(), channel.clone()));
                channel
            }
        };
        let client = RaftClient::new(channel)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        Ok((client, url))
    }

    /// Something was not answered: by chance, or because nobody is there, or because of who asks.
    fn note_failure(&self, peer: u64, url: &str, status: &Status) -> Unreachable<Types> {
        self.count(peer, PeerMetrics::failed);
        if is_break(status) {
            self.shared.activity.record_break(peer);
        }
        let mut book = self.shared.book.lock();
        match status.code() {
            Code::FailedPrecondition | Code::PermissionDenied if book.refused.insert(peer) => {
                tracing::error!(
                    peer = format!("{peer:016x}"),
                    "another journal node does not listen: {}",
                    status.message()
                );
            }
            Code::Unavailable | Code::DeadlineExceeded => {
                if let Some(place) = book.peers.get_mut(&peer) {
                    place.failed(url);
                }
            }
            _ => {}
        }
        unreachable(status.message())
    }
}

/// Returns true where the connection failed, and not the peer's response: only then does a status have a source.
fn is_break(status: &Status) -> bool {
    std::error::Error::source(status).is_some()
}

/// The way to one peer.
pub(crate) struct Link {
    wire: Wire,
    target: u64,
    /// Of appends. Everything else has its own.
    lane: Lane,
}

impl Link {
    /// Resolves when its session of appends is to end. Signs of life are not interrupted.
    pub(super) fn interruption(&self) -> Option<OwnedNotified> {
        (self.lane == Lane::Bulk).then(|| self.wire.interruptions().next(self.target))
    }

    async fn open<S>(
        &self,
        first: AppendEntriesRequest<Types>,
        rest: S,
    ) -> Result<Answers<'static>, Unreachable<Types>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        self.record_peer().await?;
        let (mut client, url) = self.wire.client(self.target, self.lane)?;
        let peer = self.wire.metrics().of(self.target).unwrap_or_default();
        let clock = self.wire.shared.clock.clone();
        // Of appends it would be the time that a disk takes.
        let exchange = Exchange::new(peer, clock, self.lane == Lane::Talk);
        let asked = exchange.clone();
        let (wire, target) = (self.wire.clone(), self.target);
        let requests = tokio_stream::once(first).chain(rest).map(move |request| {
            let message = wire.seal(target, &request);
            asked.sent(message.body.len());
            message
        });
        let answers = timely(OPEN_MAX, client.append(requests)).await;
        let answers =
            answers.map_err(|status| self.wire.note_failure(self.target, &url, &status))?.into_inner();
        let (wire, target) = (self.wire.clone(), self.target);
        let read = move |answer: Result<Message, Status>| {
            exchange.answered(answer.is_ok());
            let answer = answer.and_then(|answer| {
                wire.examine(&answer)?;
                wire.envelope().open::<StreamAppendResult<Types>>(answer)
            });
            answer.map_err(|status| wire.note_failure(target, &url, &status).into())
        };
        Ok(Box::pin(answers.map(read)))
    }
}

impl RaftNetworkV2<Types> for Link {
    type SnapshotData = Bytes;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let answer = async {
            let answer = self.open(request, tokio_stream::empty()).await?.next().await;
            answer.unwrap_or_else(|| Err(unreachable("the node did not answer").into()))
        };
        let answer = tokio::time::timeout(option.soft_ttl(), answer).await;
        let answer = answer.unwrap_or_else(|_| Err(unreachable("the node did not answer in time").into()));
        answer.map(AppendEntriesResponse::from)
    }

    /// A request is taken before anything can fail: see `super::failed`.
    fn stream_append<'s, S>(
        &'s mut self,
        mut input: S,
        _: RPCOption,
    ) -> BoxFuture<'s, Result<Answers<'s>, RPCError<Types>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            let Some(first) = input.next().await else {
                let nothing: Answers<'s> = Box::pin(tokio_stream::empty());
                return Ok(nothing);
            };
            match self.open(first, input).await {
                Ok(answers) => Ok(answers),
                Err(error) => {
                    let failed: Answers<'s> = Box::pin(tokio_stream::once(Err(error.into())));
                    Ok(failed)
                }
            }
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        Ok(self.call(Method::Vote, &request, option.soft_ttl()).await?)
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        Ok(self.call(Method::PreVote, &request, option.soft_ttl()).await?)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let question = InstallSnapshot { vote, snapshot };
        tokio::select! {
            answer = self.call(Method::InstallSnapshot, &question, option.soft_ttl()) => Ok(answer?),
            closed = cancel => Err(closed.into()),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        Ok(self.call(Method::TransferLeader, &request, option.soft_ttl()).await?)
    }
}
