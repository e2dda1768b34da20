//! What comes in, on its way to a service that tonic generated: counted, and cut off where a message is larger than
//! allowed, before any of that message is kept.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame};
use tonic::Status;

use super::frames::{COMPRESSED, Frames, PLAIN, Prefix};
use super::inbound::Inbound;
use super::method::MethodId;
use crate::metrics::rpc::RpcCounters;

/// A request's body.
pub(crate) struct Received {
    inner: Inbound,
    frames: Frames,
    method: MethodId,
    counters: Arc<RpcCounters>,
    message_bytes_max: usize,
}

impl Received {
    pub(crate) fn new(
        inner: Inbound,
        method: MethodId,
        counters: Arc<RpcCounters>,
        message_bytes_max: usize,
    ) -> Received {
        Received { inner, frames: Frames::default(), method, counters, message_bytes_max }
    }

    fn pass(&mut self, data: &[u8]) -> Result<(), Status> {
        let (counters, method, bytes_max) = (&self.counters, self.method, self.message_bytes_max);
        self.frames.pass(data, |prefix| {
            counters.received(method, prefix.bytes);
            fits(prefix.bytes, bytes_max)?;
            is_plain(prefix)
        })
    }
}

impl HttpBody for Received {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = std::task::ready!(Pin::new(&mut self.inner).poll_frame(context));
        Poll::Ready(frame.map(|frame| {
            let frame = frame?;
            if let Some(data) = frame.data_ref() {
                self.pass(data)?;
            }
            Ok(frame)
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
}

/// Refuses a message above the limit in grpc's own words, which clients know.
pub(crate) fn fits(bytes: usize, bytes_max: usize) -> Result<(), Status> {
    if bytes <= bytes_max {
        return Ok(());
    }
    let text = format!("grpc: received message larger than max ({bytes} vs. {bytes_max})");
    Err(Status::resource_exhausted(text))
}

/// Refuses a message that is compressed where the call does not say how.
pub(crate) fn is_plain(prefix: Prefix) -> Result<(), Status> {
    let text = match prefix.format {
        PLAIN => return Ok(()),
        COMPRESSED => "grpc: compressed flag set with identity or empty encoding".to_owned(),
        other => format!("grpc: received unexpected payload format {other}"),
    };
    Err(Status::internal(text))
}
