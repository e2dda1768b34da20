//! A node that takes calls and answers none of them: alive, as far as connections can tell.

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::DropGuard;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::NamedService;

use super::*;
use crate::member::Member;

/// However slow the machine is.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone)]
struct Hangs;

impl NamedService for Hangs {
    const NAME: &'static str = proto::journal::journal_server::SERVICE_NAME;
}

impl Service<http::Request<Body>> for Hangs {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<Body>) -> Self::Future {
        Box::pin(std::future::pending())
    }
}

pub(super) async fn hanging() -> (String, DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        let serves =
            tonic::transport::Server::builder().serve_with_incoming(Hangs, TcpListenerStream::new(listener));
        drop(stopped.run_until_cancelled(serves).await);
    });
    (url, stop.drop_guard())
}

#[tokio::test]
async fn a_tail_goes_on_at_another_node_than_one_that_answers_nothing() {
    let served = Served::start(7).await;
    let journal = served.remote(None).connect().expect("an address");
    known(&journal).await;
    assert!(matches!(journal.append(put(1, "a")).await, Verdict::Committed { .. }));

    let (silent, _hangs) = hanging().await;
    let member = |id, url: &String| Member { id, peer_urls: vec![url.clone()], ..Member::default() };
    let members = vec![member(2, &silent), member(1, &served.url)];
    let (_says, status) =
        watch::channel(Status { cluster: 7, leader: Some(1), members, ..Status::default() });
    let mut tail = RemoteTails::new(served.remote(Some(7)), status).open(Lsn(1));
    let entries = tokio::time::timeout(PATIENCE, tail.next()).await.expect("the other one is asked");
    assert!(!entries.expect("nothing is trimmed").is_empty());
    served.node.close().await;
}
