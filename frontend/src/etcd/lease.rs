//! etcd's Lease service: unpack, call, pack.

use std::pin::Pin;
use std::time::Duration;

use journal::LeaseId;
use proto::etcdserverpb::lease_server::Lease;
use proto::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseLeasesRequest,
    LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse, LeaseStatus, LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse,
};
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use crate::answer::Answered;
use crate::etcd::header::Identity;
use crate::leases::{Granted, ttl_seconds_min};
use crate::store::Store;

/// What `LeaseTimeToLive` says of a lease that is not there.
const NO_LEASE: i64 = -1;

/// The service.
pub(crate) struct LeaseService {
    store: Store,
    identity: Identity,
    /// A shorter time is raised to this.
    ttl_seconds_min: i64,
}

impl LeaseService {
    pub(crate) fn new(store: Store, identity: Identity, election_timeout: Duration) -> LeaseService {
        LeaseService { store, identity, ttl_seconds_min: ttl_seconds_min(election_timeout) }
    }
}

type KeepAlives = Pin<Box<dyn Stream<Item = Result<LeaseKeepAliveResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Lease for LeaseService {
    async fn lease_grant(
        &self,
        request: Request<LeaseGrantRequest>,
    ) -> Result<Response<LeaseGrantResponse>, Status> {
        let LeaseGrantRequest { ttl, id } = request.into_inner();
        let granted = self.store.grant(LeaseId(id), ttl, self.ttl_seconds_min).await?;
        let Answered { answer: Granted { lease, ttl_seconds }, at } = granted;
        let header = Some(self.identity.header(at));
        Ok(Response::new(LeaseGrantResponse { header, id: lease.0, ttl: ttl_seconds, error: String::new() }))
    }

    async fn lease_revoke(
        &self,
        request: Request<LeaseRevokeRequest>,
    ) -> Result<Response<LeaseRevokeResponse>, Status> {
        let Answered { at, .. } = self.store.revoke(LeaseId(request.into_inner().id)).await?;
        Ok(Response::new(LeaseRevokeResponse { header: Some(self.identity.header(at)) }))
    }

    type LeaseKeepAliveStream = KeepAlives;

    /// One answer a request, in order. The next request is read when the last one is answered, so that a
    /// client which sends without reading fills its own window and nothing here.
    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<LeaseKeepAliveRequest>>,
    ) -> Result<Response<KeepAlives>, Status> {
        let (store, identity) = (self.store.clone(), self.identity);
        let answers = request.into_inner().then(move |request| {
            let (store, identity) = (store.clone(), identity);
            async move {
                let id = request?.id;
                let header = Some(identity.header(store.seen()));
                // A lease that is not there is told by a TTL of 0 and not by an error.
                let ttl = store.keep_alive(LeaseId(id)).await?.unwrap_or(0);
                Ok(LeaseKeepAliveResponse { header, id, ttl })
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<LeaseTimeToLiveRequest>,
    ) -> Result<Response<LeaseTimeToLiveResponse>, Status> {
        let LeaseTimeToLiveRequest { id, keys } = request.into_inner();
        let lease = self.store.lease(LeaseId(id), keys).await?;
        let header = Some(self.identity.header(self.store.seen()));
        let answer = LeaseTimeToLiveResponse { header, id, ..LeaseTimeToLiveResponse::default() };
        Ok(Response::new(match lease {
            None => LeaseTimeToLiveResponse { ttl: NO_LEASE, ..answer },
            Some(lease) => LeaseTimeToLiveResponse {
                ttl: lease.status.remaining_seconds,
                granted_ttl: lease.status.granted_seconds,
                keys: lease.keys,
                ..answer
            },
        }))
    }

    async fn lease_leases(
        &self,
        _request: Request<LeaseLeasesRequest>,
    ) -> Result<Response<LeaseLeasesResponse>, Status> {
        let leases = self.store.leases().await?;
        let leases = leases.into_iter().map(|lease| LeaseStatus { id: lease.0 }).collect();
        Ok(Response::new(LeaseLeasesResponse {
            header: Some(self.identity.header(self.store.seen())),
            leases,
        }))
    }
}
