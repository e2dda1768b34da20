//! The JSON gateway: etcd's gRPC API for those who speak only HTTP and JSON.
//!
//!     POST /v3/kv/put  {"key":"YQ=="} ──► Asked ──frames──► Grpc, as if it had come over HTTP/2
//!                      {"header":…}   ◄── Told  ◄─frames──
//!
//! It stands before the gRPC side of its own thread and knows no service: a path names a method, the method's
//! descriptors say how its messages look in JSON. Limits, counters, codes and texts are therefore those of gRPC.

mod asked;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
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
    let mapping = Mapping::of(method.method());
    let kind = method.method().kind;
    let asked = Asked::new(body, mapping.clone(), kind == Kind::BidiStream, grpc.message_bytes_max());
    let Ok(response) = grpc.call(request(method, head.headers(), Inbound::Boxed(asked.boxed_unsync()))).await;
    match kind {
        Kind::Unary => told::one(response, &mapping).await,
        Kind::ServerStream | Kind::BidiStream => told::many(response, mapping).await,
    }
}

/// The call as it would have come over HTTP/2.
fn request(method: MethodId, headers: &HeaderMap, body: Inbound) -> Request<Inbound> {
    let mut request = Request::new(body);
    *request.version_mut() = Version::HTTP_2;
    *request.method_mut() = Method::POST;
    *request.uri_mut() = http::Uri::from_static(method.method().path);
    let metadata = request.headers_mut();
    metadata.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    for (name, value) in headers {
        if *name == AUTHORIZATION || *name == GRPC_TIMEOUT {
            metadata.append(name, value.clone());
        }
        let Some(name) = name.as_str().strip_prefix(METADATA_PREFIX) else { continue };
        if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
            metadata.append(name, value.clone());
        }
    }
    request
}
