//! Compression of messages: gzip, which is the one that etcd speaks.
//!
//!     gzip frames ──► Decompressed ──plain frames──► the service ──plain frames──► Compressed ──► gzip frames
//!
//! A client that compresses its request gets a compressed response, as from grpc-go. Both bodies stand between the
//! connection and the call, so that limits, counters and services meet plain messages only. Large messages are
//! worked on beside the thread that serves.

mod compressed;
mod decompressed;
mod gzip;

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tokio::sync::Semaphore;
use tonic::Status;

pub(crate) use self::compressed::Compressed;
pub(crate) use self::decompressed::Decompressed;
pub(crate) use self::gzip::compress as gzip;
use super::answer_room::AnswerRoom;
use super::body::{Body, GRPC_STATUS};
use super::inbound::Inbound;

const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// Messages above this size are compressed and decompressed beside the thread that serves, which takes longer than
/// the change of thread.
const INLINE_BYTES_MAX: usize = 16 << 10;

/// Large messages of one frontend thread that are worked on at once. More wait, and their streams with them.
const WORKERS_MAX: usize = 2;

/// How the messages of a call are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
}

impl Encoding {
    /// The encoding that a call names.
    ///
    /// # Errors
    /// `Unimplemented`, in grpc-go's words, where it is no encoding of etcd's.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Encoding, Status> {
        match headers.get_all(GRPC_ENCODING).iter().next_back().map(HeaderValue::as_bytes) {
            None | Some(b"" | b"identity") => Ok(Encoding::Identity),
            Some(b"gzip") => Ok(Encoding::Gzip),
            Some(other) => {
                let other = String::from_utf8_lossy(other);
                let text = format!("grpc: Decompressor is not installed for grpc-encoding {other:?}");
                Err(Status::unimplemented(text))
            }
        }
    }
}

/// The compression of one frontend thread.
#[derive(Clone)]
pub(crate) struct Compression {
    workers: Arc<Semaphore>,
    message_bytes_max: usize,
    answers: Arc<AnswerRoom>,
}

impl Compression {
    pub(crate) fn new(message_bytes_max: usize, answers: Arc<AnswerRoom>) -> Compression {
        Compression { workers: Arc::new(Semaphore::new(WORKERS_MAX)), message_bytes_max, answers }
    }

    /// The request with plain messages.
    pub(crate) fn decompressed(&self, request: Request<Inbound>) -> Request<Inbound> {
        let mut request =
            request.map(|body| Inbound::Decompressed(Box::new(Decompressed::new(body, self.clone()))));
        request.headers_mut().remove(GRPC_ENCODING);
        request.headers_mut().remove(GRPC_ACCEPT_ENCODING);
        request
    }

    /// The response with compressed messages. One that is all status has none.
    pub(crate) fn compressed(&self, response: Response<Body>) -> Response<Body> {
        if response.headers().contains_key(GRPC_STATUS) {
            return response;
        }
        let mut response =
            response.map(|body| Body::Compressed(Box::new(Compressed::new(body, self.clone()))));
        response.headers_mut().insert(GRPC_ENCODING, HeaderValue::from_static("gzip"));
        response
    }
}

#[cfg(test)]
mod tests;
