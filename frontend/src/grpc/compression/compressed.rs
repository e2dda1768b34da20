//! A response's body with its messages compressed.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body as HttpBody, Frame};
use journal::machine;
use tonic::Status;

use super::{Compression, INLINE_BYTES_MAX, gzip};
use crate::grpc::BoxFuture;
use crate::grpc::body::Body;
use crate::grpc::frames::{COMPRESSED, Messages, PLAIN, framed};

/// The body. It asks for more of the plain one only once all that it has is sent.
pub(crate) struct Compressed {
    body: Body,
    messages: Messages,
    compression: Compression,
    /// A message that is worked on elsewhere.
    work: Option<BoxFuture<Bytes>>,
}

impl Compressed {
    pub(super) fn new(body: Body, compression: Compression) -> Compressed {
        Compressed { body, messages: Messages::default(), compression, work: None }
    }

    /// The frames of the small messages at hand, up to a large one, which is then worked on.
    fn next(&mut self) -> Option<Bytes> {
        let mut frames = BytesMut::new();
        while self.work.is_none()
            && let Some((prefix, message)) = self.messages.next()
        {
            match message.len() {
                // As in grpc-go: there is nothing to compress.
                0 => frames.extend_from_slice(&framed(prefix.format, &message)),
                1..=INLINE_BYTES_MAX => {
                    frames.extend_from_slice(&framed(COMPRESSED, &gzip::compress(&message)));
                }
                _ => self.work = Some(Box::pin(compress(self.compression.clone(), message))),
            }
        }
        (!frames.is_empty()).then(|| frames.freeze())
    }
}

/// A large message goes out as it is where there is no room for a second form of it: a receiver takes both.
async fn compress(compression: Compression, message: Bytes) -> Bytes {
    let _permit = compression.workers.acquire().await.expect("it is never closed");
    let plain = message.clone();
    let answers = compression.answers.clone();
    let work = machine::spawn_blocking(move || {
        let bytes_max = plain.len() + plain.len() / 1000 + 64;
        let compressed = answers.answer(bytes_max, 0, || framed(COMPRESSED, &gzip::compress(&plain)));
        compressed.unwrap_or_else(|_| framed(PLAIN, &plain))
    });
    work.await.unwrap_or_else(|_| framed(PLAIN, &message))
}

impl HttpBody for Compressed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        loop {
            if let Some(frames) = this.next() {
                return Poll::Ready(Some(Ok(Frame::data(frames))));
            }
            if let Some(work) = &mut this.work {
                let frame = ready!(work.as_mut().poll(context));
                this.work = None;
                return Poll::Ready(Some(Ok(Frame::data(frame))));
            }
            match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                None => return Poll::Ready(None),
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
