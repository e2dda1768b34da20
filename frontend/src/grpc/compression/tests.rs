//! Calls whose messages are compressed: what a service gets, what a client gets, and what is refused.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use proptest::prelude::*;

use super::*;
use crate::grpc::frames::{COMPRESSED, Messages, PLAIN, framed};

const LIMIT: usize = 300_000;

fn compression() -> Compression {
    Compression::new(LIMIT, Arc::new(AnswerRoom::within(Arc::new(memstore::Memory::new(100 << 20)))))
}

/// A request's frames as the service gets them.
async fn request(frames: &[Bytes]) -> Result<Bytes, Status> {
    let frames: Vec<_> = frames.iter().cloned().map(|frame| Ok(Frame::data(frame))).collect();
    let body = Inbound::Boxed(StreamBody::new(tokio_stream::iter(frames)).boxed_unsync());
    let request = compression().decompressed(Request::new(body));
    Ok(request.into_body().collect().await?.to_bytes())
}

fn compressed(message: &[u8]) -> Bytes {
    framed(COMPRESSED, &gzip::compress(message))
}

#[test]
fn an_encoding_is_gzip_or_refused() {
    let check = |values: &[&'static str], expected: Result<Encoding, &str>| {
        let mut headers = HeaderMap::new();
        values.iter().for_each(|value| {
            headers.append(GRPC_ENCODING, HeaderValue::from_static(value));
        });
        let encoding = Encoding::of(&headers).map_err(|status| {
            assert_eq!(status.code(), tonic::Code::Unimplemented);
            status.message().to_owned()
        });
        assert_eq!(encoding, expected.map_err(str::to_owned), "{values:?}");
    };
    check(&[], Ok(Encoding::Identity));
    check(&["identity"], Ok(Encoding::Identity));
    check(&["gzip"], Ok(Encoding::Gzip));
    check(&["snappy", "gzip"], Ok(Encoding::Gzip));
    check(&["snappy"], Err("grpc: Decompressor is not installed for grpc-encoding \"snappy\""));
    check(&["GZIP"], Err("grpc: Decompressor is not installed for grpc-encoding \"GZIP\""));
}

#[tokio::test]
async fn messages_are_decompressed_in_order() {
    let large = vec![7; 200_000];
    let frames =
        [compressed(b"a"), framed(PLAIN, b"b"), compressed(&large), compressed(b""), compressed(b"c")];
    let expected = [
        framed(PLAIN, b"a"),
        framed(PLAIN, b"b"),
        framed(PLAIN, &large),
        framed(PLAIN, b""),
        framed(PLAIN, b"c"),
    ];
    assert_eq!(request(&frames).await.expect("they are well formed"), expected.concat());
    // However the body is cut.
    let body = frames.concat();
    let pieces: Vec<Bytes> = body.chunks(7).map(Bytes::copy_from_slice).collect();
    assert_eq!(request(&pieces).await.expect("they are well formed"), expected.concat());
}

#[tokio::test]
async fn a_message_that_is_cut_off_stays_cut_off() {
    let frame = compressed(b"abc");
    let cut = frame.slice(..frame.len() - 1);
    assert_eq!(request(std::slice::from_ref(&cut)).await.expect("the service refuses it"), cut);
}

async fn check_refused(frame: Bytes, code: tonic::Code, text: &str) {
    let status = request(&[frame]).await.expect_err(text);
    assert_eq!((status.code(), status.message()), (code, text));
}

#[tokio::test]
async fn a_message_above_the_limit_is_refused_compressed_or_not() {
    let exhausted = tonic::Code::ResourceExhausted;
    // A few kilobytes that would be half a megabyte, and some more that would be thirty.
    let text = "grpc: received message after decompression larger than max 300000";
    check_refused(compressed(&vec![0; 500_000]), exhausted, text).await;
    let bomb = gzip::compress(&vec![0; LIMIT]).repeat(100);
    check_refused(framed(COMPRESSED, &bomb), exhausted, text).await;
    assert_eq!(
        request(&[compressed(&vec![0; LIMIT])]).await.expect("it is just small enough").len(),
        LIMIT + 5
    );
    let text = "grpc: received message larger than max (300001 vs. 300000)";
    check_refused(Bytes::from_static(b"\x01\x00\x04\x93\xe1"), exhausted, text).await;
}

#[tokio::test]
async fn what_is_no_gzip_is_refused_in_gos_words() {
    let check = async |message: &[u8], text: &str| {
        check_refused(framed(COMPRESSED, message), tonic::Code::Internal, text).await;
    };
    let whole = gzip::compress(b"a message that is long enough to be cut");
    check(b"", "grpc: failed to decompress the message: EOF").await;
    check(&whole[..9], "grpc: failed to decompress the message: unexpected EOF").await;
    check(b"no gzip at all", "grpc: failed to decompress the message: gzip: invalid header").await;
    check(&whole[..20], "grpc: failed to read decompressed data: unexpected EOF").await;
    let mut damaged = whole.clone();
    let crc = damaged.len() - 8;
    damaged[crc] ^= 1;
    check(&damaged, "grpc: failed to read decompressed data: gzip: invalid checksum").await;
    let trailing = [&whole[..], b"more that is no gzip"].concat();
    check(&trailing, "grpc: failed to read decompressed data: gzip: invalid header").await;
}

#[tokio::test]
async fn a_response_is_compressed_message_by_message() {
    let large: Vec<u8> =
        (0..100_000_u32).map(|number| u8::try_from(number % 251).expect("it is small")).collect();
    let plain = [framed(PLAIN, b"a"), framed(PLAIN, b""), framed(PLAIN, &large), framed(PLAIN, b"b")];
    let body =
        Body::Boxed(Full::new(Bytes::from(plain.concat())).map_err(|never| match never {}).boxed_unsync());
    let response = compression().compressed(Response::new(body));
    assert_eq!(response.headers()[GRPC_ENCODING], "gzip");
    let all = response.into_body().collect().await.expect("nothing fails").to_bytes();
    assert!(all.len() < 10_000, "{} bytes", all.len());
    let mut messages = Messages::default();
    messages.push(all);
    let told = std::iter::from_fn(|| messages.next()).map(|(prefix, message)| match prefix.format {
        COMPRESSED => framed(PLAIN, &gzip::decompress(&message, LIMIT).expect("it was just made")),
        format => framed(format, &message),
    });
    assert_eq!(told.collect::<Vec<_>>(), plain);
}

#[tokio::test]
async fn a_message_goes_out_as_it_is_where_memory_is_short() {
    let answers = Arc::new(AnswerRoom::within(Arc::new(memstore::Memory::new(50_000))));
    let plain = framed(PLAIN, &[7; 100_000]);
    let response = Response::new(Body::Message(plain.clone()));
    let response = Compression::new(LIMIT, answers).compressed(response);
    assert_eq!(response.into_body().collect().await.expect("nothing fails").to_bytes(), plain);
}

#[test]
fn a_status_alone_has_no_encoding() {
    let response = compression().compressed(Status::not_found("nothing").into_http());
    assert!(!response.headers().contains_key(GRPC_ENCODING));
}

proptest! {
    #[test]
    fn any_bytes_are_decompressed_within_the_limit_or_refused(message: Vec<u8>, limit in 0..64usize) {
        if let Ok(plain) = gzip::decompress(&message, limit) {
            prop_assert!(plain.len() <= limit);
        }
    }

    #[test]
    fn damaged_gzip_is_decompressed_within_the_limit_or_refused(
        plain: Vec<u8>,
        at: prop::sample::Index,
        to: u8,
        limit in 0..256usize,
    ) {
        let mut message = gzip::compress(&plain);
        prop_assert_eq!(&gzip::decompress(&message, plain.len()).expect("it is whole")[..], &plain[..]);
        let at = at.index(message.len());
        message[at] = to;
        if let Ok(plain) = gzip::decompress(&message, limit) {
            prop_assert!(plain.len() <= limit);
        }
    }
}
