//! A memstore in another process, behind the same handle.
//!
//!     Memstore ── questions ──► line ──────────► its service
//!        │  ▲                    ▲ breaks with the mirror
//!        │  └── mirror ◄── reports: what it serves, how far it is, what it holds
//!        └───── watches ───────────────────────► a stream each
//!
//! What is asked often is answered from the mirror, without a question. A memstore that says nothing for a second
//! counts as down, stopped processes and broken networks included: what was asked of it is `Unreachable` then, its
//! watch streams end, and whoever knows another replica asks that one.

mod follow;
mod line;
mod mirror;
#[cfg(test)]
mod tests;
mod watching;

use std::sync::Arc;

use bytes::Bytes;
use journal::{Clock, Dialer, LeaseId, Lsn, Revision};
use proto::memstore as message;
use proto::memstore::memstore_client::MemstoreClient;
use tokio::sync::{mpsc, oneshot};
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

use self::line::{CALLS_MAX, Call, Line};
use self::mirror::Mirror;
use crate::client::Memstore;
use crate::doubt::{Doubt, HashedAt, ReplicaHash};
use crate::error::Error;
use crate::hashing::{Hash, HashedPart, HashesAsked};
use crate::key_value::KeyValue;
use crate::memory::MemoryReservation;
use crate::middle::MiddleOf;
use crate::partition_id::PartitionId;
use crate::query::{Answer, At, Query};
use crate::wire::answers::Said;
use crate::wire::doubts;
use crate::wire::questions::Asked;
use crate::wire::reports::Position;

pub(crate) use self::follow::SIGN_OF_LIFE;
pub use self::mirror::Health;
pub(crate) use self::watching::RemoteStream;

/// Where a memstore is.
#[derive(Clone)]
pub struct Remote {
    /// Such as `http://10.0.0.1:2381`.
    pub url: String,
    /// The cluster that is meant. Another one's memstore refuses.
    pub cluster: u64,
    pub dialer: Dialer,
    pub clock: Arc<dyn Clock>,
}

impl Remote {
    /// A handle, which connects in the background, on the current runtime, until it and its copies are dropped.
    /// It serves nothing before the memstore has answered.
    ///
    /// # Errors
    /// `Io`: this is no URL.
    pub fn connect(self) -> Result<Memstore, Error> {
        let channel =
            |made: Result<Channel, journal::Error>| made.map_err(|error| Error::Io(error.to_string()));
        // One that reads slowly shall not keep reports from coming, nor a client that watches and does not read the
        // other clients from being told.
        let reports = channel(self.dialer.channel(&self.url))?;
        let questions = channel(self.dialer.channel(&self.url))?;
        let watches = channel(self.dialer.channel_of_many(&self.url))?;
        let mirror = follow::mirror(&self, reports);
        let (calls, called) = mpsc::channel(CALLS_MAX);
        let line = Line::new(questions, self.cluster, self.clock.clone(), called, mirror.clone());
        tokio::spawn(line.run());
        let Remote { url, cluster, .. } = self;
        Ok(Memstore::there(There { url: url.into(), cluster, calls, watches, mirror }))
    }
}

/// The handle's other body.
#[derive(Clone)]
pub(crate) struct There {
    pub(crate) url: Arc<str>,
    cluster: u64,
    calls: mpsc::Sender<Call>,
    watches: Channel,
    mirror: Mirror,
}

impl There {
    pub(crate) fn is(&self, other: &There) -> bool {
        self.calls.same_channel(&other.calls)
    }

    pub(crate) fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    pub(crate) async fn position_at(
        &self,
        partition: PartitionId,
        lsn: Lsn,
        revision: Revision,
    ) -> Result<Position, Error> {
        let told = self.mirror.position(partition)?;
        if lsn <= told.applied.lsn && revision <= told.applied.revision {
            return Ok(told);
        }
        match self.ask(Asked::Wait { partition, lsn, revision }).await? {
            Said::Reached(position) => Ok(position),
            other => Err(self.misunderstood(&other)),
        }
    }

    pub(crate) async fn range(&self, partition: PartitionId, query: Query) -> Result<Answer, Error> {
        match self.ask(Asked::Range { partition, query }).await? {
            Said::Found(answer) => Ok(answer),
            other => Err(self.misunderstood(&other)),
        }
    }

    pub(crate) async fn get_many(
        &self,
        partition: PartitionId,
        keys: &[Bytes],
        at: At,
        min_lsn: Lsn,
    ) -> Result<(Revision, Vec<Option<KeyValue>>), Error> {
        let asked = keys.len();
        match self.ask(Asked::GetMany { partition, keys: keys.to_vec(), at, min_lsn }).await? {
            Said::Values(at, values) if values.len() == asked => Ok((at, values)),
            other => Err(self.misunderstood(&other)),
        }
    }

    pub(crate) async fn lease_keys(
        &self,
        partition: PartitionId,
        lease: LeaseId,
        min_lsn: Lsn,
    ) -> Result<(Revision, Vec<Bytes>), Error> {
        match self.ask(Asked::LeaseKeys { partition, lease, min_lsn }).await? {
            Said::LeasedKeys(at, keys) => Ok((at, keys)),
            other => Err(self.misunderstood(&other)),
        }
    }

    pub(crate) async fn hash_kv(&self, upto: Revision, min_lsn: Lsn) -> Result<Hash, Error> {
        match self.ask(Asked::HashKv { upto, min_lsn }).await? {
            Said::Hash(hash) => Ok(hash),
            other => Err(self.misunderstood(&other)),
        }
    }

    pub(crate) async fn hashes(
        &self,
        partition: PartitionId,
        asked: HashesAsked,
        min_lsn: Lsn,
    ) -> Result<HashedPart, Error> {
        match self.ask(Asked::Hashes { partition, asked, min_lsn }).await? {
            Said::Hashed(part) => Ok(part),
            other => Err(self.misunderstood(&other)),
        }
    }

    pub(crate) async fn middle(&self, partition: PartitionId, of: MiddleOf) -> Result<Option<Bytes>, Error> {
        let mut client = MemstoreClient::new(self.watches.clone());
        let request = message::MiddleRequest {
            cluster: self.cluster,
            partition: partition.0,
            of_writes: of == MiddleOf::Writes,
        };
        Ok(self.answered(client.middle(request)).await?.and_then(|answered| answered.key))
    }

    pub(crate) async fn set_hash(
        &self,
        partition: PartitionId,
        at: HashedAt,
    ) -> Result<Option<ReplicaHash>, Error> {
        let mut client = MemstoreClient::new(self.watches.clone());
        let request = doubts::write_asked(self.cluster, partition, at);
        self.answered(client.set_hash(request)).await?.map(doubts::read_found).transpose()
    }

    pub(crate) async fn throw_away(&self, partition: PartitionId, doubt: Doubt) -> Result<(), Error> {
        let mut client = MemstoreClient::new(self.watches.clone());
        let request = doubts::write_doubt(self.cluster, partition, doubt);
        self.answered(client.throw_away(request)).await?.map(drop).ok_or(Error::Unreachable)
    }

    /// What a call of its own is answered. `None`: the memstore is of a version before it.
    async fn answered<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<Option<T>, Error> {
        let answered = tokio::select! {
            answered = call => answered,
            () = self.mirror.down() => return Err(Error::Unreachable),
        };
        match answered {
            Ok(answered) => Ok(Some(answered.into_inner())),
            Err(status) => match status.code() {
                Code::Unimplemented => Ok(None),
                Code::NotFound => Err(Error::WrongPartition),
                _ => Err(Error::Unreachable),
            },
        }
    }

    pub(crate) fn watch(&self) -> RemoteStream {
        RemoteStream::new(self.watches.clone(), self.cluster, self.mirror.clone())
    }

    async fn ask(&self, asked: Asked) -> Result<Said, Error> {
        let (reply, said) = oneshot::channel();
        let reservation = MemoryReservation::current();
        self.calls.send(Call { asked, reply, reservation }).await.map_err(|_| Error::Unreachable)?;
        match said.await.map_err(|_| Error::Unreachable)? {
            Said::Refused(error) => Err(error),
            said => Ok(said),
        }
    }

    fn misunderstood(&self, said: &Said) -> Error {
        tracing::error!(
            url = &*self.url,
            ?said,
            "a memstore answers what it was not asked: do the versions fit?"
        );
        Error::Unreachable
    }
}
