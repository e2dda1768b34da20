//! etcd's KV service.

use proto::etcdserverpb as wire;
use proto::etcdserverpb::kv_server::Kv;
use tonic::{Request, Response, Status};

use crate::answer::Answered;
use crate::error::Error;
use crate::etcd::header::Identity;
use crate::etcd::pack;
use crate::etcd::range_stream::RangeStream;
use crate::etcd::validate::{self, Limits};
use crate::store::Store;

/// The service: unpack, call, pack.
#[derive(Clone)]
pub struct KvService {
    store: Store,
    identity: Identity,
    limits: Limits,
}

impl KvService {
    #[must_use]
    pub fn new(store: Store, identity: Identity, limits: Limits) -> KvService {
        KvService { store, identity, limits }
    }
}

#[tonic::async_trait]
impl Kv for KvService {
    type RangeStreamStream = RangeStream;

    async fn range(
        &self,
        request: Request<wire::RangeRequest>,
    ) -> Result<Response<wire::RangeResponse>, Status> {
        let range = request.into_inner();
        if !range.serializable && self.store.learns() {
            return Err(Error::NotForLearners.into());
        }
        let range = validate::range(range)?;
        let Answered { answer, at } = self.store.range(&range).await?;
        Ok(Response::new(pack::range(answer, Some(self.identity.header(at)))))
    }

    async fn range_stream(
        &self,
        request: Request<wire::RangeRequest>,
    ) -> Result<Response<RangeStream>, Status> {
        let streamed = validate::range_stream(request.into_inner())?;
        let bytes = self.limits.request_bytes_max;
        Ok(Response::new(RangeStream::open(self.store.clone(), self.identity, streamed, bytes)))
    }

    async fn put(&self, request: Request<wire::PutRequest>) -> Result<Response<wire::PutResponse>, Status> {
        let put = validate::put(request.into_inner(), &self.limits)?;
        let Answered { answer, at } = self.store.put(put).await?;
        Ok(Response::new(pack::put(answer, Some(self.identity.header(at)))))
    }

    async fn delete_range(
        &self,
        request: Request<wire::DeleteRangeRequest>,
    ) -> Result<Response<wire::DeleteRangeResponse>, Status> {
        let delete = validate::delete_range(request.into_inner(), &self.limits)?;
        let Answered { answer, at } = self.store.delete_range(&delete).await?;
        Ok(Response::new(pack::delete_range(answer, Some(self.identity.header(at)))))
    }

    async fn txn(&self, request: Request<wire::TxnRequest>) -> Result<Response<wire::TxnResponse>, Status> {
        let txn = validate::txn(request.into_inner(), &self.limits)?;
        let Answered { answer, at } = self.store.txn(&txn).await?;
        Ok(Response::new(pack::txn(answer, Some(self.identity.header(at)))))
    }

    async fn compact(
        &self,
        request: Request<wire::CompactionRequest>,
    ) -> Result<Response<wire::CompactionResponse>, Status> {
        let compact = validate::compact(request.get_ref());
        let Answered { at, .. } = self.store.compact(compact).await?;
        Ok(Response::new(wire::CompactionResponse { header: Some(self.identity.header(at)) }))
    }
}

#[cfg(test)]
mod tests;
