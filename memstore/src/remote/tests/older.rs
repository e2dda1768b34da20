//! A memstore of a version before a question was added: that question has no answer there, and all else goes on.

use std::sync::Arc;
use std::task::{Context, Poll};

use journal::{KeyRange, Revision, SystemClock};
use proto::memstore::memstore_server::MemstoreServer;
use tokio::net::TcpListener;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::transport::server::TcpIncoming;

use super::world::{CLUSTER, World, connect, reached, up};
use crate::doubt::HashedAt;
use crate::feed::Feed;
use crate::middle::MiddleOf;
use crate::query::Query;
use crate::service::MemstoreService;
use crate::watch::WatchLimits;
use crate::wire::reports::Identity;

#[derive(Clone)]
struct Older(MemstoreServer<MemstoreService>);

impl Service<http::Request<Body>> for Older {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::<http::Request<Body>>::poll_ready(&mut self.0, context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let newer = ["/Middle", "/SetHash", "/ThrowAway"];
        if newer.iter().any(|method| request.uri().path().ends_with(method)) {
            return Box::pin(async { Ok(Status::unimplemented("unknown method").into_http()) });
        }
        self.0.call(request)
    }
}

#[tokio::test]
async fn one_that_does_not_know_of_what_is_new_answers_all_else() {
    let world = World::start(&[], WatchLimits::default()).await;
    let mut lsn = world.put("a", vec![b'v'; 100]);
    lsn = lsn.max(world.put("b", vec![b'v'; 100]));
    let identity = Identity { cluster: CLUSTER, process: 1, name: "m1".to_owned() };
    let (feed, clock) = (Feed::Fed(world.journal.clone()), Arc::new(SystemClock::default()));
    let farewell = world.node.farewell();
    let service = MemstoreService::of(world.node.handle(), identity, feed, clock, farewell);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let (server, incoming) = (tonic::transport::Server::builder(), TcpIncoming::from(listener));
    let served = tokio::spawn(async move {
        let stop = std::future::pending();
        server
            .serve_with_incoming_shutdown(Older(service), incoming, stop)
            .await
            .expect("the port stays open");
    });

    let there = connect(&url, CLUSTER);
    up(&there).await;
    reached(&there, lsn).await;
    let id = there.partitions()[0].id;
    assert_eq!(world.there.middle(id, MiddleOf::Bytes).await, Ok(Some("b".into())));
    assert_eq!(there.middle(id, MiddleOf::Bytes).await, Ok(None));
    let (revision, compacted) = (world.journal.revision(), Revision::ZERO);
    assert_eq!(there.set_hash(id, HashedAt { lsn, revision, compacted }).await, Ok(None));
    let found = there.range(id, Query::latest(KeyRange::all())).await.expect("it is asked as ever");
    assert_eq!(found.count, 2);
    served.abort();
    world.close().await;
}
