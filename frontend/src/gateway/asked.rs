//! A request's body on its way from JSON to gRPC's frames.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use hyper::body::{Body as HttpBody, Frame};
use tonic::Status;

use super::json_scanner::{JsonScanner, Scanned};
use super::mapping::{Mapping, Read};

/// The body. One request for a unary call, which an empty body is as well; for a stream, one after the other.
pub(super) struct Asked<B> {
    body: B,
    mapping: Mapping,
    /// What has come and is not read yet.
    text: BytesMut,
    /// How far it was searched for the end of a stream's next request.
    scanner: JsonScanner,
    bytes_max: usize,
    is_stream: bool,
    /// There is no more to come.
    is_whole: bool,
    ended: bool,
    /// Times that the text was read.
    #[cfg(test)]
    reads: usize,
}

impl<B> Asked<B> {
    /// `message_bytes_max`: the largest request in gRPC's form. In JSON it is larger by a third at least.
    pub(super) fn new(body: B, mapping: Mapping, is_stream: bool, message_bytes_max: usize) -> Asked<B> {
        let bytes_max = message_bytes_max.saturating_mul(2);
        Asked {
            body,
            mapping,
            text: BytesMut::new(),
            scanner: JsonScanner::default(),
            bytes_max,
            is_stream,
            is_whole: false,
            ended: false,
            #[cfg(test)]
            reads: 0,
        }
    }

    /// The next request of what has come; `None` where more must come first.
    fn next(&mut self) -> Result<Option<Bytes>, Status> {
        // Nothing would be gained from reading earlier.
        let is_read = if self.is_stream { self.is_object_whole()? } else { self.is_whole };
        if !is_read {
            return if self.is_whole { self.rest() } else { Ok(None) };
        }
        #[cfg(test)]
        {
            self.reads += 1;
        }
        match self.mapping.read(&self.text)? {
            Some(Read { message, bytes }) => {
                let _ = self.text.split_to(bytes);
                self.ended = !self.is_stream;
                Ok(Some(message))
            }
            None if self.is_whole => self.rest(),
            None => Ok(None),
        }
    }

    /// Whether all of a stream's next request has come. A request that comes in many fragments is read once.
    fn is_object_whole(&mut self) -> Result<bool, Status> {
        match self.scanner.scan(&self.text) {
            Scanned::Object(_) => Ok(true),
            Scanned::Open => Ok(false),
            Scanned::NoObject => Err(Status::invalid_argument("proto: a request is a JSON object")),
        }
    }

    /// What the end of a body comes to.
    fn rest(&mut self) -> Result<Option<Bytes>, Status> {
        self.ended = true;
        let is_blank = self.text.iter().all(u8::is_ascii_whitespace);
        match (self.is_stream, is_blank) {
            (false, true) => Ok(Some(Bytes::new())),
            (false, false) => Err(Status::invalid_argument("proto: unexpected end of JSON input")),
            (true, _) => Ok(None),
        }
    }

    fn keep(&mut self, data: &[u8]) -> Result<(), Status> {
        let bytes = self.text.len().saturating_add(data.len());
        if bytes > self.bytes_max {
            let text = format!("grpc: received message larger than max ({bytes} vs. {})", self.bytes_max);
            return Err(Status::resource_exhausted(text));
        }
        self.text.extend_from_slice(data);
        Ok(())
    }

    /// As etcd has it, a stream that goes on with nonsense is one that has ended.
    fn refused(&mut self, status: Status) -> Option<Result<Frame<Bytes>, Status>> {
        self.ended = true;
        if self.is_stream { None } else { Some(Err(status)) }
    }
}

impl<B> HttpBody for Asked<B>
where
    B: HttpBody<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let asked = &mut *self;
        loop {
            if asked.ended {
                return Poll::Ready(None);
            }
            match asked.next() {
                Ok(Some(message)) => return Poll::Ready(Some(Ok(Frame::data(framed(&message))))),
                Ok(None) => {}
                Err(status) => return Poll::Ready(asked.refused(status)),
            }
            if asked.ended {
                return Poll::Ready(None);
            }
            let kept = match ready!(Pin::new(&mut asked.body).poll_frame(context)) {
                None => {
                    asked.is_whole = true;
                    Ok(())
                }
                Some(Ok(frame)) => frame.data_ref().map_or(Ok(()), |data| asked.keep(data)),
                Some(Err(error)) => Err(Status::from_error(Box::new(error))),
            };
            if let Err(status) = kept {
                return Poll::Ready(asked.refused(status));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

/// A message with gRPC's prefix.
fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).expect("the text it was read from is shorter than that"));
    frame.put_slice(message);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full, StreamBody};

    use super::*;
    use crate::grpc::method::MethodId;

    fn mapping(path: &str) -> Mapping {
        Mapping::of(MethodId::of(path).expect("it is in the table").method())
    }

    async fn check(path: &str, is_stream: bool, text: &'static str, expected: Result<&[u8], tonic::Code>) {
        let asked = Asked::new(Full::new(Bytes::from(text)), mapping(path), is_stream, 64);
        let frames = asked.collect().await.map(http_body_util::Collected::to_bytes);
        let frames = frames.map_err(|status| status.code());
        assert_eq!(
            frames.as_ref().map(|frames| &frames[..]),
            expected.as_ref().map(|frames| *frames),
            "{text}"
        );
    }

    #[tokio::test]
    async fn a_unary_call_has_one_request() {
        let put = "/etcdserverpb.KV/Put";
        check(put, false, r#"{"key":"YQ=="}"#, Ok(b"\0\0\0\0\x03\x0a\x01a")).await;
        check(put, false, r#"{"key":"YQ=="}{"key":"Yg=="}"#, Ok(b"\0\0\0\0\x03\x0a\x01a")).await;
        check(put, false, "", Ok(b"\0\0\0\0\0")).await;
        check(put, false, r#"{"key":"#, Err(tonic::Code::InvalidArgument)).await;
        check(put, false, "[]", Err(tonic::Code::InvalidArgument)).await;
    }

    #[tokio::test]
    async fn a_stream_ends_where_sense_ends() {
        let keep_alive = "/etcdserverpb.Lease/LeaseKeepAlive";
        check(keep_alive, true, r#"{"ID":7}{"ID":"8"}"#, Ok(b"\0\0\0\0\x02\x08\x07\0\0\0\0\x02\x08\x08"))
            .await;
        check(keep_alive, true, r#"{"ID":7}{"ID":"x"}{"ID":9}"#, Ok(b"\0\0\0\0\x02\x08\x07")).await;
        check(keep_alive, true, r#"{"ID":7}{"ID"#, Ok(b"\0\0\0\0\x02\x08\x07")).await;
        check(keep_alive, true, "", Ok(b"")).await;
    }

    #[tokio::test]
    async fn a_stream_is_read_in_whatever_fragments_it_comes() {
        let text = br#" {"ID":7}{"ID":"8", "x":"}{"} {"ID":9"#;
        for bytes in 1..text.len() {
            let pieces = text.chunks(bytes).map(Bytes::copy_from_slice);
            let pieces = pieces.map(|piece| Ok::<_, std::io::Error>(Frame::data(piece)));
            let body = StreamBody::new(tokio_stream::iter(pieces));
            let asked = Asked::new(body, mapping("/etcdserverpb.Lease/LeaseKeepAlive"), true, 64);
            let frames = asked.collect().await.expect("its end is no error").to_bytes();
            assert_eq!(&frames[..], b"\0\0\0\0\x02\x08\x07\0\0\0\0\x02\x08\x08", "{bytes}");
        }
    }

    #[tokio::test]
    async fn a_request_in_many_fragments_is_read_once() {
        let text = format!("{{\"ID\":7,\"unheard\":\"{}\"}}", "x".repeat(10_000));
        let pieces = text.as_bytes().chunks(10).map(Bytes::copy_from_slice);
        let pieces: Vec<_> = pieces.map(|piece| Ok::<_, std::io::Error>(Frame::data(piece))).collect();
        let body = StreamBody::new(tokio_stream::iter(pieces));
        let mut asked = Asked::new(body, mapping("/etcdserverpb.Lease/LeaseKeepAlive"), true, 10_000);
        while let Some(frame) = asked.frame().await {
            frame.expect("it is a request");
        }
        assert_eq!(asked.reads, 1);
    }

    #[tokio::test]
    async fn a_body_is_kept_up_to_a_size() {
        let long = format!("{{\"key\":\"{}\"}}", "YQ==".repeat(32));
        let pieces: Vec<_> = long.as_bytes().chunks(50).map(Bytes::copy_from_slice).collect();
        let body = StreamBody::new(tokio_stream::iter(
            pieces.into_iter().map(|piece| Ok::<_, std::io::Error>(Frame::data(piece))),
        ));
        let asked = Asked::new(body, mapping("/etcdserverpb.KV/Put"), false, 64);
        let status = asked.collect().await.expect_err("it is too large");
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
    }
}
