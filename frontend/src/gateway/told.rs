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

use super::json_writer::JsonWriter;
use super::mapping::Mapping;
use crate::grpc::Body;

const GRPC_CONTENT_TYPE: HeaderName = HeaderName::from_static("grpc-metadata-content-type");
const PREFIX_BYTES: usize = 5;

/// The answer of a unary call.
pub(super) async fn one(response: Response<Body>, mapping: &Mapping) -> Response<Body> {
    match only(response, mapping).await {
        Ok(body) => answered(body),
        Err(status) => refused(http_status(status.code()), &status),
    }
}

/// A short answer at once, and of a long one the text as the client takes it.
async fn only(response: Response<Body>, mapping: &Mapping) -> Result<Body, Status> {
    let mut messages = Messages::of(response)?;
    let message = poll_fn(|context| messages.poll_next(context)).await;
    let message = message.unwrap_or_else(|| Err(Status::internal("a service has answered nothing")))?;
    let mut text = Vec::new();
    let mut writer = mapping.writer(message);
    if writer.step(&mut text)? {
        return Ok(Body::Full(text.into()));
    }
    Ok(Body::Boxed(Document { begun: text, writer: Some(writer) }.boxed_unsync()))
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
            let lines = Lines { messages, mapping, first: Some(first), line: None, ended: false };
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
    /// The rest of a data frame, which is not copied: its memory is counted.
    frame: Bytes,
    /// A message that comes in several frames.
    frames: BytesMut,
}

impl Messages {
    /// # Errors
    /// The status, where it is all that was answered.
    fn of(response: Response<Body>) -> Result<Messages, Status> {
        if let Some(status) = Status::from_header_map(response.headers()) {
            return Err(status);
        }
        Ok(Messages { body: response.into_body(), frame: Bytes::new(), frames: BytesMut::new() })
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
                    if let Ok(data) = frame.into_data() {
                        self.frame = data;
                    }
                }
            }
        }
    }

    /// The first message, if all of it has come.
    fn message(&mut self) -> Option<Bytes> {
        if self.frames.is_empty()
            && let Some(bytes) = message_bytes(&self.frame)
        {
            self.frame.advance(PREFIX_BYTES);
            return Some(self.frame.split_to(bytes));
        }
        self.frames.extend_from_slice(&std::mem::take(&mut self.frame));
        let bytes = message_bytes(&self.frames)?;
        self.frames.advance(PREFIX_BYTES);
        let message = self.frames.split_to(bytes).freeze();
        self.frame = self.frames.split().freeze();
        Some(message)
    }
}

/// Length of the first message in `frames`; `None` where not all of it has come.
fn message_bytes(frames: &[u8]) -> Option<usize> {
    let mut prefix = frames.get(1..PREFIX_BYTES)?;
    let bytes = prefix.get_u32() as usize;
    (PREFIX_BYTES + bytes <= frames.len()).then_some(bytes)
}

/// A long answer.
struct Document {
    /// Text of the first step.
    begun: Vec<u8>,
    writer: Option<JsonWriter>,
}

impl HttpBody for Document {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut text = std::mem::take(&mut self.begun);
        if text.is_empty() {
            let Some(writer) = &mut self.writer else { return Poll::Ready(None) };
            match writer.step(&mut text) {
                Ok(true) => self.writer = None,
                Ok(false) => {}
                Err(status) => return Poll::Ready(Some(Err(status))),
            }
        }
        Poll::Ready(Some(Ok(Frame::data(text.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.writer.is_none()
    }
}

/// A stream's messages, a line each.
struct Lines {
    messages: Messages,
    mapping: Mapping,
    first: Option<Result<Bytes, Status>>,
    /// The line that is being written.
    line: Option<JsonWriter>,
    ended: bool,
}

impl Lines {
    /// Begins the line of a message.
    fn begin(&mut self, message: Result<Bytes, Status>) -> Bytes {
        match message {
            Ok(message) => {
                self.line = Some(self.mapping.writer(message));
                self.write(b"{\"result\":".to_vec())
            }
            Err(status) => self.end(&status),
        }
    }

    /// Goes on with the line behind `text`.
    fn write(&mut self, mut text: Vec<u8>) -> Bytes {
        let Some(writer) = &mut self.line else { return text.into() };
        match writer.step(&mut text) {
            Ok(true) => {
                self.line = None;
                text.extend_from_slice(b"}\n");
                text.into()
            }
            Ok(false) => text.into(),
            Err(status) => self.end(&status),
        }
    }

    fn end(&mut self, status: &Status) -> Bytes {
        self.ended = true;
        line("error", &error(status))
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
        if self.line.is_some() {
            return Poll::Ready(Some(Ok(Frame::data(self.write(Vec::new())))));
        }
        let message = match self.first.take() {
            Some(first) => Some(first),
            None => ready!(self.messages.poll_next(context)),
        };
        Poll::Ready(message.map(|message| Ok(Frame::data(self.begin(message)))))
    }
}
