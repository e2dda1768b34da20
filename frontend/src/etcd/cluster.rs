//! etcd's Cluster service: the journal's members, as the journal itself has them.

use std::time::SystemTime;

use journal::MemberChange;
use proto::etcdserverpb as wire;
use proto::etcdserverpb::cluster_server::Cluster;
use tonic::{Request, Response, Status};

use crate::answer::Position;
use crate::config::{member_id, peer_urls};
use crate::error::Error;
use crate::etcd::header::Identity;
use crate::store::Store;

/// The service.
pub(crate) struct ClusterService {
    store: Store,
    identity: Identity,
    /// Whether others can reach this member, so that some can be added.
    serves_peers: bool,
}

impl ClusterService {
    pub(crate) fn new(store: Store, identity: Identity, serves_peers: bool) -> ClusterService {
        ClusterService { store, identity, serves_peers }
    }

    /// etcd leaves the revision out here.
    fn header(&self) -> Option<wire::ResponseHeader> {
        let term = self.store.journal().status_now().term;
        Some(self.identity.header(Position { term, ..Position::default() }))
    }

    async fn change(&self, change: MemberChange) -> Result<Vec<wire::Member>, Error> {
        let members = self.store.change_members(change).await?;
        Ok(members.into_iter().map(to_wire).collect())
    }
}

fn to_wire(member: journal::Member) -> wire::Member {
    let journal::Member { id, name, peer_urls, client_urls, learner, awaits_vote: _ } = member;
    wire::Member { id, name, peer_ur_ls: peer_urls, client_ur_ls: client_urls, is_learner: learner }
}

/// Seconds since 1970: with them a member that comes back to an address gets another id than the one before.
fn now_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_secs())
}

#[tonic::async_trait]
impl Cluster for ClusterService {
    async fn member_add(
        &self,
        request: Request<wire::MemberAddRequest>,
    ) -> Result<Response<wire::MemberAddResponse>, Status> {
        let wire::MemberAddRequest { peer_ur_ls, is_learner } = request.into_inner();
        let peer_urls = peer_urls(&peer_ur_ls).ok_or(Error::BadMemberUrls)?;
        if !self.serves_peers {
            return Err(Error::ServesNoPeers.into());
        }
        let id = member_id(&peer_urls, &now_seconds().to_string());
        let added = journal::Member { id, peer_urls, learner: is_learner, ..journal::Member::default() };
        let members = self.change(MemberChange::Add(added.clone())).await?;
        let (header, member) = (self.header(), Some(to_wire(added)));
        Ok(Response::new(wire::MemberAddResponse { header, member, members }))
    }

    async fn member_remove(
        &self,
        request: Request<wire::MemberRemoveRequest>,
    ) -> Result<Response<wire::MemberRemoveResponse>, Status> {
        let members = self.change(MemberChange::Remove { id: request.into_inner().id }).await?;
        Ok(Response::new(wire::MemberRemoveResponse { header: self.header(), members }))
    }

    async fn member_update(
        &self,
        request: Request<wire::MemberUpdateRequest>,
    ) -> Result<Response<wire::MemberUpdateResponse>, Status> {
        let wire::MemberUpdateRequest { id, peer_ur_ls } = request.into_inner();
        // etcd takes any text here, and then cannot reach the member.
        let peer_urls = peer_urls(&peer_ur_ls).ok_or(Error::BadMemberUrls)?;
        let members = self.change(MemberChange::Update { id, peer_urls }).await?;
        Ok(Response::new(wire::MemberUpdateResponse { header: self.header(), members }))
    }

    async fn member_list(
        &self,
        request: Request<wire::MemberListRequest>,
    ) -> Result<Response<wire::MemberListResponse>, Status> {
        let members = self.store.members(request.into_inner().linearizable).await?;
        let members = members.into_iter().map(to_wire).collect();
        Ok(Response::new(wire::MemberListResponse { header: self.header(), members }))
    }

    async fn member_promote(
        &self,
        request: Request<wire::MemberPromoteRequest>,
    ) -> Result<Response<wire::MemberPromoteResponse>, Status> {
        let members = self.change(MemberChange::Promote { id: request.into_inner().id }).await?;
        Ok(Response::new(wire::MemberPromoteResponse { header: self.header(), members }))
    }
}
