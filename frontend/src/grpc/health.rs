//! `grpc.health.v1`: what load balancers and probes ask. The server as a whole, named "", is well as long as it
//! answers; it has no parts that could be asked for. Who watches it is told so once, and learns that it is over by the
//! stream's end.

use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use http::Request;
use hyper::body::{Body as HttpBody, Frame};
use prost::Message;
use tonic::{Response, Status};

use super::{Answer, BoxFuture, Context, Inbound, Service, Unary};

pub(crate) const NAME: &str = "grpc.health.v1.Health";

const SERVING: i32 = 1;
const SERVICE_UNKNOWN: i32 = 3;

#[derive(Clone, PartialEq, Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

#[derive(Clone, PartialEq, Message)]
struct HealthListRequest {}

#[derive(Clone, PartialEq, Message)]
struct HealthListResponse {
    #[prost(map = "string, message", tag = "1")]
    statuses: std::collections::HashMap<String, HealthCheckResponse>,
}

pub(crate) struct Health;

impl Service for Health {
    fn call(&self, context: Context, request: Request<Inbound>) -> BoxFuture<Answer> {
        let name = context.method.method().name();
        let unary = Unary::of(context);
        Box::pin(async move {
            match name {
                "List" => Answer::Whole(unary.answer(request, list).await),
                "Check" => Answer::Whole(unary.answer(request, check).await),
                _ => watch(unary, request).await,
            }
        })
    }
}

async fn check(request: tonic::Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
    match request.get_ref().service.as_str() {
        "" => Ok(Response::new(HealthCheckResponse { status: SERVING })),
        _ => Err(Status::not_found("unknown service")),
    }
}

async fn list(_: tonic::Request<HealthListRequest>) -> Result<Response<HealthListResponse>, Status> {
    let statuses = [(String::new(), HealthCheckResponse { status: SERVING })].into();
    Ok(Response::new(HealthListResponse { statuses }))
}

async fn watch(unary: Unary, request: Request<Inbound>) -> Answer {
    let request: HealthCheckRequest = match unary.read(request.into_body()).await {
        Ok(request) => request,
        Err(status) => return Answer::Whole(status.into_http()),
    };
    let status = if request.service.is_empty() { SERVING } else { SERVICE_UNKNOWN };
    let message = HealthCheckResponse { status }.encode_to_vec();
    let mut first = BytesMut::with_capacity(16);
    first.put_u8(0);
    first.put_u32(u32::try_from(message.len()).expect("it is two bytes long"));
    first.put_slice(&message);
    let body = tonic::body::Body::new(Said { first: Some(first.freeze()) });
    let mut response = http::Response::new(body);
    let kind = http::HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    Answer::Streamed(response)
}

/// A stream that says one thing and stays open.
struct Said {
    first: Option<Bytes>,
}

impl HttpBody for Said {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(Frame::data(first)))),
            None => Poll::Pending,
        }
    }
}
