//! The stores that are asked the same, and their agreement.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use proto::etcdserverpb::{RangeRequest, WatchCreateRequest};
use tonic::Code;

use super::outcome::{Outcome, in_both_etcds};
use super::request::Request;
use super::ties::settled;
use super::watching::Watching;
use crate::clients::Clients;
use crate::server::{Kind, Server};

/// A store and what watches it.
pub struct Subject {
    pub kind: Kind,
    _server: Server,
    endpoints: Vec<Endpoint>,
    turn: AtomicUsize,
    pub everything: Watching,
    pub watchers: Vec<Watching>,
}

impl Subject {
    async fn start(kind: Kind, arguments: &[&str]) -> Result<Subject> {
        let server = Server::start_with(kind, arguments)?;
        let endpoints = server.endpoints();
        let endpoints = endpoints.iter().map(|url| Endpoint::new(url)).collect::<Result<Vec<_>>>()?;
        let create = WatchCreateRequest {
            key: vec![0].into(),
            range_end: vec![0].into(),
            start_revision: 1,
            prev_kv: true,
            ..WatchCreateRequest::default()
        };
        let everything = Watching::open(&endpoints[0].clients, create).await?;
        let (turn, watchers) = (AtomicUsize::new(0), Vec::new());
        Ok(Subject { kind, _server: server, endpoints, turn, everything, watchers })
    }

    /// Clients of the first endpoint, which has caught up with what the others told.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn clients(&self) -> Result<&Clients> {
        self.caught_up(&self.endpoints[0]).await?;
        Ok(&self.endpoints[0].clients)
    }

    /// A further watcher, on the endpoint whose turn it is, and there it stays.
    ///
    /// # Errors
    /// When that one does not answer.
    pub async fn watch(&mut self, create: WatchCreateRequest) -> Result<()> {
        let endpoint = self.next();
        self.caught_up(endpoint).await?;
        let watcher = Watching::open(&endpoint.clients, create).await?;
        self.watchers.push(watcher);
        Ok(())
    }

    /// Asks the endpoint whose turn it is.
    async fn ask(&self, request: &Request) -> Result<Outcome> {
        let endpoint = self.next();
        if !request.is_linearizable() {
            self.caught_up(endpoint).await?;
        }
        let outcome = request.ask(&endpoint.clients).await;
        endpoint.told(outcome.revision())?;
        Ok(settled(request, outcome))
    }

    fn next(&self) -> &Endpoint {
        &self.endpoints[self.turn.fetch_add(1, Ordering::Relaxed) % self.endpoints.len()]
    }

    /// What was acknowledged over one endpoint another one may hear of later, as with etcd's members, and only a
    /// linearizable request waits for it. A store with one endpoint has nothing to catch up with.
    async fn caught_up(&self, endpoint: &Endpoint) -> Result<()> {
        if self.endpoints.len() > 1 {
            let request = RangeRequest { key: vec![0].into(), ..RangeRequest::default() };
            let outcome = Request::Range(request).ask(&endpoint.clients).await;
            endpoint.told(outcome.revision())?;
        }
        Ok(())
    }
}

/// One place where clients reach a store.
struct Endpoint {
    clients: Clients,
    /// The highest revision that it has told.
    revision: AtomicI64,
}

impl Endpoint {
    fn new(url: &str) -> Result<Endpoint> {
        Ok(Endpoint { clients: Clients::new(url)?, revision: AtomicI64::new(0) })
    }

    /// Its revision never goes back. Some answers have none, or 0.
    fn told(&self, revision: Option<i64>) -> Result<()> {
        if let Some(revision @ 1..) = revision {
            let before = self.revision.fetch_max(revision, Ordering::Relaxed);
            ensure!(before <= revision, "an endpoint tells revision {revision} after {before}");
        }
        Ok(())
    }
}

/// etcd 3.6, etcd 3.7, and Mainstem with 1 and with 5 partitions, as one process and in tiers, whose two frontends are
/// asked in turn. `COMPAT_KINDS=etcd` leaves Mainstem out.
///
/// # Errors
/// When one cannot be started.
pub async fn subjects(arguments: &[&str]) -> Result<Vec<Subject>> {
    let mut kinds = vec![Kind::Etcd36, Kind::Etcd37];
    if std::env::var("COMPAT_KINDS").as_deref() != Ok("etcd") {
        kinds.extend(Kind::ours());
    }
    let mut subjects = Vec::new();
    for kind in kinds {
        subjects.push(Subject::start(kind, arguments).await?);
    }
    Ok(subjects)
}

/// Asks every subject, and answers what they all say: where the two etcds differ, what 3.6 says.
///
/// # Errors
/// When one says something else.
pub async fn agree(subjects: &[Subject], request: &Request) -> Result<Outcome> {
    let mut outcomes = Vec::with_capacity(subjects.len());
    for subject in subjects {
        let outcome = subject.ask(request).await;
        outcomes.push(outcome.with_context(|| format!("{request:#?}\n{:?}", subject.kind))?);
    }
    let streams = matches!(request, Request::Stream(_));
    let judge = subjects.iter().position(|subject| subject.kind == judging(request)).expect("it was started");
    for (subject, outcome) in subjects.iter().zip(&outcomes) {
        let equal = match subject.kind {
            Kind::Etcd36 if streams => *outcome == unknown_stream(),
            kind if kind.is_ours() && !streams => *outcome == outcomes[judge],
            _ => in_both_etcds(outcome.clone()) == in_both_etcds(outcomes[judge].clone()),
        };
        ensure!(
            equal,
            "{request:#?}\n{:?} says:\n{outcome:#?}\n{:?} says:\n{:#?}",
            subject.kind,
            subjects[judge].kind,
            outcomes[judge]
        );
    }
    Ok(outcomes.swap_remove(judge))
}

/// Mainstem is as 3.6, the version it reports, but for what only 3.7 knows.
fn judging(request: &Request) -> Kind {
    match request {
        Request::Stream(_) => Kind::Etcd37,
        _ => Kind::Etcd36,
    }
}

fn unknown_stream() -> Outcome {
    let text = "unknown method RangeStream for service etcdserverpb.KV";
    Outcome::Refused(Code::Unimplemented, text.to_owned())
}
