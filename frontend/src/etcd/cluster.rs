//! etcd's Cluster service: who serves this API. A member is a frontend, because that is what a client can
//! reach; changing the list is the journal's business and comes with a later release.

use proto::etcdserverpb::cluster_server::Cluster;
use proto::etcdserverpb::{
    Member, MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse, MemberPromoteRequest,
    MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse, MemberUpdateRequest,
    MemberUpdateResponse,
};
use tonic::{Request, Response, Status};

use crate::answer::Position;
use crate::error::Error;
use crate::etcd::header::Identity;
use crate::store::Store;

/// What changes the list says.
const LATER: &str = "changing the members comes with a later release";

/// The service.
pub(crate) struct ClusterService {
    store: Store,
    identity: Identity,
    member: Member,
}

impl ClusterService {
    pub(crate) fn new(store: Store, identity: Identity, member: Member) -> ClusterService {
        ClusterService { store, identity, member }
    }
}

#[tonic::async_trait]
impl Cluster for ClusterService {
    async fn member_add(&self, _: Request<MemberAddRequest>) -> Result<Response<MemberAddResponse>, Status> {
        Err(Error::Unimplemented(LATER).into())
    }

    async fn member_remove(
        &self,
        _: Request<MemberRemoveRequest>,
    ) -> Result<Response<MemberRemoveResponse>, Status> {
        Err(Error::Unimplemented(LATER).into())
    }

    async fn member_update(
        &self,
        _: Request<MemberUpdateRequest>,
    ) -> Result<Response<MemberUpdateResponse>, Status> {
        Err(Error::Unimplemented(LATER).into())
    }

    async fn member_list(
        &self,
        _: Request<MemberListRequest>,
    ) -> Result<Response<MemberListResponse>, Status> {
        // etcd leaves the revision out here.
        let term = self.store.journal().status().borrow().term;
        let header = Some(self.identity.header(Position { term, ..Position::default() }));
        Ok(Response::new(MemberListResponse { header, members: vec![self.member.clone()] }))
    }

    async fn member_promote(
        &self,
        _: Request<MemberPromoteRequest>,
    ) -> Result<Response<MemberPromoteResponse>, Status> {
        Err(Error::Unimplemented(LATER).into())
    }
}
