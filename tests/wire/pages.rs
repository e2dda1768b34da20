//! Plain HTTP: the heads of answers, and the gateway's edges.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::ports::free_port;
use harness::server::{Kind, Server};

use crate::kinds;

/// Headers that are compared.
const NAMES: [&str; 6] =
    ["allow", "content-encoding", "content-type", "location", "x-content-type-options", "x-etcd-cluster-id"];

/// The answer to one request over HTTP/1.1: the status, the headers that are compared, and the body where it is text.
fn ask(port: u16, method: &str, path: &str, headers: &str, body: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap_or(answer.len());
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut told: Vec<String> = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value))
        .filter(|(name, _)| NAMES.contains(&name.as_str()))
        .map(|(name, value)| match name.as_str() {
            "x-etcd-cluster-id" => format!("{name}: {}", value.bytes().all(|byte| byte.is_ascii_hexdigit())),
            _ => format!("{name}: {value}"),
        })
        .collect();
    told.sort();
    let body = match path.split('?').next() {
        Some("/metrics" | "/members") => String::new(),
        _ => String::from_utf8_lossy(answer.get(end + 4..).unwrap_or_default()).into_owned(),
    };
    // etcd's gateway learns of a deadline from its own clock or from its server, whichever is first.
    let body =
        body.replace("stream terminated by RST_STREAM with error code: CANCEL", "context deadline exceeded");
    // Ids differ, and how a body is cut into chunks.
    let body = if body.contains("cluster_id") { "a header".to_owned() } else { body };
    Ok(format!("{status} {told:?} {}", body.lines().filter(|line| line.len() > 4).collect::<String>()))
}

fn alike(kinds: &[Kind], asks: impl Fn(Kind) -> Result<Vec<(String, String)>>) -> Result<()> {
    let judge = asks(Kind::Etcd36)?;
    for kind in kinds {
        for ((name, ours), (_, etcds)) in asks(*kind)?.iter().zip(&judge) {
            ensure!(ours == etcds, "{kind:?}, {name}:\n{ours}\netcd:\n{etcds}");
        }
    }
    Ok(())
}

#[test]
fn metrics_come_in_the_form_that_is_asked_for() -> Result<()> {
    let protobuf =
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
    alike(&kinds(), |kind| {
        let server = Server::start(kind)?;
        let headers = [
            String::new(),
            "Accept-Encoding: gzip\r\n".to_owned(),
            "Accept-Encoding: deflate, gzip;q=0.5\r\n".to_owned(),
            "Accept-Encoding: gzip;q=0\r\n".to_owned(),
            "Accept-Encoding: gzip;q=0.5, identity;q=0.9\r\n".to_owned(),
            format!("Accept: {protobuf}\r\n"),
            format!("Accept: {protobuf};q=0.6,text/plain;version=0.0.4;q=0.4\r\nAccept-Encoding: gzip\r\n"),
            format!("Accept: text/plain;version=0.0.4,{protobuf};q=0.6\r\n"),
            "Accept: application/openmetrics-text;version=1.0.0,*/*;q=0.1\r\n".to_owned(),
            "Accept: text/plain;version=1.0.0;escaping=allow-utf-8,*/*;q=0.1\r\n".to_owned(),
        ];
        headers
            .into_iter()
            .map(|headers| Ok((headers.clone(), ask(server.port(), "GET", "/metrics", &headers, "")?)))
            .collect()
    })
}

#[test]
fn the_gateway_has_gos_redirects_and_grpc_gateways_deadlines() -> Result<()> {
    let watch = r#"{"create_request":{"key":"YQ=="}}"#;
    let long = format!("Grpc-Metadata-Long: {}\r\n", "x".repeat(900_000));
    let many: String = (0..1_000).map(|number| format!("Grpc-Metadata-{number}: x\r\n")).collect();
    let asks = [
        ("POST", "//v3/kv/put?x=1&y=%20", "", r#"{"key":"YQ=="}"#),
        ("GET", "//v3//kv/./put?a=1&b=2", "", ""),
        ("HEAD", "/v3/../health", "", ""),
        ("GET", "//health", "", ""),
        ("POST", "/v3", "", ""),
        ("GET", "/v3", "", ""),
        ("POST", "/v3/kv/range", "", r#"{"key":"YQ==","limit":"1e1"}"#),
        ("POST", "/v3/kv/range", "", r#"{"key":"YQ==","limit":"10e-1"}"#),
        ("POST", "/v3/kv/range", "", r#"{"key":"YQ==","limit":"1.0"}"#),
        ("POST", "/v3/kv/range", "Grpc-Timeout: 300\r\n", r#"{"key":"YQ=="}"#),
        ("POST", "/v3/kv/range", "Grpc-Timeout: xS\r\n", r#"{"key":"YQ=="}"#),
        ("POST", "/v3/kv/range", "Grpc-Timeout: 0S\r\n", r#"{"key":"YQ=="}"#),
        ("POST", "/v3/kv/range", "Grpc-Timeout: -1S\r\n", r#"{"key":"YQ=="}"#),
        ("POST", "/v3/kv/range", "Grpc-Metadata-Grpc-Encoding: gzip\r\n", r#"{"key":"YQ=="}"#),
        ("POST", "/v3/watch", "Grpc-Timeout: 200m\r\n", ""),
        ("POST", "/v3/kv/range", &long, r#"{"key":"YQ=="}"#),
        ("POST", "/v3/kv/range", &many, r#"{"key":"YQ=="}"#),
    ];
    alike(&kinds(), |kind| {
        let server = Server::start(kind)?;
        let mut told = Vec::new();
        for (method, path, headers, body) in asks {
            let short = &headers[..headers.len().min(40)];
            told.push((
                format!("{method} {path} {short} {body}"),
                ask(server.port(), method, path, headers, body)?,
            ));
        }
        // What was sent before the time is over differs by ids; that the stream ends does not.
        let answer = ask(server.port(), "POST", "/v3/watch", "Grpc-Timeout: 300m\r\n", watch)?;
        told.push(("a stream ends".to_owned(), answer));
        Ok(told)
    })
}

#[test]
fn addresses_for_probes_and_peers_have_etcds_pages() -> Result<()> {
    alike(&kinds()[..1], |kind| {
        let mut server = Server::prepare(kind)?;
        let (peers, probes) = (free_port()?, free_port()?);
        let url = format!("http://127.0.0.1:{peers}");
        server.arguments(&["--listen-peer-urls", &url, "--initial-advertise-peer-urls", &url]);
        server.arguments(&["--initial-cluster", &format!("default={url}")]);
        server.arguments(&["--listen-metrics-urls", &format!("http://127.0.0.1:{probes}")]);
        server.restart()?;
        let mut told = Vec::new();
        for path in
            ["/version", "/health", "/readyz", "/livez", "/metrics", "/debug/vars", "/nope", "//health"]
        {
            told.push((format!("probes {path}"), ask(probes, "GET", path, "", "")?));
        }
        for (method, path) in [
            ("GET", "/version"),
            ("GET", "/members"),
            ("GET", "/members?x=1"),
            ("GET", "/downgrade/enabled"),
            ("GET", "/health"),
            ("GET", "/metrics"),
            ("POST", "/version"),
            ("POST", "/members"),
        ] {
            told.push((format!("peers {method} {path}"), ask(peers, method, path, "", "")?));
        }
        Ok(told)
    })
}
