//! Plain HTTP beside gRPC: versions, probes, metrics, and `/status.json`, which is ours.
//!
//! Paths, methods, headers and texts are etcd's to the letter, because scripts, kubelets and load balancers
//! compare them.

mod health;
mod origin;
mod probes;
mod redirect;
mod vars;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use journal::machine;

use self::health::Asked;
pub(crate) use self::health::{HealthCounters, ReadProbe, Vitals, name as alarm_name};
pub(crate) use self::origin::{Names, Origins};
use self::probes::Probe;
pub(crate) use self::probes::SERIES;
use crate::gateway;
use crate::grpc::compression;
use crate::grpc::{Body, BoxFuture, Grpc};
use crate::metrics::Metrics;
use crate::metrics::exposition::Exposition;
use crate::version::Version;

const NOSNIFF: HeaderName = HeaderName::from_static("x-content-type-options");
const TEXT: &str = "text/plain; charset=utf-8";

/// Everything that is answered without gRPC.
pub(crate) struct Http {
    pub(crate) vitals: Vitals,
    pub(crate) version: Version,
    pub(crate) metrics: Metrics,
    /// What the cluster is like, as JSON.
    pub(crate) status: Box<dyn Fn() -> BoxFuture<String> + Send + Sync>,
    pub(crate) origins: Origins,
    /// The command line, for `/debug/vars`.
    pub(crate) arguments: Vec<String>,
}

impl Http {
    /// Answers a request of a client. What is for the JSON gateway goes on to `grpc`, where there is a gateway.
    pub(crate) fn call(
        self: &Arc<Http>,
        request: Request<Incoming>,
        grpc: Option<Arc<Grpc>>,
    ) -> BoxFuture<Response<Body>> {
        let http = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let head = Request::from_parts(head, ());
            if let Some(redirect) = redirect::answer(&head, grpc.is_some()) {
                return http.answer(&head, std::future::ready(redirect)).await;
            }
            let grpc = grpc.filter(|_| gateway::serves(head.uri().path()));
            match grpc {
                Some(grpc) => http.answer(&head, gateway::answer(&grpc, &head, body)).await,
                None => http.answer(&head, http.route(&head)).await,
            }
        })
    }

    /// Answers a request on an address for probes, which have no origins and get no data.
    pub(crate) fn probed(self: &Arc<Http>, request: Request<Incoming>) -> BoxFuture<Response<Body>> {
        let http = self.clone();
        Box::pin(async move { http.probe(&request.map(drop)).await })
    }

    async fn probe(&self, request: &Request<()>) -> Response<Body> {
        if let Some(redirect) = redirect::answer(request, false) {
            return redirect;
        }
        match request.uri().path() {
            "/version" | "/debug/vars" => not_found(),
            _ => self.route(request).await,
        }
    }

    async fn answer(
        &self,
        request: &Request<()>,
        answer: impl Future<Output = Response<Body>>,
    ) -> Response<Body> {
        if let Some(host) = self.origins.refuses_host(request) {
            return error(StatusCode::MISDIRECTED_REQUEST, &origin::unknown_host(&host));
        }
        let mut response = match *request.method() {
            // What a browser asks before it lets a page ask.
            Method::OPTIONS => Response::new(Body::Empty),
            _ => answer.await,
        };
        self.origins.allow(request, &mut response);
        response
    }

    async fn route(&self, request: &Request<()>) -> Response<Body> {
        let path = request.uri().path();
        // The one path that etcd answers whatever the method.
        if path == "/metrics" {
            return self.metrics(request).await;
        }
        if let Some(probe) = Probe::of(path) {
            return match not_get(request) {
                None => probe.answer(&self.vitals, request).await,
                Some(refused) => refused,
            };
        }
        if !matches!(path, "/version" | "/health" | "/debug/vars" | "/status.json") {
            return not_found();
        }
        if let Some(refused) = not_get(request) {
            return refused;
        }
        match path {
            "/version" => json(self.version.document()),
            "/health" => self.vitals.health(&Asked::of(request)).await,
            "/status.json" => json((self.status)().await),
            _ => json(vars::document(&self.arguments, &self.vitals)),
        }
    }

    async fn metrics(&self, request: &Request<()>) -> Response<Body> {
        let exposition = Exposition::negotiated(request.headers());
        let mut page = match *request.method() {
            Method::HEAD => Bytes::new(),
            _ => self.metrics.page(&self.vitals, exposition.format),
        };
        let mut response = Response::new(Body::Empty);
        let kind = HeaderValue::from_str(&exposition.content_type()).expect("it is plain ASCII");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        if exposition.gzip {
            let plain = page.clone();
            // Some milliseconds' work.
            let compressed = machine::spawn_blocking(move || compression::gzip(&plain)).await;
            if let Ok(compressed) = compressed {
                page = compressed.into();
                response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            }
        }
        response.map(|_| Body::Full(page))
    }
}

fn not_get(request: &Request<()>) -> Option<Response<Body>> {
    if *request.method() == Method::GET {
        return None;
    }
    let mut refused = error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
    Some(refused)
}

fn not_found() -> Response<Body> {
    error(StatusCode::NOT_FOUND, "404 page not found")
}

fn full(text: String) -> Body {
    Body::Full(Bytes::from(text))
}

fn json(document: String) -> Response<Body> {
    with_type(Response::new(full(document)), "application/json")
}

/// A plain text, with the newline and the headers of Go's error pages.
fn error(code: StatusCode, text: &str) -> Response<Body> {
    let mut response = plain(format!("{text}\n"));
    *response.status_mut() = code;
    response
}

fn plain(text: String) -> Response<Body> {
    let mut response = with_type(Response::new(full(text)), TEXT);
    response.headers_mut().insert(NOSNIFF, HeaderValue::from_static("nosniff"));
    response
}

fn with_type(mut response: Response<Body>, kind: &'static str) -> Response<Body> {
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// The values of a query's parameter, in order; one that is only named has the value "".
fn parameters<'a>(request: &'a Request<()>, name: &'a str) -> impl Iterator<Item = &'a str> {
    let pairs = request.uri().query().unwrap_or_default().split('&');
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(move |(key, _)| *key == name)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests;
