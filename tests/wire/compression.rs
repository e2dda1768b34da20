//! Calls whose messages are compressed, frame by frame.

use std::io::{Read, Write};

use anyhow::{Context, Result, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use harness::server::{Kind, Server};
use http_body_util::{BodyExt, Full};
use prost::Message;
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{
    LeaseKeepAliveRequest, LeaseKeepAliveResponse, PutRequest, PutResponse, RangeRequest, RangeResponse,
    ResponseHeader, WatchCreateRequest, WatchRequest, WatchResponse,
};
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::transport::{Channel, Endpoint};

use crate::kinds;

const PLAIN: u8 = 0;
const COMPRESSED: u8 = 1;

/// What a call was answered, without whatever differs between two stores.
#[derive(Debug, PartialEq)]
struct Outcome {
    encoding: Option<String>,
    accepted: Option<String>,
    code: String,
    text: String,
    /// Whether each message was compressed, and the message.
    messages: Vec<(bool, String)>,
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).expect("a vector takes whatever is written to it");
    encoder.finish().expect("a vector takes whatever is written to it")
}

fn frame(format: u8, message: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(format);
    frame.put_u32(u32::try_from(message.len()).expect("it is small"));
    frame.put_slice(message);
    frame.freeze()
}

fn compressed(message: &impl Message) -> Bytes {
    frame(COMPRESSED, &gzip(&message.encode_to_vec()))
}

/// Calls a method with a body that ends, and reads all that it is answered.
async fn call(
    channel: &mut Channel,
    path: &str,
    encoding: Option<&'static str>,
    body: Bytes,
    told: impl Fn(&[u8]) -> Result<String>,
) -> Result<Outcome> {
    let request =
        http::Request::post(path).header("content-type", "application/grpc").header("te", "trailers");
    let request = match encoding {
        Some(encoding) => request.header("grpc-encoding", encoding),
        None => request,
    };
    std::future::poll_fn(|context| channel.poll_ready(context)).await?;
    let response = channel.call(request.body(Body::new(Full::new(body)))?).await?;
    let (head, body) = response.into_parts();
    let body = body.collect().await?;
    let trailers = body.trailers().cloned().unwrap_or_default();
    let header = |name: &str| {
        let value = head.headers.get(name).or_else(|| trailers.get(name));
        value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let mut rest = body.to_bytes();
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let (format, length) = (rest[0], u32::from_be_bytes(rest[1..5].try_into()?) as usize);
        let _ = rest.split_to(5);
        let message = rest.split_to(length);
        let mut plain = Vec::new();
        match format {
            COMPRESSED => drop(GzDecoder::new(&message[..]).read_to_end(&mut plain)?),
            _ => plain.extend_from_slice(&message),
        }
        messages.push((format == COMPRESSED, told(&plain)?));
    }
    Ok(Outcome {
        encoding: header("grpc-encoding"),
        accepted: header("grpc-accept-encoding"),
        code: header("grpc-status").context("every call ends in a status")?,
        text: decoded(&header("grpc-message").unwrap_or_default()),
        messages,
    })
}

/// A text without its percent signs: how many characters are written so is up to the server.
fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let byte = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte {
            Some(byte) => format!("{text}{}{}", char::from(byte), &part[2..]),
            None => format!("{text}%{part}"),
        }
    })
}

fn blank(header: &mut Option<ResponseHeader>) {
    if let Some(header) = header {
        *header = ResponseHeader { revision: header.revision, ..ResponseHeader::default() };
    }
}

fn put_told(message: &[u8]) -> Result<String> {
    let mut response = PutResponse::decode(message)?;
    blank(&mut response.header);
    Ok(format!("{response:?}"))
}

fn range_told(message: &[u8]) -> Result<String> {
    let mut response = RangeResponse::decode(message)?;
    blank(&mut response.header);
    let values = response.kvs.iter().map(|kv| kv.value.len()).collect::<Vec<_>>();
    response.kvs.clear();
    Ok(format!("{response:?} {values:?}"))
}

fn keep_alive_told(message: &[u8]) -> Result<String> {
    let response = LeaseKeepAliveResponse::decode(message)?;
    Ok(format!("{} {}", response.id, response.ttl))
}

/// All that is asked of one store.
async fn outcomes(kind: Kind) -> Result<Vec<(&'static str, Outcome)>> {
    let server = Server::start(kind)?;
    let mut channel = Endpoint::from_shared(server.endpoint())?.connect().await?;
    let put = |value: Vec<u8>| PutRequest { key: "a".into(), value: value.into(), ..PutRequest::default() };
    let range = RangeRequest { key: "a".into(), ..RangeRequest::default() };
    let (put_path, range_path) = ("/etcdserverpb.KV/Put", "/etcdserverpb.KV/Range");
    let small = put(b"v".to_vec());
    // Compressible, but not to nothing.
    let large =
        put((0..1_000_000_u32).map(|number| u8::try_from(number % 251).expect("it is small")).collect());
    let whole = gzip(&small.encode_to_vec());
    let mut damaged = whole.clone();
    let crc = damaged.len() - 8;
    damaged[crc] ^= 1;
    let bomb = frame(COMPRESSED, &gzip(&vec![0; 8 << 20]));
    let gz = Some("gzip");
    let mut outcomes = Vec::new();
    for (name, path, encoding, body) in [
        ("small", put_path, gz, compressed(&small)),
        ("large", put_path, gz, compressed(&large)),
        ("a plain message in a call of gzip", put_path, gz, frame(PLAIN, &small.encode_to_vec())),
        ("nothing", put_path, gz, frame(PLAIN, b"")),
        ("no encoding", put_path, None, compressed(&small)),
        ("identity", put_path, Some("identity"), compressed(&small)),
        ("identity, plain", put_path, Some("identity"), frame(PLAIN, &small.encode_to_vec())),
        ("snappy", put_path, Some("snappy"), compressed(&small)),
        ("GZIP", put_path, Some("GZIP"), compressed(&small)),
        ("another format", put_path, gz, frame(7, &whole)),
        ("no bytes", put_path, gz, frame(COMPRESSED, b"")),
        ("a part of the head", put_path, gz, frame(COMPRESSED, &whole[..9])),
        ("no gzip", put_path, gz, frame(COMPRESSED, b"this is no gzip")),
        ("cut off", put_path, gz, frame(COMPRESSED, &whole[..whole.len() - 9])),
        ("damaged", put_path, gz, frame(COMPRESSED, &damaged)),
        ("a bomb", put_path, gz, bomb),
        ("too large as it is", put_path, gz, frame(COMPRESSED, &vec![7; 3 << 20])),
        ("unknown", "/etcdserverpb.KV/Nope", gz, compressed(&small)),
    ] {
        let outcome = call(&mut channel, path, encoding, body, put_told).await;
        outcomes.push((name, outcome.with_context(|| format!("{kind:?}: {name}"))?));
    }
    let read = call(&mut channel, range_path, gz, compressed(&range), range_told).await?;
    outcomes.push(("a large answer", read));
    let refused = RangeRequest { revision: 99, ..range };
    outcomes.push(("a refusal", call(&mut channel, range_path, gz, compressed(&refused), range_told).await?));
    let keep_alives: Vec<Bytes> = (5..8).map(|id| compressed(&LeaseKeepAliveRequest { id })).collect();
    let keep_alive_path = "/etcdserverpb.Lease/LeaseKeepAlive";
    let kept = call(&mut channel, keep_alive_path, gz, keep_alives.concat().into(), keep_alive_told).await?;
    outcomes.push(("keep-alives", kept));
    let snappy =
        call(&mut channel, keep_alive_path, Some("snappy"), keep_alives.concat().into(), keep_alive_told)
            .await?;
    outcomes.push(("keep-alives in snappy", snappy));
    Ok(outcomes)
}

#[tokio::test]
async fn compressed_calls_are_answered_as_by_etcd() -> Result<()> {
    let judge = outcomes(Kind::Etcd36).await?;
    for kind in kinds() {
        for ((name, ours), (_, etcds)) in outcomes(kind).await?.iter().zip(&judge) {
            ensure!(ours == etcds, "{kind:?}, {name}:\n{ours:#?}\netcd:\n{etcds:#?}");
        }
    }
    Ok(())
}

/// A watch does not end by itself: its first answers are read as they come.
#[tokio::test]
async fn a_compressed_watch_is_answered_with_compressed_events() -> Result<()> {
    for kind in [vec![Kind::Etcd36], kinds()].concat() {
        let server = Server::start(kind)?;
        let mut channel = Endpoint::from_shared(server.endpoint())?.connect().await?;
        let put = PutRequest { key: "a".into(), value: vec![7; 1000].into(), ..PutRequest::default() };
        call(&mut channel, "/etcdserverpb.KV/Put", None, frame(PLAIN, &put.encode_to_vec()), put_told)
            .await?;
        let create =
            WatchCreateRequest { key: "a".into(), start_revision: 2, ..WatchCreateRequest::default() };
        let request = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        let request = http::Request::post("/etcdserverpb.Watch/Watch")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("grpc-encoding", "gzip")
            .body(Body::new(Full::new(compressed(&request))))?;
        std::future::poll_fn(|context| channel.poll_ready(context)).await?;
        let response = channel.call(request).await?;
        ensure!(
            response.headers().get("grpc-encoding").is_some_and(|encoding| encoding == "gzip"),
            "{kind:?}"
        );
        let (mut body, mut all, mut events) = (response.into_body(), BytesMut::new(), 0);
        while events == 0 {
            let frame = body.frame().await.context("the stream goes on")??;
            all.extend_from_slice(frame.data_ref().context("the stream goes on")?);
            while let Some(length) =
                all.get(1..5).map(|length| u32::from_be_bytes(length.try_into().expect("4")))
                && all.len() >= 5 + length as usize
            {
                ensure!(all[0] == COMPRESSED, "{kind:?}");
                let message = all.split_to(5 + length as usize).split_off(5);
                let mut plain = Vec::new();
                GzDecoder::new(&message[..]).read_to_end(&mut plain)?;
                events += WatchResponse::decode(&plain[..])?.events.len();
            }
        }
    }
    Ok(())
}
