//! What is sent back.
//!
//! A unary answer is one piece of bytes and its trailers. A stream is whatever a service yields; it is counted as
//! it goes by, and it ends with a clear cause when the program stops, or when the leader that its client wants is
//! lost: a client then resumes elsewhere at once instead of finding out that a connection broke.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tonic::Status;

use super::BoxFuture;
use super::compression::Compressed;
use super::frames::Frames;
use super::guard::Guard;
use crate::metrics::rpc::Code;

pub(crate) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// A response's body.
#[derive(Default)]
pub(crate) enum Body {
    #[default]
    Empty,
    /// Plain HTTP.
    Full(Bytes),
    /// One gRPC message, with its trailers to follow.
    Message(Bytes),
    /// The trailers of a unary call that went well.
    Trailers,
    Stream(Box<Stream>),
    /// Any of gRPC's, compressed.
    Compressed(Box<Compressed>),
    /// What is sent while it is made.
    Boxed(UnsyncBoxBody<Bytes, Status>),
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match &mut *self {
            Body::Stream(stream) => return Pin::new(&mut **stream).poll_frame(context),
            Body::Compressed(body) => return Pin::new(&mut **body).poll_frame(context),
            Body::Boxed(body) => return Pin::new(body).poll_frame(context),
            Body::Empty | Body::Full(_) | Body::Message(_) | Body::Trailers => {}
        }
        Poll::Ready(match std::mem::take(&mut *self) {
            Body::Empty | Body::Stream(_) | Body::Compressed(_) | Body::Boxed(_) => None,
            Body::Full(bytes) => Some(Ok(Frame::data(bytes))),
            Body::Message(message) => {
                *self = Body::Trailers;
                Some(Ok(Frame::data(message)))
            }
            Body::Trailers => Some(Ok(Frame::trailers(went_well()))),
        })
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Body::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Empty => SizeHint::with_exact(0),
            Body::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Body::Message(_) | Body::Trailers | Body::Stream(_) | Body::Compressed(_) | Body::Boxed(_) => {
                SizeHint::default()
            }
        }
    }
}

fn went_well() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
    trailers
}

/// A body that a service streams.
pub(crate) struct Stream {
    inner: tonic::body::Body,
    frames: Frames,
    guard: Guard,
    cause: BoxFuture<Status>,
    ended: bool,
}

impl Stream {
    /// `cause` resolves when the stream is to end, and says why.
    pub(crate) fn new(inner: tonic::body::Body, guard: Guard, cause: BoxFuture<Status>) -> Stream {
        Stream { inner, frames: Frames::default(), guard, cause, ended: false }
    }

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match Pin::new(&mut self.inner).poll_frame(context) {
            Poll::Ready(frame) => Poll::Ready(self.passed(frame)),
            Poll::Pending => self.cause.as_mut().poll(context).map(|cause| Some(Ok(self.cut(cause)))),
        }
    }

    fn passed(
        &mut self,
        frame: Option<Result<Frame<Bytes>, Status>>,
    ) -> Option<Result<Frame<Bytes>, Status>> {
        match &frame {
            Some(Ok(frame)) => self.count(frame),
            Some(Err(_)) | None => self.ended = true,
        }
        frame
    }

    fn count(&mut self, frame: &Frame<Bytes>) {
        if let Some(data) = frame.data_ref() {
            let guard = &self.guard;
            let counted: Result<(), Infallible> = self.frames.pass(data, |prefix| {
                guard.sent(prefix.bytes);
                Ok(())
            });
            counted.expect("counting refuses nothing");
        }
        if let Some(trailers) = frame.trailers_ref() {
            self.guard.ended(code(trailers));
            self.ended = true;
        }
    }

    fn cut(&mut self, cause: Status) -> Frame<Bytes> {
        self.ended = true;
        let mut trailers = HeaderMap::new();
        cause.add_header(&mut trailers).expect("the text is plain ASCII");
        self.guard.ended(code(&trailers));
        Frame::trailers(trailers)
    }
}

/// The code that headers or trailers tell.
pub(crate) fn code(headers: &HeaderMap) -> Code {
    headers.get(GRPC_STATUS).map_or(Code::OK, |code| Code::parse(code.as_bytes()))
}
