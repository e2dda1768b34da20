//! etcd's Watch service: unpack, hand to the session, pack.
//!
//! Written by hand and not generated, because an event is encoded once for all its watchers: the codec
//! sends those bytes as they are (see `codec`).

mod codec;
mod frame_queue;
mod stream;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use proto::etcdserverpb::WatchRequest;
use tonic::body::Body;
use tonic::server::{Grpc, StreamingService};
use tonic::{Request, Response, Status, Streaming};
use tower_service::Service;

use self::codec::WatchCodec;
use self::frame_queue::AnswerStream;
pub(crate) use self::stream::WatchContext;

/// The service's name in gRPC's paths.
pub(crate) const NAME: &str = "etcdserverpb.Watch";

/// The service.
#[derive(Clone)]
pub(crate) struct WatchService {
    context: Arc<WatchContext>,
}

impl WatchService {
    pub(crate) fn new(context: WatchContext) -> WatchService {
        WatchService { context: Arc::new(context) }
    }
}

impl<B> Service<http::Request<B>> for WatchService
where
    B: hyper::body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let method = Method { context: self.context.clone() };
        Box::pin(async move {
            // The connection has bounded the message already.
            let mut grpc = Grpc::new(WatchCodec).apply_max_message_size_config(Some(usize::MAX), None);
            Ok(grpc.streaming(method, request).await)
        })
    }
}

struct Method {
    context: Arc<WatchContext>,
}

impl StreamingService<WatchRequest> for Method {
    type Response = codec::Frame;
    type ResponseStream = AnswerStream;
    type Future = std::future::Ready<Result<Response<AnswerStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<WatchRequest>>) -> Self::Future {
        std::future::ready(Ok(Response::new(stream::start(self.context.clone(), request))))
    }
}
