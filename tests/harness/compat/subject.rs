//! The stores that are asked the same, and their agreement.

use anyhow::{Result, ensure};
use proto::etcdserverpb::WatchCreateRequest;
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
    pub clients: Clients,
    pub everything: Watching,
    pub watchers: Vec<Watching>,
}

impl Subject {
    async fn start(kind: Kind, arguments: &[&str]) -> Result<Subject> {
        let server = Server::start_with(kind, arguments)?;
        let clients = Clients::new(&server.endpoint())?;
        let create = WatchCreateRequest {
            key: vec![0].into(),
            range_end: vec![0].into(),
            start_revision: 1,
            prev_kv: true,
            ..WatchCreateRequest::default()
        };
        let everything = Watching::open(&clients, create).await?;
        Ok(Subject { kind, _server: server, clients, everything, watchers: Vec::new() })
    }
}

/// etcd 3.6, etcd 3.7, and Mainstem with 1 and with 5 partitions, as one process and in tiers. `COMPAT_KINDS=etcd` leaves Mainstem out.
///
/// # Errors
/// When one cannot be started.
pub async fn subjects(arguments: &[&str]) -> Result<Vec<Subject>> {
    let mut kinds = vec![Kind::Etcd36, Kind::Etcd37];
    if std::env::var("COMPAT_KINDS").as_deref() != Ok("etcd") {
        kinds.extend([1, 5].map(|partitions| Kind::Mainstem { partitions }));
        kinds.extend([1, 5].map(|partitions| Kind::Tiers { partitions }));
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
        outcomes.push(settled(request, request.ask(&subject.clients).await));
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
