//! etcd's Lock service: a lock is the first place in a queue.

use journal::{KeyRange, LeaseId};
use proto::v3lockpb::lock_server::Lock;
use proto::v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse};
use tonic::{Request, Response, Status};

use crate::answer::Answered;
use crate::client::Turns;
use crate::etcd::header::Identity;
use crate::etcd::status::{codeless, session_expired};
use crate::operation::DeleteRange;

/// The service.
pub(crate) struct LockService {
    turns: Turns,
    identity: Identity,
}

impl LockService {
    pub(crate) fn new(turns: Turns, identity: Identity) -> LockService {
        LockService { turns, identity }
    }
}

#[tonic::async_trait]
impl Lock for LockService {
    /// Answers when the lock is held, and not before.
    async fn lock(&self, request: Request<LockRequest>) -> Result<Response<LockResponse>, Status> {
        let LockRequest { name, lease } = request.into_inner();
        let lease = self.turns.lease(LeaseId(lease)).await.map_err(codeless)?;
        let joined = self.turns.join(&name, lease, bytes::Bytes::new()).await.map_err(codeless)?;
        let Answered { answer: joined, mut at } = joined;
        if !joined.is_first {
            self.turns.wait(&name, &joined.place).await.map_err(codeless)?;
            let held = self.turns.holds(&joined.place).await.map_err(codeless)?;
            at = held.ok_or_else(session_expired)?;
        }
        Ok(Response::new(LockResponse { header: Some(self.identity.header(at)), key: joined.place.key }))
    }

    async fn unlock(&self, request: Request<UnlockRequest>) -> Result<Response<UnlockResponse>, Status> {
        let keys = KeyRange::Single(request.into_inner().key);
        let deleted = self.turns.client().delete_at(&DeleteRange { keys, prev_kv: false }).await;
        let Answered { at, .. } = deleted.map_err(codeless)?;
        Ok(Response::new(UnlockResponse { header: Some(self.identity.header(at)) }))
    }
}
