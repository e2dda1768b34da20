//! A request's body on its way from JSON to gRPC's frames.
//!
//! All of a request is in memory until it is read, and several times as much while it is: both are counted, and refused
//! where the process has no memory for them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use hyper::body::{Body as HttpBody, Frame};
use memstore::Memory;
use tonic::Status;

use super::json_scanner::{JsonScanner, Scanned};
use super::mapping::{Mapping, Read};
use crate::error::Error;

/// Below this, what a request takes is not counted: a connection has one of them.
const SMALL_BYTES: u64 = 64 << 10;
/// Bytes that are held for each byte of text: the text, in a buffer that grows by doubling.
const TEXT_COST: u64 = 2;
/// Bytes that reading takes for each byte of text: the message, encoded, and again with its prefix.
const READ_COST: u64 = 3;
/// Bytes that each object and each list of a text takes while it is read: a node of a tree of fields.
const NODE_BYTES: u64 = 1 << 10;
/// The same of each further field and value.
const VALUE_BYTES: u64 = 128;

/// The body. One request for a unary call, which an empty body is as well; for a stream, one after the other.
pub(super) struct Asked<B> {
    body: B,
    mapping: Mapping,
    /// What has come and is not read yet.
    text: BytesMut,
    /// How far it was searched for the end of a stream's next request.
    scanner: JsonScanner,
    /// Of the text.
    room: Room,
    bytes_max: usize,
    /// The largest request in gRPC's form.
    message_bytes_max: usize,
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
    pub(super) fn new(
        body: B,
        mapping: Mapping,
        is_stream: bool,
        message_bytes_max: usize,
        memory: Arc<Memory>,
    ) -> Asked<B> {
        let bytes_max = message_bytes_max.saturating_mul(2);
        Asked {
            body,
            mapping,
            text: BytesMut::new(),
            scanner: JsonScanner::default(),
            room: Room { memory, bytes: 0 },
            bytes_max,
            message_bytes_max,
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
        let _reading = self.room.of_reading(&self.text)?;
        match self.mapping.read(&self.text)? {
            Some(Read { message, bytes }) => {
                // What is left moves, so that the buffer of a large request does not stay for as long as its stream.
                self.text = BytesMut::from(&self.text[bytes..]);
                self.room.hold(self.text.len() as u64 * TEXT_COST)?;
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
            let most = self.message_bytes_max;
            let text = format!("grpc: received message larger than max ({bytes} vs. {most})");
            return Err(Status::resource_exhausted(text));
        }
        self.room.hold(bytes as u64 * TEXT_COST)?;
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

/// Room in the process's memory; returned when this is dropped.
struct Room {
    memory: Arc<Memory>,
    bytes: u64,
}

impl Room {
    /// Holds so many bytes from now on, and not what it held.
    ///
    /// # Errors
    /// `Overloaded`, as etcd says it: the process has no memory left for them.
    fn hold(&mut self, bytes: u64) -> Result<(), Status> {
        let bytes = if bytes < SMALL_BYTES { 0 } else { bytes };
        if self.bytes < bytes && !self.memory.take(bytes - self.bytes) {
            return Err(Error::Overloaded.into());
        }
        if bytes < self.bytes {
            self.memory.give_back(self.bytes - bytes, 0);
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Takes what reading a text needs besides it.
    fn of_reading(&self, text: &[u8]) -> Result<Room, Status> {
        let mut room = Room { memory: self.memory.clone(), bytes: 0 };
        let count = |characters: [u8; 2]| text.iter().filter(|byte| characters.contains(byte)).count() as u64;
        let values = count([b'{', b'[']) * NODE_BYTES + count([b',', b':']) * VALUE_BYTES;
        room.hold(text.len() as u64 * READ_COST + values)?;
        Ok(room)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.memory.give_back(self.bytes, 0);
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
    use futures_util::future::FutureExt;
    use http_body_util::{BodyExt, Full, StreamBody};
    use tokio_stream::StreamExt;

    use super::*;
    use crate::grpc::method::MethodId;

    fn mapping(path: &str) -> Mapping {
        Mapping::of(MethodId::of(path).expect("it is in the table").method())
    }

    async fn check(path: &str, is_stream: bool, text: &'static str, expected: Result<&[u8], tonic::Code>) {
        let asked = Asked::new(Full::new(Bytes::from(text)), mapping(path), is_stream, 64, Arc::default());
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
            let asked =
                Asked::new(body, mapping("/etcdserverpb.Lease/LeaseKeepAlive"), true, 64, Arc::default());
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
        let mut asked =
            Asked::new(body, mapping("/etcdserverpb.Lease/LeaseKeepAlive"), true, 10_000, Arc::default());
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
        let asked = Asked::new(body, mapping("/etcdserverpb.KV/Put"), false, 64, Arc::default());
        let status = asked.collect().await.expect_err("it is too large");
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        assert_eq!(status.message(), "grpc: received message larger than max (138 vs. 64)");
    }

    #[tokio::test]
    async fn bodies_share_the_memory_and_return_it() {
        let memory = Arc::new(Memory::new(2_000_000));
        let text = format!("{{\"key\":\"{}", "YQ==".repeat(75_000));
        let put = "/etcdserverpb.KV/Put";
        let begin = |memory: &Arc<Memory>| {
            let begun = Ok::<_, std::io::Error>(Frame::data(Bytes::from(text.clone())));
            let body = StreamBody::new(tokio_stream::iter([begun]).chain(tokio_stream::pending()));
            Asked::new(body, mapping(put), false, 1 << 20, memory.clone())
        };
        let (mut one, mut two, mut three, mut four) =
            (begin(&memory), begin(&memory), begin(&memory), begin(&memory));
        assert!(one.frame().now_or_never().is_none() && two.frame().now_or_never().is_none());
        assert!(three.frame().now_or_never().is_none(), "600,000 bytes each");
        let refused =
            four.frame().now_or_never().flatten().expect("it is refused").expect_err("there is no room");
        assert_eq!(refused.message(), "etcdserver: too many requests");
        drop((one, two));
        assert!(begin(&memory).frame().now_or_never().is_none(), "there is room again");
        drop(three);
        assert!(memory.take(1_900_000), "all of it is free again");
    }

    /// Three bytes of text may become a kilobyte.
    #[tokio::test]
    async fn a_body_of_many_small_objects_is_counted_as_what_it_becomes() {
        let text: &str = &format!("{{\"compare\":[{}{{}}]}}", "{},".repeat(20_000));
        let asked = |limit| {
            let body = Full::new(Bytes::copy_from_slice(text.as_bytes()));
            Asked::new(body, mapping("/etcdserverpb.KV/Txn"), false, 1 << 20, Arc::new(Memory::new(limit)))
        };
        assert!(asked(50_000_000).collect().await.is_ok());
        let status = asked(10_000_000).collect().await.expect_err("20 MB do not fit");
        assert_eq!(status.message(), "etcdserver: too many requests");
    }
}
