//! etcd's Election service: the leader is the first in a queue, and its place says what it proclaims.

mod observe;

use journal::LeaseId;
use proto::v3electionpb::election_server::Election;
use proto::v3electionpb::{
    CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest,
    ProclaimResponse, ResignRequest, ResignResponse,
};
use tonic::{Request, Response, Status};

use self::observe::Leaders;
use crate::answer::Answered;
use crate::client::{Place, Turns};
use crate::etcd::header::Identity;
use crate::etcd::status::{codeless, leader_missing, nobody_leads, not_leader};

/// The service.
pub(crate) struct ElectionService {
    turns: Turns,
    identity: Identity,
}

impl ElectionService {
    pub(crate) fn new(turns: Turns, identity: Identity) -> ElectionService {
        ElectionService { turns, identity }
    }
}

#[tonic::async_trait]
impl Election for ElectionService {
    type ObserveStream = Leaders;

    /// Answers when the candidate leads, and not before.
    async fn campaign(
        &self,
        request: Request<CampaignRequest>,
    ) -> Result<Response<CampaignResponse>, Status> {
        let CampaignRequest { name, lease, value } = request.into_inner();
        let lease = self.turns.lease(LeaseId(lease)).await.map_err(codeless)?;
        let joined = self.turns.join(&name, lease, value.clone()).await.map_err(codeless)?;
        let Answered { answer: joined, at } = joined;
        // The lease had a place already, which says something else.
        if joined.value != value {
            let said = self.turns.say(&joined.place, lease, value).await.map_err(codeless)?;
            if !said.answer {
                return Err(not_leader());
            }
        }
        if !joined.is_first {
            self.turns.wait(&name, &joined.place).await.map_err(codeless)?;
        }
        let Place { key, made } = joined.place;
        let leader = Some(LeaderKey { name, key, rev: made, lease: lease.0 });
        Ok(Response::new(CampaignResponse { header: Some(self.identity.header(at)), leader }))
    }

    async fn proclaim(
        &self,
        request: Request<ProclaimRequest>,
    ) -> Result<Response<ProclaimResponse>, Status> {
        let ProclaimRequest { leader, value } = request.into_inner();
        let LeaderKey { key, rev, lease, .. } = leader.ok_or_else(leader_missing)?;
        let lease = self.turns.lease(LeaseId(lease)).await.map_err(codeless)?;
        let said = self.turns.say(&Place { key, made: rev }, lease, value).await.map_err(codeless)?;
        match said {
            Answered { answer: true, at } => {
                Ok(Response::new(ProclaimResponse { header: Some(self.identity.header(at)) }))
            }
            Answered { answer: false, .. } => Err(not_leader()),
        }
    }

    async fn leader(&self, request: Request<LeaderRequest>) -> Result<Response<LeaderResponse>, Status> {
        let first = self.turns.first(&request.into_inner().name).await.map_err(codeless)?;
        let Answered { answer: leader, at } = first;
        let kv = Some(leader.ok_or_else(nobody_leads)?.into());
        Ok(Response::new(LeaderResponse { header: Some(self.identity.header(at)), kv }))
    }

    /// Every leader and everything it proclaims, from now on.
    async fn observe(&self, request: Request<LeaderRequest>) -> Result<Response<Leaders>, Status> {
        let name = request.into_inner().name;
        Ok(Response::new(Leaders::observe(self.turns.clone(), self.identity, name)))
    }

    /// Gives up leading. Whoever does not lead any more has done so.
    async fn resign(&self, request: Request<ResignRequest>) -> Result<Response<ResignResponse>, Status> {
        let LeaderKey { key, rev, .. } = request.into_inner().leader.ok_or_else(leader_missing)?;
        let left = self.turns.leave(&Place { key, made: rev }).await.map_err(codeless)?;
        Ok(Response::new(ResignResponse { header: Some(self.identity.header(left.at)) }))
    }
}

#[cfg(test)]
mod tests;
