//! Probes and metrics, answered from the first moment of a process, whatever it waits for.
//!
//!     starting    its journal does not answer yet      /livez 200, /health 503, has_leader 0
//!     waiting     the journal is there                 as before while it has no leader, and not ready in any case
//!     serving     everything is                        what the store is like
//!
//! Clients are accepted only when the process serves: one that is refused, or hears nothing, asks another endpoint.

use std::sync::Arc;

use memstore::Memory;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::StartError;
use super::serving::settings;
use crate::config::Config;
use crate::grpc::{AnswerRoom, Leadership, Services};
use crate::http::{HealthCounters, Http, Vitals};
use crate::listener::{Frontends, Socket, Tools};
use crate::metrics::Metrics;
use crate::metrics::rpc::RpcCounters;
use crate::status::Document;

/// The thread, where something is listened on, and what it answers with.
pub(super) struct Probes {
    thread: Option<Frontends>,
    answers: watch::Sender<Arc<Http>>,
}

impl Probes {
    /// Starts to answer as a process that is starting.
    ///
    /// # Errors
    /// `Threads`: the system gives no thread.
    pub(super) fn start(
        config: &Config,
        sockets: Vec<Socket>,
        memory: &Arc<Memory>,
    ) -> Result<Probes, StartError> {
        // Nothing is ever told: of a journal that there is not.
        let (_, status) = watch::channel(journal::Status::default());
        let (answers, answered) = watch::channel(Arc::new(starting(config, status.clone())));
        if sockets.is_empty() {
            return Ok(Probes { thread: None, answers });
        }
        let tools = Tools {
            services: Box::new(Services::default),
            counters: RpcCounters::new(),
            message_bytes_max: 0,
            answers: Arc::new(AnswerRoom::within(memory.clone())),
            leadership: Leadership::follow(status, config.election_timeout),
            http: answered,
        };
        let stops = CancellationToken::new();
        let thread = Frontends::start(sockets, vec![tools], &settings(config), &stops);
        Ok(Probes { thread: Some(thread.map_err(StartError::Threads)?), answers })
    }

    /// Answers with `http` from here on.
    pub(super) fn answer_with(&self, http: Arc<Http>) {
        self.answers.send_replace(http);
    }

    pub(super) async fn stop(self) {
        if let Some(thread) = self.thread {
            thread.stop().await;
        }
    }
}

/// The answers while there is no journal to ask.
fn starting(config: &Config, status: watch::Receiver<journal::Status>) -> Http {
    Http {
        vitals: Vitals {
            status,
            read: Box::new(|linearizable| Box::pin(async move { not_ready(linearizable) })),
            unsettled: None,
            counters: HealthCounters::default(),
        },
        version: config.version.clone(),
        metrics: Metrics {
            version: config.version.clone(),
            quota_bytes: config.limits.quota_bytes.unwrap_or_default(),
            feature_gates: config.feature_gates.clone(),
            leader_changes: Arc::default(),
            rpc: Vec::new(),
            sources: Vec::new(),
        },
        status: Box::new(|| Box::pin(async { Document::of_a_start().to_json() })),
        origins: config.origins(),
        arguments: std::env::args().collect(),
    }
}

/// A read while the process starts. What is stale can always be read.
pub(super) fn not_ready(linearizable: bool) -> Result<(), String> {
    if linearizable { Err("this process is starting".to_owned()) } else { Ok(()) }
}
