//! The JSON gateway: etcd's gRPC API for those who speak only HTTP and JSON.
//!
//!     POST /v3/kv/put  {"key":"YQ=="} ──► Asked ──frames──► Grpc, as if it had come over HTTP/2
//!                      {"header":…}   ◄── Told  ◄─frames──
//!
//! It stands before the gRPC side of its own thread and knows no service: a path names a method, the method's
//! descriptors say how its messages look in JSON. Limits, counters, codes and texts are therefore those of gRPC.

mod asked;
mod exponents;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod json_scanner;
mod json_writer;
mod mapping;
mod paths;
mod told;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tonic::{Code, Status};

use self::asked::Asked;
use self::mapping::Mapping;
use crate::grpc::method::{Kind, MethodId};
use crate::grpc::{Body, Grpc, Inbound};

/// What a client names its call's metadata by.
const METADATA_PREFIX: &str = "grpc-metadata-";
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Whether a path is the gateway's, be there something behind it or not.
pub(crate) fn serves(path: &str) -> bool {
    path.starts_with("/v3/") || path.starts_with("/v3beta/")
}

/// Answers one request.
pub(crate) async fn answer(grpc: &Grpc, head: &Request<()>, body: Incoming) -> Response<Body> {
    let Some(method) = paths::method(head.uri().path()) else {
        return told::refused(StatusCode::NOT_FOUND, &Status::new(Code::NotFound, "Not Found"));
    };
    if *head.method() != Method::POST {
        let status = Status::new(Code::Unimplemented, "Method Not Allowed");
        return told::refused(StatusCode::NOT_IMPLEMENTED, &status);
    }
    if let Err(status) = timeout(head.headers()) {
        return told::refused(told::http_status(status.code()), &status);
    }
    let mapping = Mapping::of(method.method());
    let kind = method.method().kind;
    let (is_stream, memory) = (kind == Kind::BidiStream, grpc.memory().clone());
    let asked = Asked::new(body, mapping.clone(), is_stream, grpc.message_bytes_max(), memory);
    let Ok(response) = grpc.call(request(method, head.headers(), Inbound::Boxed(asked.boxed_unsync()))).await;
    match kind {
        Kind::Unary => told::one(response, &mapping).await,
        Kind::ServerStream | Kind::BidiStream => told::many(response, mapping).await,
    }
}

/// Checks the time that a request may take.
///
/// # Errors
/// `InvalidArgument` where it is none, and `DeadlineExceeded` where it lies in the past, as grpc-gateway has both.
fn timeout(headers: &HeaderMap) -> Result<(), Status> {
    let Some(timeout) = headers.get(GRPC_TIMEOUT).filter(|timeout| !timeout.is_empty()) else {
        return Ok(());
    };
    let timeout = String::from_utf8_lossy(timeout.as_bytes());
    let amount = timeout.strip_suffix(['H', 'M', 'S', 'm', 'u', 'n']);
    match amount.and_then(|amount| amount.parse::<i64>().ok()) {
        None => Err(Status::invalid_argument(format!("invalid grpc-timeout: {timeout}"))),
        Some(..0) => Err(Status::deadline_exceeded("context deadline exceeded")),
        Some(0..) => Ok(()),
    }
}

/// Headers that belong to the call itself: a client's metadata does not replace them.
const RESERVED: [&str; 8] = [
    "content-type",
    "user-agent",
    "grpc-message-type",
    "grpc-encoding",
    "grpc-message",
    "grpc-status",
    "grpc-timeout",
    "te",
];

/// The call as it would have come over HTTP/2.
fn request(method: MethodId, headers: &HeaderMap, body: Inbound) -> Request<Inbound> {
    let mut request = Request::new(body);
    *request.version_mut() = Version::HTTP_2;
    *request.method_mut() = Method::POST;
    *request.uri_mut() = http::Uri::from_static(method.method().path);
    let metadata = request.headers_mut();
    metadata.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    // None of it is no bound.
    if let Some(timeout) = headers.get(GRPC_TIMEOUT)
        && timeout.as_bytes().iter().any(|byte| matches!(byte, b'1'..=b'9'))
    {
        metadata.insert(GRPC_TIMEOUT, timeout.clone());
    }
    for (name, value) in headers {
        if *name == AUTHORIZATION {
            metadata.append(name, value.clone());
        }
        let Some(name) = name.as_str().strip_prefix(METADATA_PREFIX) else { continue };
        if let Ok(name) = HeaderName::from_bytes(name.as_bytes())
            && !RESERVED.contains(&name.as_str())
        {
            metadata.append(name, value.clone());
        }
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let name = HeaderName::from_static;
        pairs.iter().map(|(key, value)| (name(key), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_timeout_is_a_number_and_a_unit() {
        let check = |text: &'static str, expected: Result<(), (Code, &str)>| {
            let outcome = timeout(&headers(&[("grpc-timeout", text)]));
            let outcome = outcome.map_err(|status| (status.code(), status.message().to_owned()));
            assert_eq!(outcome, expected.map_err(|(code, text)| (code, text.to_owned())), "{text}");
        };
        check("300m", Ok(()));
        check("0S", Ok(()));
        check("", Ok(()));
        check("300", Err((Code::InvalidArgument, "invalid grpc-timeout: 300")));
        check("S", Err((Code::InvalidArgument, "invalid grpc-timeout: S")));
        check("xS", Err((Code::InvalidArgument, "invalid grpc-timeout: xS")));
        check("1s", Err((Code::InvalidArgument, "invalid grpc-timeout: 1s")));
        check("-1S", Err((Code::DeadlineExceeded, "context deadline exceeded")));
    }

    #[test]
    fn metadata_replaces_nothing_of_the_call_itself() {
        let put = MethodId::of("/etcdserverpb.KV/Put").expect("it is in the table");
        let body =
            || Inbound::Boxed(http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync());
        let made = |pairs: &[(&'static str, &'static str)]| {
            let request = request(put, &headers(pairs), body());
            let mut made: Vec<String> = request
                .headers()
                .iter()
                .map(|(name, value)| format!("{name}: {}", value.to_str().expect("it is text")))
                .collect();
            made.sort();
            made.join(", ")
        };
        let kind = "content-type: application/grpc";
        assert_eq!(made(&[("grpc-metadata-grpc-encoding", "gzip"), ("grpc-encoding", "gzip")]), kind);
        assert_eq!(made(&[("grpc-metadata-hasleader", "true")]), format!("{kind}, hasleader: true"));
        assert_eq!(made(&[("grpc-timeout", "0S")]), kind);
        assert_eq!(made(&[("grpc-timeout", "10S")]), format!("{kind}, grpc-timeout: 10S"));
    }
}
