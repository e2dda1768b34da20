//! gRPC: from a request's path to the service that answers it.
//!
//! There is no router: a call's path is looked up once in the table of methods, which gives the place of its
//! counters, and then its service is called. Each frontend thread has its own services.

mod answer_room;
pub(crate) mod body;
mod call;
pub(crate) mod compression;
pub(crate) mod frames;
mod guard;
mod health;
mod inbound;
mod kv;
mod leadership;
pub(crate) mod method;
mod received;
mod unary;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Request, Response};
use memstore::Memory;
use proto::etcdserverpb::kv_server::Kv;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

pub(crate) use self::answer_room::AnswerRoom;
pub(crate) use self::body::Body;
pub(crate) use self::call::Call;
use self::call::Ends;
use self::compression::{Compression, Encoding};
use self::guard::Guard;
pub(crate) use self::inbound::Inbound;
pub(crate) use self::leadership::Leadership;
use self::method::{Kind, MethodId, split};
use self::received::Received;
use self::unary::Unary;
use crate::error::Error;
use crate::metrics::rpc::{Code, RpcCounters};

pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What a service needs to know of a call besides the request.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) method: MethodId,
    pub(crate) counters: Arc<RpcCounters>,
    pub(crate) message_bytes_max: usize,
    pub(crate) answers: Arc<AnswerRoom>,
}

/// What a service answers with: a unary call in one piece, or a body that tonic streams.
pub(crate) enum Answer {
    Whole(Response<Body>),
    Streamed(Response<tonic::body::Body>),
}

/// Answers the calls of one of gRPC's services.
pub(crate) trait Service: Send + Sync {
    fn call(&self, context: Context, request: Request<Inbound>) -> BoxFuture<Answer>;
}

/// The services of one frontend thread.
pub(crate) struct Services {
    /// By service name. A handful: looking through them is quicker than hashing.
    services: Vec<(&'static str, Box<dyn Service>)>,
    /// Whether this member has no vote yet: then little is served.
    learns: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Default for Services {
    fn default() -> Services {
        Services { services: vec![(health::NAME, Box::new(health::Health))], learns: Box::new(|| false) }
    }
}

impl Services {
    /// The service of keys, by the shortest way there is: nearly every call is one of its own.
    pub(crate) fn with_kv<K: Kv>(mut self, kv: K) -> Services {
        self.services.insert(0, (kv::NAME, Box::new(kv::KvService::new(kv))));
        self
    }

    /// Any other service, as tonic generates its server.
    pub(crate) fn with<S>(mut self, name: &'static str, server: S) -> Services
    where
        Generated<S>: Service + 'static,
    {
        self.services.push((name, Box::new(Generated(server))));
        self
    }

    /// Refuses what a member without a vote does not serve, while this one has none.
    pub(crate) fn while_learning(mut self, learns: impl Fn() -> bool + Send + Sync + 'static) -> Services {
        self.learns = Box::new(learns);
        self
    }

    fn find(&self, name: &str) -> Option<&dyn Service> {
        self.services.iter().find(|(service, _)| *service == name).map(|(_, service)| &**service)
    }
}

/// A server that tonic generated.
pub(crate) struct Generated<S>(S);

impl<S> Service for Generated<S>
where
    S: tower_service::Service<
            Request<Received>,
            Response = Response<tonic::body::Body>,
            Error = Infallible,
            Future = BoxFuture<Result<Response<tonic::body::Body>, Infallible>>,
        > + Clone
        + Send
        + Sync
        + 'static,
{
    fn call(&self, context: Context, request: Request<Inbound>) -> BoxFuture<Answer> {
        let Context { method, counters, message_bytes_max, .. } = context;
        let request = request.map(|body| Received::new(body, method, counters, message_bytes_max));
        let answer = self.0.clone().call(request);
        Box::pin(async move {
            match answer.await {
                Ok(response) => Answer::Streamed(response),
                Err(never) => match never {},
            }
        })
    }
}

/// The gRPC side of one frontend thread.
pub(crate) struct Grpc {
    services: Services,
    counters: Arc<RpcCounters>,
    message_bytes_max: usize,
    answers: Arc<AnswerRoom>,
    /// Unary calls that take longer are logged.
    slow: Duration,
    leadership: Leadership,
    stops: CancellationToken,
    compression: Compression,
}

impl Grpc {
    pub(crate) fn new(
        services: Services,
        counters: Arc<RpcCounters>,
        message_bytes_max: usize,
        answers: Arc<AnswerRoom>,
        slow: Duration,
        leadership: Leadership,
        stops: CancellationToken,
    ) -> Grpc {
        let compression = Compression::new(message_bytes_max, answers.clone());
        Grpc { services, counters, message_bytes_max, answers, slow, leadership, stops, compression }
    }

    /// The largest request, in bytes.
    /// Memory of the process.
    pub(crate) fn memory(&self) -> &Arc<Memory> {
        self.answers.memory()
    }

    pub(crate) fn message_bytes_max(&self) -> usize {
        self.message_bytes_max
    }

    pub(crate) fn call(&self, request: Request<Inbound>) -> Call {
        let path = request.uri().path();
        let Some(method) = MethodId::of(path) else { return Call::refused(unknown(path)) };
        let Some(service) = self.services.find(method.method().service()) else {
            return Call::refused(absent(method.method().service()));
        };
        let encoding = match Encoding::of(request.headers()) {
            Ok(encoding) => encoding,
            Err(status) => return Call::refused(status),
        };
        let is_unary = method.method().kind == Kind::Unary;
        self.counters.versions.count(request.headers(), is_unary);
        if !method.method().serves_learner() && (self.services.learns)() {
            return Call::refused(Error::NotForLearners.into());
        }
        let mut guard = Guard::begin(self.counters.clone(), method, self.slow);
        let leadership = Leadership::is_wanted(request.headers()).then(|| self.leadership.clone());
        if leadership.as_ref().is_some_and(|leadership| !leadership.exists()) {
            guard.ended(Code::UNAVAILABLE);
            return Call::refused(Error::NoLeader.into());
        }
        let timeout = timeout(request.headers());
        let context = Context {
            method,
            counters: self.counters.clone(),
            message_bytes_max: self.message_bytes_max,
            answers: self.answers.clone(),
        };
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let ends = Ends { stops: self.stops.clone(), leadership, deadline };
        let compression = match encoding {
            Encoding::Identity => None,
            Encoding::Gzip => Some(self.compression.clone()),
        };
        let request = match &compression {
            Some(compression) => compression.decompressed(request),
            None => request,
        };
        Call::new(service.call(context, request), guard, ends, compression)
    }
}

/// grpc's texts for a path that leads nowhere.
fn unknown(path: &str) -> Status {
    let Some((service, name)) = split(path) else {
        return Status::unimplemented(format!("malformed method name: {path:?}"));
    };
    let known = method::METHODS.iter().any(|method| method.service() == service);
    Status::unimplemented(match known {
        true => format!("unknown method {name} for service {service}"),
        false => format!("unknown service {service}"),
    })
}

fn absent(service: &str) -> Status {
    Status::unimplemented(format!("unknown service {service}"))
}

/// The deadline that a client set, as a duration from now.
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (amount, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let amount: u64 = amount.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount.saturating_mul(3600)),
        "M" => Duration::from_secs(amount.saturating_mul(60)),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_leads_nowhere_is_told_in_grpcs_words() {
        let check = |path: &str, text: &str| assert_eq!(unknown(path).message(), text);
        check("/etcdserverpb.KV/Nope", "unknown method Nope for service etcdserverpb.KV");
        check("/nope.Nope/Put", "unknown service nope.Nope");
        check("/Put", "malformed method name: \"/Put\"");
    }

    #[test]
    fn a_deadline_has_a_unit() {
        let check = |text: &'static str, expected: Option<Duration>| {
            let headers = HeaderMap::from_iter([(
                http::HeaderName::from_static("grpc-timeout"),
                http::HeaderValue::from_static(text),
            )]);
            assert_eq!(timeout(&headers), expected, "{text}");
        };
        check("5S", Some(Duration::from_secs(5)));
        check("100m", Some(Duration::from_millis(100)));
        check("99999999H", Some(Duration::from_secs(99_999_999 * 3600)));
        check("5", None);
        check("", None);
        check("5x", None);
    }
}
