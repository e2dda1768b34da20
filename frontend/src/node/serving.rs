//! What a process listens on for clients and for those who look after it, and what it answers them with.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use journal::Journal;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::journal_role::JournalRole;
use super::probes::{Probes, not_ready};
use super::replicas_here::ReplicasHere;
use super::security::Security;
use super::services;
use super::share::Unsettled;
use crate::config::Config;
use crate::error::Error;
use crate::etcd::header;
use crate::grpc::{AnswerRoom, BoxFuture, Leadership, Services};
use crate::http::{HealthCounters, Http, ReadProbe, Vitals};
use crate::listener::{Frontends, Settings, Socket, Tools};
use crate::metrics::rpc::RpcCounters;
use crate::metrics::{Metrics, Source, log, peers, state};
use crate::status::{Collector, Process};
use crate::store::Store;

/// How long a probe waits for the journal.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// The tiers that are asked for an answer.
pub(super) struct Serving<'a> {
    pub(super) config: &'a Config,
    pub(super) security: &'a Security,
    pub(super) journal: &'a JournalRole,
    /// The one in this process.
    pub(super) memstore: Option<&'a ReplicasHere>,
    /// Why that one is not ready yet, where it serves others.
    pub(super) unsettled: Option<watch::Receiver<Unsettled>>,
    /// What clients are answered from, where there are any.
    pub(super) store: Option<&'a Store>,
    pub(super) answers: Arc<AnswerRoom>,
    /// Whether everything is there that the process answers from.
    pub(super) is_ready: bool,
}

pub(super) fn settings(config: &Config) -> Settings {
    Settings {
        streams_max: config.limits.streams_max,
        keepalive_interval: config.keep_alive.interval,
        keepalive_timeout: config.keep_alive.timeout,
        slow_call: config.warn_call,
        gateway: config.gateway,
    }
}

impl Serving<'_> {
    /// Starts the threads for clients, none where nothing is listened on, and shows probes what they serve with.
    pub(super) fn start(
        &self,
        sockets: Vec<Socket>,
        probes: &Probes,
        stops: &CancellationToken,
    ) -> std::io::Result<Option<Frontends>> {
        let config = self.config;
        let counters: Vec<Arc<RpcCounters>> = (0..self.threads()).map(|_| RpcCounters::new()).collect();
        let http = Arc::new(self.http(&counters));
        probes.answer_with(http.clone());
        if sockets.is_empty() {
            return Ok(None);
        }
        let (_, http) = watch::channel(http);
        let leadership = Leadership::follow(self.journal.handle().status(), config.election_timeout);
        let tools = counters.into_iter().map(|counters| Tools {
            services: self.services(stops),
            counters,
            message_bytes_max: services::message_bytes_max(config),
            answers: self.answers.clone(),
            leadership: leadership.clone(),
            http: http.clone(),
        });
        Frontends::start(sockets, tools.collect(), &settings(config), stops).map(Some)
    }

    fn threads(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        match (self.store, self.config.frontend_threads) {
            (None, _) => 1,
            (Some(_), 0) => cores,
            (Some(_), threads) => threads,
        }
    }

    fn services(&self, stops: &CancellationToken) -> Box<dyn FnOnce() -> Services + Send> {
        let JournalRole { cluster, member, .. } = *self.journal;
        let identity = header::Identity { cluster_id: cluster, member_id: member };
        match self.store {
            Some(store) => services::maker(self.config, store, identity, self.answers.memory(), stops),
            None => Box::new(Services::default),
        }
    }

    pub(super) fn http(&self, counters: &[Arc<RpcCounters>]) -> Http {
        let (config, journal) = (self.config, &self.journal.handle());
        let status = Arc::new(self.collector());
        Http {
            vitals: Vitals {
                status: journal.status(),
                read: self.probe(),
                unsettled: self.unsettled.clone(),
                counters: HealthCounters::default(),
            },
            version: config.version.clone(),
            metrics: Metrics {
                version: config.version.clone(),
                feature_gates: config.feature_gates.clone(),
                quota_bytes: config.limits.quota_bytes.unwrap_or_default(),
                leader_changes: count_leaders(journal),
                rpc: counters.to_vec(),
                sources: self.sources(),
            },
            status: Box::new(move || {
                let status = status.clone();
                Box::pin(async move { status.json().await })
            }),
            origins: config.origins(),
            arguments: std::env::args().collect(),
        }
    }

    fn collector(&self) -> Collector {
        Collector::new(Process {
            id: self.journal.member,
            is_journal: self.config.roles.journal,
            journal: self.journal.handle(),
            memstore: self.memstore.map(|here| here.memstore.clone()),
            routes: self.store.map(|store| store.routes().clone()),
            dialer: self.journal.reaches_others.then(|| self.security.dialer.clone()),
        })
    }

    fn sources(&self) -> Vec<Source> {
        let figures = self.journal.thread.figures();
        let peers = figures.as_ref().and_then(|figures| figures.peers.clone()).map(peers::source);
        let log = figures.map(|figures| log::source(figures.log));
        let state = match (self.store, self.memstore) {
            (Some(store), _) => {
                let routes = store.routes().clone();
                Some(state::source(move || routes.stats()))
            }
            (None, Some(here)) => {
                let memstore = here.memstore.clone();
                Some(state::source(move || memstore.stats()))
            }
            (None, None) => None,
        };
        let applied = self.memstore.and_then(|here| here.memstore.apply_metrics()).map(log::applied);
        let activity = self.store.map(activity);
        [log, peers, state, applied, activity].into_iter().flatten().collect()
    }

    fn probe(&self) -> ReadProbe {
        let (store, journal, memstore) = (self.store.cloned(), self.journal.handle(), self.memstore.cloned());
        if !self.is_ready {
            return Box::new(|linearizable| Box::pin(async move { not_ready(linearizable) }));
        }
        Box::new(move |linearizable| -> BoxFuture<Result<(), String>> {
            let (store, journal, memstore) = (store.clone(), journal.clone(), memstore.clone());
            Box::pin(async move {
                // What is stale can always be read.
                if !linearizable {
                    return Ok(());
                }
                let read = async {
                    match &store {
                        // Whether a client's read would be answered, as etcd looks for one key.
                        Some(store) => store.ready_in_part().await.map(drop),
                        None => follows(&journal, memstore.as_ref()).await,
                    }
                };
                let timed = tokio::time::timeout(PROBE_TIMEOUT, read).await;
                let timed = timed.unwrap_or(Err(Error::TimedOut));
                timed.map_err(|error| tonic::Status::from(error).message().to_owned())
            })
        })
    }
}

fn activity(store: &Store) -> Source {
    let activity = store.activity().clone();
    Box::new(move |page| activity.write(page))
}

/// Whether the journal answers, and the memstore has what it has.
async fn follows(journal: &Journal, memstore: Option<&ReplicasHere>) -> Result<(), Error> {
    let at = journal.barrier().await?;
    match memstore {
        Some(memstore) => Ok(memstore.catch_up(at.lsn).await?),
        None => Ok(()),
    }
}

/// Counts how often another node began to lead, from the first on.
fn count_leaders(journal: &Journal) -> Arc<AtomicU64> {
    let (changes, mut status) = (Arc::new(AtomicU64::new(0)), journal.status());
    let counted = changes.clone();
    tokio::spawn(async move {
        let mut reign = (0, None);
        loop {
            let seen = {
                let status = status.borrow_and_update();
                (status.term, status.leader)
            };
            if seen.1.is_some() && seen != reign {
                reign = seen;
                counted.fetch_add(1, Relaxed);
            }
            if status.changed().await.is_err() {
                return;
            }
        }
    });
    changes
}
