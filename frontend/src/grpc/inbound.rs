//! A request's body: what comes over HTTP/2, or what somebody else has put into gRPC's frames.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tonic::Status;

use super::compression::Decompressed;

/// The body.
pub(crate) enum Inbound {
    Connection(Incoming),
    Boxed(UnsyncBoxBody<Bytes, Status>),
    Decompressed(Box<Decompressed>),
}

impl HttpBody for Inbound {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match &mut *self {
            Inbound::Connection(body) => {
                let frame = std::task::ready!(Pin::new(body).poll_frame(context));
                Poll::Ready(frame.map(|frame| frame.map_err(|error| Status::from_error(Box::new(error)))))
            }
            Inbound::Boxed(body) => Pin::new(body).poll_frame(context),
            Inbound::Decompressed(body) => Pin::new(&mut **body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Inbound::Connection(body) => body.is_end_stream(),
            Inbound::Boxed(body) => body.is_end_stream(),
            Inbound::Decompressed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Inbound::Connection(body) => body.size_hint(),
            Inbound::Boxed(body) => body.size_hint(),
            Inbound::Decompressed(_) => SizeHint::default(),
        }
    }
}
