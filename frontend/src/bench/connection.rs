//! An HTTP/2 connection to the store, and calls on it that cost as little as possible.
//!
//! A generator that competes with the store for the machine measures itself. So there is no gRPC library here: a
//! request is one frame in a buffer that is used again, an answer is looked at just enough to know what it says.
//! Its status is always looked at: an answer without one is a failure.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request};
use tokio::sync::Mutex;

use super::endpoint::{Endpoint, Method};
use super::failure::Failure;
use super::message::Messages;

/// How long a client leaves a broken connection alone, so that a dead store is not stormed.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(100);

/// One client's hold on a connection that it may share with others.
#[derive(Clone)]
pub(super) struct Connection {
    link: Arc<Link>,
    generation: u64,
    sender: SendRequest<Bytes>,
}

struct Link {
    endpoint: Endpoint,
    /// The connection of today, and how many there were before.
    current: Mutex<(u64, SendRequest<Bytes>)>,
}

/// A call that sends and receives many messages.
pub(super) struct Stream {
    /// Dropping it would end the call.
    _requests: SendStream<Bytes>,
    answers: Answers,
}

enum Answers {
    Awaited(ResponseFuture),
    Open(RecvStream, Messages),
}

impl Connection {
    pub(super) async fn open(endpoint: Endpoint) -> io::Result<Self> {
        let sender = endpoint.connect().await?;
        let link = Link { endpoint, current: Mutex::new((0, sender.clone())) };
        Ok(Self { link: Arc::new(link), generation: 0, sender })
    }

    /// One message there, one message back.
    pub(super) async fn call(&mut self, method: Method, frame: Bytes) -> Result<Bytes, Failure> {
        let (answer, _requests) = self.send(method, frame, true).await?;
        let (head, mut body) = answer.await.map_err(Failure::transport)?.into_parts();
        if body.is_end_stream() {
            check(&head.headers)?;
            return Err(Failure::malformed("an answer without a message"));
        }
        let mut messages = Messages::default();
        let mut message = None;
        while let Some(piece) = receive(&mut body).await? {
            messages.push(piece);
            message = message.or(messages.next()?);
        }
        check(&body.trailers().await.map_err(Failure::transport)?.unwrap_or(head.headers))?;
        message.ok_or_else(|| Failure::malformed("an answer without a message"))
    }

    /// One message there, and many back.
    pub(super) async fn stream(&mut self, method: Method, frame: Bytes) -> Result<Stream, Failure> {
        let (answer, requests) = self.send(method, frame, false).await?;
        Ok(Stream { _requests: requests, answers: Answers::Awaited(answer) })
    }

    async fn send(
        &mut self,
        method: Method,
        frame: Bytes,
        ends: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), Failure> {
        // The store may allow fewer calls at once than there are clients here.
        std::future::poll_fn(|context| self.sender.poll_ready(context)).await.map_err(Failure::transport)?;
        let request = Request::post(self.link.endpoint.uri(method))
            .version(http::Version::HTTP_2)
            .header(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/grpc"))
            .header(http::header::TE, http::HeaderValue::from_static("trailers"))
            .body(())
            .expect("its parts were checked before");
        let (answer, mut requests) = self.sender.send_request(request, false).map_err(Failure::transport)?;
        requests.send_data(frame, ends).map_err(Failure::transport)?;
        Ok((answer, requests))
    }

    /// After a failure of the connection: wait a little, then use the new one that the first of us makes.
    pub(super) async fn recover(&mut self) {
        tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
        let mut current = self.link.current.lock().await;
        if current.0 == self.generation {
            // If it fails, then the next call does too, is counted, and leads here again.
            if let Ok(sender) = self.link.endpoint.connect().await {
                *current = (self.generation + 1, sender);
            }
        }
        (self.generation, self.sender) = current.clone();
    }
}

impl Stream {
    /// The next message; the end of the stream is a failure, because no watcher of ours asks for it.
    pub(super) async fn next(&mut self) -> Result<Bytes, Failure> {
        loop {
            match &mut self.answers {
                Answers::Awaited(answer) => {
                    let (head, body) = answer.await.map_err(Failure::transport)?.into_parts();
                    if body.is_end_stream() {
                        check(&head.headers)?;
                    }
                    self.answers = Answers::Open(body, Messages::default());
                }
                Answers::Open(body, messages) => {
                    if let Some(message) = messages.next()? {
                        return Ok(message);
                    }
                    let Some(piece) = receive(body).await? else {
                        check(&body.trailers().await.map_err(Failure::transport)?.unwrap_or_default())?;
                        return Err(Failure::malformed("the stream ended"));
                    };
                    messages.push(piece);
                }
            }
        }
    }
}

async fn receive(body: &mut RecvStream) -> Result<Option<Bytes>, Failure> {
    let Some(piece) = body.data().await else { return Ok(None) };
    let piece = piece.map_err(Failure::transport)?;
    body.flow_control().release_capacity(piece.len()).map_err(Failure::transport)?;
    Ok(Some(piece))
}

fn check(headers: &HeaderMap) -> Result<(), Failure> {
    let status =
        headers.get("grpc-status").ok_or_else(|| Failure::malformed("an answer without a status"))?;
    if status == "0" {
        return Ok(());
    }
    let text = headers.get("grpc-message").map(|text| String::from_utf8_lossy(text.as_bytes()).into_owned());
    Err(Failure::status(tonic::Code::from_bytes(status.as_bytes()), text.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_status_zero_is_success() {
        let headers = |status: &'static str| {
            HeaderMap::from_iter([(
                http::HeaderName::from_static("grpc-status"),
                http::HeaderValue::from_static(status),
            )])
        };
        assert!(check(&headers("0")).is_ok());
        for status in ["1", "14", "00", "", "none"] {
            assert!(check(&headers(status)).is_err(), "{status:?}");
        }
        assert!(check(&HeaderMap::new()).is_err(), "no status is no success");
    }
}
