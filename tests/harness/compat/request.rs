//! One call, as it goes over the wire.

use proto::etcdserverpb::{
    AlarmRequest, CompactionRequest, DeleteRangeRequest, HashKvRequest, LeaseGrantRequest,
    LeaseLeasesRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest, PutRequest, RangeRequest, TxnRequest,
};
use tonic::Status;

use super::outcome::Outcome;
use crate::clients::Clients;

/// What may be asked of a store without knowing what it answered before.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    Range(RangeRequest),
    Put(PutRequest),
    Delete(DeleteRangeRequest),
    Txn(TxnRequest),
    Compact(CompactionRequest),
    Grant(LeaseGrantRequest),
    Revoke(LeaseRevokeRequest),
    TimeToLive(LeaseTimeToLiveRequest),
    Leases(LeaseLeasesRequest),
    HashKv(HashKvRequest),
    Alarm(AlarmRequest),
}

impl Request {
    /// Asks, and blanks what may differ from store to store.
    pub async fn ask(&self, clients: &Clients) -> Outcome {
        self.call(clients.clone()).await.unwrap_or_else(|status| Outcome::refused(&status))
    }

    async fn call(&self, mut clients: Clients) -> Result<Outcome, Status> {
        Ok(match self.clone() {
            Request::Range(request) => Outcome::of(clients.kv.range(request).await?.into_inner()),
            Request::Put(request) => Outcome::of(clients.kv.put(request).await?.into_inner()),
            Request::Delete(request) => Outcome::of(clients.kv.delete_range(request).await?.into_inner()),
            Request::Txn(request) => Outcome::of(clients.kv.txn(request).await?.into_inner()),
            Request::Compact(request) => Outcome::of(clients.kv.compact(request).await?.into_inner()),
            Request::Grant(request) => Outcome::of(clients.lease.lease_grant(request).await?.into_inner()),
            Request::Revoke(request) => Outcome::of(clients.lease.lease_revoke(request).await?.into_inner()),
            Request::TimeToLive(request) => {
                Outcome::of(clients.lease.lease_time_to_live(request).await?.into_inner())
            }
            Request::Leases(request) => Outcome::of(clients.lease.lease_leases(request).await?.into_inner()),
            Request::HashKv(request) => Outcome::of(clients.maintenance.hash_kv(request).await?.into_inner()),
            Request::Alarm(request) => Outcome::of(clients.maintenance.alarm(request).await?.into_inner()),
        })
    }
}
