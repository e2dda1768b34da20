//! What an operator asks of a frontend beyond etcd's API: which partitions there are, and to change that.
//!
//!     mainstem partition split KEY ──► any frontend ──► journal: the next routes ──► every memstore goes over
//!
//! A change is one record of the journal. Memstores go over by themselves, while they serve.

pub mod command;

use std::sync::Arc;

use bytes::Bytes;
use journal::{Journal, RouteRefusal, Routes};
use proto::admin::admin_server::Admin;
use proto::admin::{Memstore, MergeRequest, Partition, Partitions, PartitionsRequest, SplitRequest};
use tonic::{Request, Response, Status};

use crate::error::Error;
use crate::route_change::{NotChanged, RouteChanger};
use crate::store::Store;

/// The service.
pub(crate) struct AdminService {
    store: Store,
    /// Where the keys are cut by whoever begins.
    split_keys: Vec<Bytes>,
}

impl AdminService {
    pub(crate) fn new(store: Store, split_keys: Vec<Bytes>) -> AdminService {
        AdminService { store, split_keys }
    }

    async fn change(
        &self,
        wish: impl Fn(&Routes) -> Result<Routes, RouteRefusal>,
    ) -> Result<Response<Partitions>, Status> {
        let journal: Journal = self.store.journal().clone();
        let mut changer = RouteChanger::new(journal);
        let begun = |routes: &Routes| match routes.version() {
            0 => routes.begin(&self.split_keys),
            _ => Ok(routes.clone()),
        };
        let wish = |routes: &Routes| Ok(Some(wish(&begun(routes)?)?.following(routes)));
        let changed = async { Ok(changer.change(wish).await) };
        match self.store.within(changed).await? {
            Ok(routes) => Ok(Response::new(write(&routes))),
            Err(NotChanged::Refused(refusal)) => Err(Status::failed_precondition(refusal.to_string())),
            Err(NotChanged::Failed(error)) => Err(error.into()),
        }
    }

    /// What is known once everything that was committed before is.
    async fn known(&self) -> Result<Arc<Routes>, Error> {
        let known = async {
            let upto = self.store.barrier().await?.lsn;
            let mut status = self.store.journal().status();
            let status =
                status.wait_for(|status| upto <= status.applied).await.map_err(|_| Error::Stopped)?;
            Ok(status.routes.clone())
        };
        self.store.within(known).await
    }
}

#[tonic::async_trait]
impl Admin for AdminService {
    async fn list(&self, _: Request<PartitionsRequest>) -> Result<Response<Partitions>, Status> {
        Ok(Response::new(write(&*self.known().await?)))
    }

    async fn split(&self, request: Request<SplitRequest>) -> Result<Response<Partitions>, Status> {
        let SplitRequest { key } = request.into_inner();
        // The status may be behind what another frontend has changed; the journal would say so, and later.
        self.known().await?;
        self.change(|routes| routes.split(&key)).await
    }

    async fn merge(&self, request: Request<MergeRequest>) -> Result<Response<Partitions>, Status> {
        let MergeRequest { partition } = request.into_inner();
        self.known().await?;
        self.change(|routes| routes.merge(partition)).await
    }
}

fn write(routes: &Routes) -> Partitions {
    let name = |id: &u64| routes.memstore(*id).map(|memstore| memstore.name.clone()).unwrap_or_default();
    let partitions = routes.partitions().iter().map(|route| Partition {
        id: route.partition,
        start: route.start.clone(),
        end: route.end.clone(),
        replicas: route.replicas.iter().map(name).collect(),
    });
    let memstores = routes.memstores().iter().map(|memstore| Memstore {
        name: memstore.name.clone(),
        url: memstore.url.clone(),
        zone: memstore.zone.clone(),
    });
    Partitions { version: routes.version(), partitions: partitions.collect(), memstores: memstores.collect() }
}
