//! What openraft's type parameters are in this journal.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use openraft::impls::leader_id_std;
use openraft::raft::responder::Responder;

use super::fence::Fence;
use super::peer::Peer;
use crate::lsn::Lsn;
use crate::machine;
use crate::record::Batch;
use crate::state::Applied;

/// The configuration type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Types;

impl openraft::RaftTypeConfig for Types {
    type D = Payload;
    type R = Applied;
    type NodeId = u64;
    type Node = Peer;
    type Term = u64;
    // A term has one leader, so a term alone names it in entries.
    type LeaderId = leader_id_std::LeaderId<u64, u64>;
    type Vote = openraft::Vote<Self::LeaderId>;
    type Payload = openraft::EntryPayload<Payload, u64, Peer>;
    type Entry = openraft::Entry<CommittedTerm, Self::Payload>;
    type AsyncRuntime = super::runtime::Runtime;
    type Responder<T>
        = Reply<T>
    where
        T: Send + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: Send + 'static;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

pub(crate) type CommittedTerm =
    <leader_id_std::LeaderId<u64, u64> as openraft::vote::RaftLeaderId>::Committed;
pub(crate) type RaftEntry = openraft::Entry<CommittedTerm, RaftPayload>;
pub(crate) type RaftPayload = openraft::EntryPayload<Payload, u64, Peer>;
pub(crate) type LogId = openraft::LogId<CommittedTerm>;
pub(crate) type Vote = openraft::Vote<leader_id_std::LeaderId<u64, u64>>;
pub(crate) type Membership = openraft::StoredMembership<CommittedTerm, u64, Peer>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<CommittedTerm, u64, Peer>;
pub(crate) type Snapshot = openraft::Snapshot<CommittedTerm, u64, Peer, Bytes>;
pub(crate) type Raft = openraft::Raft<Types, super::state_machine::StateMachine>;

/// The position of an entry.
pub(crate) fn lsn(id: &LogId) -> Lsn {
    Lsn(id.index() + 1)
}

/// The term of an entry.
pub(crate) fn term(id: &LogId) -> u64 {
    **id.committed_leader_id()
}

/// The entry at a position.
pub(crate) fn index(lsn: Lsn) -> u64 {
    lsn.0.checked_sub(1).expect("the position before everything has no entry")
}

/// A batch and its bytes: encoded once where it is proposed, decoded once where it is read.
#[derive(Clone)]
pub(crate) struct Payload {
    pub(crate) bytes: Bytes,
    pub(crate) batch: Arc<Batch>,
    /// Of a proposal that is not in the log yet.
    fence: Option<Fence>,
}

impl Payload {
    pub(crate) fn encode(batch: Batch) -> Payload {
        let mut bytes = Vec::with_capacity(crate::codec::batch_bytes(&batch));
        crate::codec::encode_batch(&batch, &mut bytes);
        Payload { bytes: Bytes::from(bytes), batch: Arc::new(batch), fence: None }
    }

    /// A proposal that is void where the fence is closed when it comes to the log.
    pub(crate) fn fenced(batch: Batch, fence: &Fence) -> Payload {
        Payload { fence: Some(fence.clone()), ..Payload::encode(batch) }
    }

    /// As `fenced`, and on another thread where there is much to encode. `None` where the runtime ends.
    pub(crate) async fn fenced_aside(batch: Batch, fence: &Fence) -> Option<Payload> {
        if !batch.is_long() {
            return Some(Payload::fenced(batch, fence));
        }
        let fence = fence.clone();
        match machine::spawn_blocking(move || Payload::fenced(batch, &fence)).await {
            Ok(payload) => Some(payload),
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => None,
            },
        }
    }

    /// Becomes what is written to the log.
    pub(super) fn pass_fence(&mut self) {
        if self.fence.take().is_some_and(|fence| fence.is_closed()) {
            let Batch { base_revision, wall_clock_ms, .. } = *self.batch;
            *self = Payload::encode(Batch { term: 0, base_revision, wall_clock_ms, records: Vec::new() });
        }
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<Payload, crate::codec::DecodeError> {
        let batch = Arc::new(crate::codec::decode_batch(bytes.clone())?);
        Ok(Payload { bytes, batch, fence: None })
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} records from {}", self.batch.records.len(), self.batch.base_revision)
    }
}

/// Called with what became of a proposal; dropped where nobody knows.
pub(crate) struct Reply<T>(pub(crate) Box<dyn FnOnce(T) + Send>);

impl<T: Send + 'static> Responder<Types, T> for Reply<T> {
    fn on_complete(self, result: T) {
        (self.0)(result);
    }
}
