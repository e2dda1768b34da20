//! What an operator asks of a frontend beyond etcd's API: which partitions there are and who serves them, and to
//! change that.
//!
//!     mainstem partition split KEY ──► any frontend ──► journal: the next routes ──► every memstore goes over
//!
//! A change is one record of the journal. Memstores go over by themselves, while they serve.

pub mod member;
mod others;
pub mod partition;
pub(crate) mod reach;
mod relocation;
pub(crate) mod trust;

use std::sync::Arc;

use bytes::Bytes;
use journal::{Journal, RouteRefusal, Routes};
use proto::admin::admin_server::Admin;
use proto::admin::{
    ForgetRequest, Memstore, MergeRequest, MoveRequest, Partition, Partitions, PartitionsRequest,
    SplitRequest,
};
use tonic::{Request, Response, Status};

use self::others::Others;
use self::relocation::{Relocation, id_of};
use crate::error::Error;
use crate::route_change::{NotChanged, RouteChanger};
use crate::store::Store;

/// Why what an operator typed was not done, for a person.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failure(pub(crate) String);

/// The service.
pub(crate) struct AdminService {
    store: Store,
    /// Where the keys are cut by whoever begins.
    split_keys: Vec<Bytes>,
    /// How many memstores should hold each partition.
    replicas: usize,
}

impl AdminService {
    pub(crate) fn new(store: Store, split_keys: Vec<Bytes>, replicas: usize) -> AdminService {
        AdminService { store, split_keys, replicas }
    }

    /// Changes the routes, and begins them where nobody has.
    async fn change(
        &self,
        wish: impl Fn(&Routes) -> Result<Routes, RouteRefusal>,
    ) -> Result<Response<Partitions>, Status> {
        let begun = |routes: &Routes| match routes.version() {
            0 => routes.begin(&self.split_keys),
            _ => Ok(routes.clone()),
        };
        let routes = self.make(|routes| Ok(Some(wish(&begun(routes)?)?.following(routes)))).await?;
        Ok(self.told(&routes))
    }

    async fn make(
        &self,
        wish: impl Fn(&Routes) -> Result<Option<Routes>, RouteRefusal>,
    ) -> Result<Arc<Routes>, Status> {
        let journal: Journal = self.store.journal().clone();
        let mut changer = RouteChanger::new(journal);
        let changed = async { Ok(changer.change(wish).await) };
        self.store.within(changed).await?.map_err(|why| match why {
            NotChanged::Refused(refusal) => refused(&refusal),
            NotChanged::Failed(error) => error.into(),
        })
    }

    /// What is known once everything that was committed before is.
    async fn known(&self) -> Result<Arc<Routes>, Error> {
        Ok(self.store.status_by_now().await?.routes)
    }

    fn told(&self, routes: &Routes) -> Response<Partitions> {
        Response::new(write(routes, Others::of(&self.store).ok().as_ref()))
    }
}

fn refused(refusal: &RouteRefusal) -> Status {
    Status::failed_precondition(refusal.to_string())
}

#[tonic::async_trait]
impl Admin for AdminService {
    async fn list(&self, _: Request<PartitionsRequest>) -> Result<Response<Partitions>, Status> {
        Ok(self.told(&*self.known().await?))
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

    async fn r#move(&self, request: Request<MoveRequest>) -> Result<Response<Partitions>, Status> {
        let MoveRequest { partition, from, to } = request.into_inner();
        let relocation = Relocation { partition, from, to, replicas: self.replicas };
        let others = Others::of(&self.store)?;
        let known = self.known().await?;
        relocation.begun(&known).map_err(|refusal| refused(&refusal))?;
        let target = relocation.target(&known).map_err(|refusal| refused(&refusal))?;
        if !others.answers(target).await {
            return Err(Status::failed_precondition(format!(
                "memstore {} does not answer: start it first",
                relocation.to
            )));
        }
        let routes = self.make(|routes| relocation.begun(routes)).await?;
        let memstore = routes.memstore(target).expect("a replica is a memstore that is there");
        others.serves(memstore, partition, |routes| relocation.ended(routes).map(drop)).await?;
        Ok(self.told(&*self.make(|routes| relocation.ended(routes)).await?))
    }

    async fn forget(&self, request: Request<ForgetRequest>) -> Result<Response<Partitions>, Status> {
        let ForgetRequest { memstore: name } = request.into_inner();
        let others = Others::of(&self.store)?;
        let memstore = id_of(&*self.known().await?, &name).map_err(|refusal| refused(&refusal))?;
        if others.answers(memstore).await {
            return Err(Status::failed_precondition(format!(
                "memstore {name} answers: stop it first, or it would register again"
            )));
        }
        // It may have been another's name meanwhile.
        Ok(self.told(&*self.make(|routes| routes.unregister(id_of(routes, &name)?).map(Some)).await?))
    }
}

fn write(routes: &Routes, others: Option<&Others<'_>>) -> Partitions {
    let name = |id: &u64| routes.memstore(*id).map(|memstore| memstore.name.clone()).unwrap_or_default();
    let names = |ids: &[u64]| ids.iter().map(name).collect();
    let partitions = routes.partitions().iter().map(|route| Partition {
        id: route.partition,
        start: route.start.clone(),
        end: route.end.clone(),
        replicas: names(&route.replicas),
        serving: others
            .map(|others| names(&others.serving(route.partition, &route.replicas)))
            .unwrap_or_default(),
    });
    let memstores = routes.memstores().iter().map(|memstore| Memstore {
        name: memstore.name.clone(),
        url: memstore.url.clone(),
        zone: memstore.zone.clone(),
        is_up: others.map(|others| others.is_up(memstore.id)),
    });
    Partitions { version: routes.version(), partitions: partitions.collect(), memstores: memstores.collect() }
}
