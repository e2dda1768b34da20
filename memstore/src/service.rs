//! What a memstore answers to other processes.
//!
//!     Ask      a conversation each, with a bounded number of questions under way
//!     Watch    a stream each for one client's watchers, which its reader's pace bounds
//!     Follow   what is served at once when that changes, positions as they move, sizes twice a second
//!     Middle   where a partition is best cut in two
//!     SetHash, ThrowAway   what a replica holds, and that it is not what others do
//!
//! A memstore that another cluster's process calls refuses, and says whose it is.

mod conversation;
mod following;
mod reporting;
mod watching;

use std::pin::Pin;
use std::sync::Arc;

use journal::Clock;
use proto::memstore::memstore_server::{Memstore as Rpc, MemstoreServer};
use proto::memstore::{
    Answers, FollowRequest, MiddleKey, MiddleRequest, Nothing, Questions, Report, SetHash, SetHashRequest,
    ThrowAwayRequest, WatchChanges, WatchUpdates,
};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use self::conversation::Conversation;
use self::reporting::Reporting;
use self::watching::Watching;
use crate::client::Memstore;
use crate::error::Error;
use crate::farewell::Farewell;
use crate::feed::Feed;
use crate::middle::MiddleOf;
use crate::partition_id::PartitionId;
use crate::wire::reports::Identity;
use crate::wire::{MESSAGE_BYTES_MAX, doubts};

/// Messages that wait for a connection. When it is full, its stream stands still.
const MESSAGES_MAX: usize = 4;
/// The same of what a client watches: there may be thousands, of which some do not read.
const UPDATES_MAX: usize = 1;

type Out<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The service of one memstore.
pub struct MemstoreService {
    memstore: Memstore,
    identity: Identity,
    feed: Feed,
    clock: Arc<dyn Clock>,
    farewell: Farewell,
}

impl MemstoreService {
    pub(crate) fn of(
        memstore: Memstore,
        identity: Identity,
        feed: Feed,
        clock: Arc<dyn Clock>,
        farewell: Farewell,
    ) -> MemstoreServer<MemstoreService> {
        MemstoreServer::new(MemstoreService { memstore, identity, feed, clock, farewell })
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }
}

fn check(ours: u64, asked: u64) -> Result<(), Status> {
    if asked == ours {
        return Ok(());
    }
    Err(Status::failed_precondition(format!(
        "this memstore belongs to cluster {ours:x}, and you asked for {asked:x}: look at the addresses that its \
         journal knows of"
    )))
}

fn refusal(error: &Error) -> Status {
    match error {
        Error::WrongPartition => Status::not_found("this memstore does not serve the partition"),
        error => Status::unavailable(error.to_string()),
    }
}

#[tonic::async_trait]
impl Rpc for MemstoreService {
    type AskStream = Out<Answers>;
    type WatchStream = Out<WatchUpdates>;
    type FollowStream = Out<Report>;

    async fn ask(&self, request: Request<Streaming<Questions>>) -> Result<Response<Self::AskStream>, Status> {
        let (out, answers) = mpsc::channel(MESSAGES_MAX);
        let (memstore, busy) = (self.memstore.clone(), self.farewell.busy());
        let conversation = Conversation::new(memstore, self.identity.cluster, request.into_inner(), busy);
        tokio::spawn(conversation.run(out));
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn watch(
        &self,
        request: Request<Streaming<WatchChanges>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (out, updates) = mpsc::channel(UPDATES_MAX);
        let (stream, cluster) = (self.memstore.watch(), self.identity.cluster);
        let (clock, farewell) = (self.clock.clone(), self.farewell.clone());
        let watching = Watching::new(stream, cluster, request.into_inner(), clock, farewell);
        tokio::spawn(watching.run(out));
        Ok(Response::new(Box::pin(ReceiverStream::new(updates))))
    }

    async fn follow(&self, request: Request<FollowRequest>) -> Result<Response<Self::FollowStream>, Status> {
        let FollowRequest { cluster } = request.into_inner();
        if cluster != 0 {
            check(self.identity.cluster, cluster)?;
        }
        let (out, reports) = mpsc::channel(MESSAGES_MAX);
        let (memstore, identity) = (self.memstore.clone(), self.identity.clone());
        let (feed, clock, farewell) = (self.feed.clone(), self.clock.clone(), self.farewell.clone());
        let reporting = Reporting::new(memstore, identity, feed, clock, farewell);
        tokio::spawn(reporting.run(out));
        Ok(Response::new(Box::pin(ReceiverStream::new(reports))))
    }

    async fn middle(&self, request: Request<MiddleRequest>) -> Result<Response<MiddleKey>, Status> {
        let MiddleRequest { cluster, partition, of_writes } = request.into_inner();
        check(self.identity.cluster, cluster)?;
        let of = if of_writes { MiddleOf::Writes } else { MiddleOf::Bytes };
        match self.memstore.middle(PartitionId(partition), of).await {
            Ok(key) => Ok(Response::new(MiddleKey { key })),
            Err(error) => Err(refusal(&error)),
        }
    }

    async fn set_hash(&self, request: Request<SetHashRequest>) -> Result<Response<SetHash>, Status> {
        let request = request.into_inner();
        check(self.identity.cluster, request.cluster)?;
        let (partition, at) = doubts::read_asked(request);
        match self.memstore.set_hash(partition, at).await {
            Ok(Some(hash)) => Ok(Response::new(doubts::write_hash(self.identity.process, hash))),
            Ok(None) => Err(Status::unimplemented("nobody here knows of set hashes")),
            Err(Error::Compacted { compacted }) => Ok(Response::new(doubts::write_compacted(compacted))),
            Err(error) => Err(refusal(&error)),
        }
    }

    async fn throw_away(&self, request: Request<ThrowAwayRequest>) -> Result<Response<Nothing>, Status> {
        let request = request.into_inner();
        check(self.identity.cluster, request.cluster)?;
        let (partition, doubt) = doubts::read_doubt(request)?;
        // Of the start before nothing is left.
        if doubt.replica.process != self.identity.process {
            return Err(refusal(&Error::WrongPartition));
        }
        match self.memstore.throw_away(partition, doubt).await {
            Ok(()) => Ok(Response::new(Nothing {})),
            Err(error) => Err(refusal(&error)),
        }
    }
}
