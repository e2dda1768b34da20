//! One call, as it goes over the wire.

use proto::etcdserverpb::request_op::Request as Op;
use proto::etcdserverpb::{
    AlarmRequest, CompactionRequest, DefragmentRequest, DeleteRangeRequest, HashKvRequest, HashRequest,
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseLeasesRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest,
    MemberListRequest, MoveLeaderRequest, PutRequest, RangeRequest, RequestOp, StatusRequest, TxnRequest,
};
use tonic::Status;

use super::auth::AuthRequest;
use super::outcome::Outcome;
use crate::clients::Clients;

/// What may be asked of a store without knowing what it answered before.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    Range(RangeRequest),
    /// All its pieces, each as it came.
    Stream(RangeRequest),
    Put(PutRequest),
    Delete(DeleteRangeRequest),
    Txn(TxnRequest),
    Compact(CompactionRequest),
    Grant(LeaseGrantRequest),
    Revoke(LeaseRevokeRequest),
    /// One, on a stream of its own.
    KeepAlive(LeaseKeepAliveRequest),
    TimeToLive(LeaseTimeToLiveRequest),
    Leases(LeaseLeasesRequest),
    HashKv(HashKvRequest),
    /// At the revision of the last compaction, where etcd may tell what it noted when it compacted, and then the
    /// hash counts what is gone by now.
    HashOfCompacted(HashKvRequest),
    Hash,
    Alarm(AlarmRequest),
    Status,
    Defragment,
    MoveLeader(MoveLeaderRequest),
    Members,
    Auth(AuthRequest),
}

impl Request {
    /// Whether its answer is of no earlier moment than the question, at whichever endpoint. Headers of leases, alarms and
    /// statuses tell how far the endpoint is.
    #[must_use]
    pub fn is_linearizable(&self) -> bool {
        match self {
            Request::Range(range) | Request::Stream(range) => !range.serializable,
            Request::Txn(txn) => {
                let serializable = |op: &RequestOp| matches!(&op.request, Some(Op::RequestRange(range)) if range.serializable);
                !txn.success.iter().chain(&txn.failure).all(serializable)
            }
            Request::Put(_)
            | Request::Delete(_)
            | Request::Compact(_)
            | Request::Grant(_)
            | Request::Revoke(_)
            | Request::HashKv(_)
            | Request::HashOfCompacted(_)
            | Request::Hash
            | Request::Members => true,
            Request::KeepAlive(_)
            | Request::TimeToLive(_)
            | Request::Leases(_)
            | Request::Alarm(_)
            | Request::Status
            | Request::Defragment
            | Request::MoveLeader(_)
            | Request::Auth(_) => false,
        }
    }

    /// Asks, and blanks what may differ from store to store.
    pub async fn ask(&self, clients: &Clients) -> Outcome {
        self.call(clients.clone()).await.unwrap_or_else(|status| Outcome::refused(&status))
    }

    async fn call(&self, mut clients: Clients) -> Result<Outcome, Status> {
        Ok(match self.clone() {
            Request::Range(request) => Outcome::of(clients.kv.range(request).await?.into_inner()),
            Request::Stream(request) => {
                let mut stream = clients.kv.range_stream(request).await?.into_inner();
                let mut pieces = Vec::new();
                while let Some(piece) = stream.message().await? {
                    pieces.push(piece.range_response.unwrap_or_default());
                }
                Outcome::pieces(pieces)
            }
            Request::Put(request) => Outcome::of(clients.kv.put(request).await?.into_inner()),
            Request::Delete(request) => Outcome::of(clients.kv.delete_range(request).await?.into_inner()),
            Request::Txn(request) => Outcome::of(clients.kv.txn(request).await?.into_inner()),
            Request::Compact(request) => Outcome::of(clients.kv.compact(request).await?.into_inner()),
            Request::Grant(request) => Outcome::of(clients.lease.lease_grant(request).await?.into_inner()),
            Request::Revoke(request) => Outcome::of(clients.lease.lease_revoke(request).await?.into_inner()),
            Request::KeepAlive(request) => {
                let requests = tokio_stream::once(request);
                let mut answers = clients.lease.lease_keep_alive(requests).await?.into_inner();
                let answer = answers.message().await?;
                Outcome::of(answer.ok_or_else(|| Status::internal("the stream ended without an answer"))?)
            }
            Request::TimeToLive(request) => {
                Outcome::of(clients.lease.lease_time_to_live(request).await?.into_inner())
            }
            Request::Leases(request) => Outcome::of(clients.lease.lease_leases(request).await?.into_inner()),
            Request::HashKv(request) => Outcome::of(clients.maintenance.hash_kv(request).await?.into_inner()),
            Request::HashOfCompacted(request) => {
                Outcome::of(clients.maintenance.hash_kv(request).await?.into_inner()).without_hash()
            }
            Request::Hash => Outcome::of(clients.maintenance.hash(HashRequest {}).await?.into_inner()),
            Request::Status => Outcome::of(clients.maintenance.status(StatusRequest {}).await?.into_inner()),
            Request::Defragment => {
                Outcome::of(clients.maintenance.defragment(DefragmentRequest {}).await?.into_inner())
            }
            Request::MoveLeader(request) => {
                Outcome::of(clients.maintenance.move_leader(request).await?.into_inner())
            }
            Request::Members => {
                let request = MemberListRequest { linearizable: true };
                Outcome::of(clients.cluster.member_list(request).await?.into_inner())
            }
            Request::Auth(request) => request.call(clients.auth).await?,
            Request::Alarm(request) => Outcome::of(clients.maintenance.alarm(request).await?.into_inner()),
        })
    }
}
