//! A response on its way from gRPC's frames to JSON.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame};
use serde_json::json;
use tonic::{Code, Status};

use super::mapping::Mapping;
use crate::grpc::Body;

const GRPC_CONTENT_TYPE: HeaderName = HeaderName::from_static("grpc-metadata-content-type");
const PREFIX_BYTES: usize = 5;

/// The answer of a unary call.
pub(super) async fn one(response: Response<Body>, mapping: &Mapping) -> Response<Body> {
    match only(response, mapping).await {
        Ok(text) => answered(Body::Full(text.into())),
        Err(status) => refused(http_status(status.code()), &status),
    }
}

async fn only(response: Response<Body>, mapping: &Mapping) -> Result<Vec<u8>, Status> {
    let mut messages = Messages::of(response)?;
    let message = poll_fn(|context| messages.poll_next(context)).await;
    let message = message.unwrap_or_else(|| Err(Status::internal("a service has answered nothing")))?;
    let mut text = Vec::new();
    mapping.write(message, &mut text)?;
    Ok(text)
}

/// The answers of a stream, a line each. What goes wrong before the first one shows in the response's status.
pub(super) async fn many(response: Response<Body>, mapping: Mapping) -> Response<Body> {
    let mut messages = match Messages::of(response) {
        Ok(messages) => messages,
        Err(status) => return refused(http_status(status.code()), &status),
    };
    match poll_fn(|context| messages.poll_next(context)).await {
        None => Response::new(Body::Empty),
        Some(Err(status)) => {
            let mut response = answered(Body::Full(line("error", &error(&status))));
            *response.status_mut() = http_status(status.code());
            response.headers_mut().remove(GRPC_CONTENT_TYPE);
            response
        }
        Some(first) => {
            let lines = Lines { messages, mapping, first: Some(first), ended: false };
            answered(Body::Boxed(lines.boxed_unsync()))
        }
    }
}

/// A refusal as a document of its own.
pub(super) fn refused(code: StatusCode, status: &Status) -> Response<Body> {
    let mut response = Response::new(Body::Full(error(status).to_string().into()));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn answered(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(GRPC_CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

fn error(status: &Status) -> serde_json::Value {
    json!({"code": i32::from(status.code()), "message": status.message()})
}

fn line(name: &str, value: &serde_json::Value) -> Bytes {
    format!("{{\"{name}\":{value}}}\n").into()
}

/// gRPC's codes in HTTP's, as etcd has them.
pub(super) fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => StatusCode::from_u16(499).expect("it is a number of three digits"),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The messages of a response.
struct Messages {
    body: Body,
    frames: BytesMut,
}

impl Messages {
    /// # Errors
    /// The status, where it is all that was answered.
    fn of(response: Response<Body>) -> Result<Messages, Status> {
        if let Some(status) = Status::from_header_map(response.headers()) {
            return Err(status);
        }
        Ok(Messages { body: response.into_body(), frames: BytesMut::new() })
    }

    /// The next message, or how the call ended if not well.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        loop {
            if let Some(message) = self.message() {
                return Poll::Ready(Some(Ok(message)));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                None => return Poll::Ready(None),
                Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                Some(Ok(frame)) => {
                    let status = frame.trailers_ref().and_then(Status::from_header_map);
                    if let Some(status) = status {
                        let failed = status.code() != Code::Ok;
                        return Poll::Ready(failed.then_some(Err(status)));
                    }
                    if let Some(data) = frame.data_ref() {
                        self.frames.extend_from_slice(data);
                    }
                }
            }
        }
    }

    /// The first message, if all of it has come.
    fn message(&mut self) -> Option<Bytes> {
        let mut prefix = self.frames.get(1..PREFIX_BYTES)?;
        let bytes = prefix.get_u32() as usize;
        if self.frames.len() < PREFIX_BYTES + bytes {
            return None;
        }
        self.frames.advance(PREFIX_BYTES);
        Some(self.frames.split_to(bytes).freeze())
    }
}

/// A stream's messages, a line each.
struct Lines {
    messages: Messages,
    mapping: Mapping,
    first: Option<Result<Bytes, Status>>,
    ended: bool,
}

impl Lines {
    fn line(&mut self, message: Result<Bytes, Status>) -> Bytes {
        let mut text = b"{\"result\":".to_vec();
        match message.and_then(|message| self.mapping.write(message, &mut text)) {
            Ok(()) => {
                text.extend_from_slice(b"}\n");
                text.into()
            }
            Err(status) => {
                self.ended = true;
                line("error", &error(&status))
            }
        }
    }
}

impl HttpBody for Lines {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let message = match self.first.take() {
            Some(first) => Some(first),
            None => ready!(self.messages.poll_next(context)),
        };
        Poll::Ready(message.map(|message| Ok(Frame::data(self.line(message)))))
    }
}
