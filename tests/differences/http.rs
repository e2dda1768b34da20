//! The gateway, the pages, and what lies below gRPC.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::ports::free_port;
use harness::server::{Kind, Server};
use serde_json::Value;

use crate::OURS;

fn post(server: &Server, path: &str, body: &str) -> Result<(u16, Value)> {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut response = agent.post(format!("{}{path}", server.endpoint())).send(body)?;
    let text = response.body_mut().read_to_string()?;
    Ok((response.status().as_u16(), serde_json::from_str(&text)?))
}

/// The head of the answer to a request over HTTP/1.1.
fn head(port: u16, request: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(request.as_bytes())?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    Ok(String::from_utf8(head)?.to_lowercase())
}

#[test]
fn malformed_json_is_told_in_other_words() -> Result<()> {
    let ask = |kind| post(&Server::start(kind)?, "/v3/kv/range", "{key");
    let ((our_status, ours), (etcds_status, etcds)) = (ask(OURS)?, ask(Kind::Etcd36)?);
    ensure!((our_status, &ours["code"]) == (etcds_status, &etcds["code"]), "{ours} {etcds}");
    ensure!(ours["message"] != etcds["message"], "{ours}");
    Ok(())
}

#[test]
fn the_last_of_a_field_given_twice_counts() -> Result<()> {
    let server = Server::start(OURS)?;
    let (status, _) = post(&server, "/v3/kv/put", r#"{"key":"YQ==","key":"Yg=="}"#)?;
    let (_, found) = post(&server, "/v3/kv/range", r#"{"key":"Yg=="}"#)?;
    ensure!(status == 200 && found["count"] == "1", "{status} {found}");
    Ok(())
}

#[test]
fn an_integer_may_have_a_sign_and_zeros_before_it() -> Result<()> {
    for (kind, expected) in [(Kind::Etcd36, 400), (OURS, 200)] {
        let server = Server::start(kind)?;
        for number in ["+1", "01"] {
            let body = format!("{{\"key\":\"YQ==\",\"limit\":\"{number}\"}}");
            let (status, answer) = post(&server, "/v3/kv/range", &body)?;
            ensure!(status == expected, "{kind:?}, {number}: {status} {answer}");
        }
    }
    Ok(())
}

#[test]
fn the_gateway_does_not_speak_websocket() -> Result<()> {
    let upgrade = "GET /v3/watch HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    for (kind, expected) in [(Kind::Etcd36, "http/1.1 101"), (OURS, "http/1.1 501")] {
        let answer = head(Server::start(kind)?.port(), upgrade)?;
        ensure!(answer.starts_with(expected), "{kind:?}: {answer}");
    }
    Ok(())
}

#[test]
fn metrics_are_compressed_with_gzip_alone() -> Result<()> {
    let server = Server::start(OURS)?;
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: zstd\r\n\r\n";
    let answer = head(server.port(), request)?;
    ensure!(!answer.contains("content-encoding"), "{answer}");
    Ok(())
}

#[test]
fn members_do_not_speak_etcds_http() -> Result<()> {
    let mut server = Server::prepare(OURS)?;
    let peers = free_port()?;
    let url = format!("http://127.0.0.1:{peers}");
    server.arguments(&["--listen-peer-urls", &url, "--initial-advertise-peer-urls", &url]);
    server.arguments(&["--initial-cluster", &format!("default={url}")]);
    server.restart()?;
    for path in ["/raft", "/members/promote/1", "/members/hashkv", "/leases", "/leases/internal"] {
        let answer =
            head(peers, &format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"))?;
        ensure!(answer.starts_with("http/1.1 404"), "{path}: {answer}");
    }
    Ok(())
}

/// A client that pings a hundred times at once, without a call.
#[test]
fn pings_are_answered_however_many_they_are() -> Result<()> {
    const PINGS: usize = 100;
    let frame = |kind: u8, payload: &[u8]| {
        let length = u8::try_from(payload.len()).expect("it is short");
        [&[0, 0, length, kind, 0, 0, 0, 0, 0][..], payload].concat()
    };
    let (settings, ping, go_away) = (4, 6, 7);
    let server = Server::start(OURS)?;
    let mut stream = TcpStream::connect(("127.0.0.1", server.port()))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    sent.extend(frame(settings, &[]));
    sent.extend(frame(ping, &[7; 8]).repeat(PINGS));
    stream.write_all(&sent)?;
    let mut answered = 0;
    while answered < PINGS {
        let mut head = [0; 9];
        stream.read_exact(&mut head).context("it goes on")?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload)?;
        ensure!(head[3] != go_away, "{payload:?}");
        answered += usize::from(head[3] == ping);
    }
    Ok(())
}
