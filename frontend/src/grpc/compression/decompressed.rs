//! A request's body without its compression.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame};
use journal::machine;
use tonic::Status;

use super::{Compression, INLINE_BYTES_MAX, gzip};
use crate::grpc::BoxFuture;
use crate::grpc::frames::{COMPRESSED, Messages, PLAIN, framed};
use crate::grpc::inbound::Inbound;
use crate::grpc::received::fits;

/// The body. One compressed message is kept at a time, of at most the largest size.
pub(crate) struct Decompressed {
    body: Inbound,
    messages: Messages,
    compression: Compression,
    /// A message that is worked on elsewhere.
    work: Option<BoxFuture<Result<Bytes, Status>>>,
    ended: bool,
}

impl Decompressed {
    pub(super) fn new(body: Inbound, compression: Compression) -> Decompressed {
        Decompressed { body, messages: Messages::default(), compression, work: None, ended: false }
    }

    /// The next message's frame, or the work that leads to it; `None` where more must come first.
    fn next(&mut self) -> Result<Option<Bytes>, Status> {
        let bytes_max = self.compression.message_bytes_max;
        // Before the rest of it is kept.
        let Some(prefix) = self.messages.prefix() else { return Ok(None) };
        fits(prefix.bytes, bytes_max)?;
        let Some((prefix, message)) = self.messages.next() else { return Ok(None) };
        if prefix.format != COMPRESSED {
            // What else there may be is refused where plain messages are read.
            return Ok(Some(framed(prefix.format, &message)));
        }
        if message.len() <= INLINE_BYTES_MAX {
            match gzip::decompress(&message, bytes_max.min(INLINE_BYTES_MAX)) {
                Ok(plain) => return Ok(Some(framed(PLAIN, &plain))),
                Err(gzip::Error::Malformed(status)) => return Err(status),
                Err(gzip::Error::TooLarge) => {}
            }
        }
        self.work = Some(Box::pin(decompress(self.compression.clone(), message)));
        Ok(None)
    }
}

async fn decompress(compression: Compression, message: Bytes) -> Result<Bytes, Status> {
    let bytes_max = compression.message_bytes_max;
    let _permit = compression.workers.acquire().await.expect("it is never closed");
    let work = machine::spawn_blocking(move || {
        gzip::decompress(&message, bytes_max).map(|plain| framed(PLAIN, &plain))
    });
    match work.await {
        Ok(Ok(frame)) => Ok(frame),
        Ok(Err(gzip::Error::Malformed(status))) => Err(status),
        Ok(Err(gzip::Error::TooLarge)) => {
            let text = format!("grpc: received message after decompression larger than max {bytes_max}");
            Err(Status::resource_exhausted(text))
        }
        Err(error) => Err(Status::internal(format!("the message was not decompressed: {error}"))),
    }
}

impl HttpBody for Decompressed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        loop {
            if let Some(work) = &mut this.work {
                let frame = ready!(work.as_mut().poll(context));
                this.work = None;
                return Poll::Ready(Some(frame.map(Frame::data)));
            }
            match this.next() {
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(Frame::data(frame)))),
                Ok(None) if this.work.is_some() => continue,
                Ok(None) => {}
                Err(status) => return Poll::Ready(Some(Err(status))),
            }
            if this.ended {
                return Poll::Ready(None);
            }
            match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                None => {
                    this.ended = true;
                    let rest = this.messages.rest();
                    // A message that is cut off is refused where plain messages are read.
                    return Poll::Ready((!rest.is_empty()).then_some(Ok(Frame::data(rest))));
                }
                Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.messages.push(data),
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        false
    }
}
