//! How the voters of a cluster reach each other.
//!
//!     Alone    one voter: there is nobody to reach
//!     Local    voters in one process, over links that a test can cut, slow down and make lose messages
//!     Wire     voters in processes of their own, over gRPC
//!
//! Appends are pipelined: the next leaves before the one before it is answered.

mod append_session;
mod book;
mod envelope;
mod exchange;
mod local;
mod recovery;
mod service;
mod wire;

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RaftNetworkV2};
use tokio::sync::futures::OwnedNotified;
use tokio_stream::{Stream, StreamExt};
use tonic::Status;

use super::contact::Contact;
use super::peer::Peer;
use super::promise::DurablePromise;
use super::types::{Membership, Raft, Snapshot, Types, Vote, lsn};
use crate::lsn::Lsn;

pub(crate) use local::Hub;
pub use service::PeerService;
use wire::Lane;
pub(crate) use wire::Wire;

/// The network as one node sees it.
#[derive(Clone)]
pub(crate) enum Network {
    Alone,
    #[cfg_attr(not(test), expect(dead_code, reason = "several voters in one process: tests only"))]
    Local {
        hub: Hub,
        node: u64,
    },
    Wire(Wire),
}

impl Network {
    /// The node can be reached from here on.
    pub(crate) fn join(&self, raft: &Raft) {
        match self {
            Network::Alone => {}
            Network::Local { hub, node } => hub.join(*node, raft),
            Network::Wire(wire) => wire.join(raft),
        }
    }

    pub(crate) fn leave(&self) {
        match self {
            Network::Alone => {}
            Network::Local { hub, node } => hub.leave(*node),
            Network::Wire(wire) => wire.leave(),
        }
    }

    /// The contact that this node has with its leader.
    pub(super) fn contact(&self) -> Contact {
        match self {
            Network::Alone => Contact::default(),
            Network::Local { hub, node } => hub.contact(*node),
            Network::Wire(wire) => wire.contact().clone(),
        }
    }

    /// The nodes have these addresses from here on.
    pub(super) fn learn(&self, members: &Membership) {
        if let Network::Wire(wire) = self {
            wire.learn(members.log_id().as_ref().map_or(Lsn::ZERO, lsn), members.membership());
        }
    }

    /// Ends the sessions of appends to `target`: it has held up the trimming of the log for too long.
    pub(super) fn interrupt(&self, target: u64) {
        match self {
            Network::Alone => {}
            Network::Local { hub, .. } => hub.interruptions().interrupt(target),
            Network::Wire(wire) => wire.interruptions().interrupt(target),
        }
    }

    /// The promise of this node, which its log raises.
    pub(crate) fn promise(&self) -> DurablePromise {
        match self {
            Network::Alone | Network::Local { .. } => DurablePromise::default(),
            Network::Wire(wire) => wire.registry().own(),
        }
    }

    /// The vote that the voter `target` holds at some moment after this call began. `ours` is the caller's.
    pub(super) async fn current_vote(
        &self,
        target: u64,
        ours: &Vote,
        within: Duration,
    ) -> Result<Vote, VoteUnknown> {
        match self {
            Network::Alone => Err(VoteUnknown::Unreachable(unreachable(NOBODY))),
            Network::Local { hub, node } => {
                local::Link { hub: hub.clone(), node: *node, target }.current_vote().await
            }
            Network::Wire(wire) => wire.current_vote(target, ours, within).await,
        }
    }

    fn link(&self, target: u64, peer: &Peer, lane: Lane) -> Link {
        match self {
            Network::Alone => Link::Alone,
            Network::Local { hub, node } => {
                Link::Local(local::Link { hub: hub.clone(), node: *node, target })
            }
            Network::Wire(wire) => Link::Wire(wire.link(target, peer, lane)),
        }
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: u64, peer: &Peer) -> Link {
        self.link(target, peer, Lane::Bulk)
    }

    /// Nothing large may stand before a sign of life.
    async fn new_heartbeat_client(&mut self, target: u64, peer: &Peer) -> Link {
        self.link(target, peer, Lane::Talk)
    }
}

/// Reason why a voter's vote is not known.
#[derive(Debug)]
pub(super) enum VoteUnknown {
    /// The voter runs a version that does not know the request.
    Unsupported,
    Unreachable(Unreachable<Types>),
}

fn unreachable(why: &str) -> Unreachable<Types> {
    Unreachable::from_string(why)
}

async fn timely<T>(within: Duration, answer: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let late = || Status::deadline_exceeded(format!("no answer within {within:?}"));
    tokio::time::timeout(within, answer).await.unwrap_or_else(|_| Err(late()))
}

type Answers<'s> = BoxStream<'s, Result<StreamAppendResult<Types>, RPCError<Types>>>;

/// openraft waits before it hands out a request again, but not before it opens a stream again: whoever fails without
/// having taken a request is asked again at once, for ever. So the failure answers a request.
fn failed<'s, S>(input: S, error: Unreachable<Types>) -> Answers<'s>
where
    S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
{
    Box::pin(input.map(move |_| Err(error.clone().into())))
}

/// The way to one other voter.
pub(crate) enum Link {
    Alone,
    Local(local::Link),
    Wire(wire::Link),
}

const NOBODY: &str = "there is no network";

impl Link {
    /// Resolves when its session of appends is to end.
    fn interruption(&self) -> Option<OwnedNotified> {
        match self {
            Link::Alone => None,
            Link::Local(link) => Some(link.hub.interruptions().next(link.target)),
            Link::Wire(link) => link.interruption(),
        }
    }
}

impl RaftNetworkV2<Types> for Link {
    type SnapshotData = Bytes;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        match self {
            Link::Alone => Err(unreachable(NOBODY).into()),
            Link::Local(link) => link.append_entries(request, option).await,
            Link::Wire(link) => link.append_entries(request, option).await,
        }
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<Answers<'s>, RPCError<Types>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        let (input, session) = append_session::begin(input, self.interruption());
        Box::pin(async move {
            let answers = match self {
                Link::Alone => failed(input, unreachable(NOBODY)),
                Link::Local(link) => link.stream_append(input, option).await?,
                Link::Wire(link) => link.stream_append(input, option).await?,
            };
            Ok(session.responses(answers))
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        match self {
            Link::Alone => Err(unreachable(NOBODY).into()),
            Link::Local(link) => link.vote(request, option).await,
            Link::Wire(link) => link.vote(request, option).await,
        }
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        match self {
            Link::Alone => Err(unreachable(NOBODY).into()),
            Link::Local(link) => link.pre_vote(request, option).await,
            Link::Wire(link) => link.pre_vote(request, option).await,
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        match self {
            Link::Alone => Err(unreachable(NOBODY).into()),
            Link::Local(link) => link.full_snapshot(vote, snapshot, cancel, option).await,
            Link::Wire(link) => link.full_snapshot(vote, snapshot, cancel, option).await,
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        match self {
            Link::Alone => Err(unreachable(NOBODY).into()),
            Link::Local(link) => link.transfer_leader(request, option).await,
            Link::Wire(link) => link.transfer_leader(request, option).await,
        }
    }
}
