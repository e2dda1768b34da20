//! Whether the store works: `/health`, and what every probe looks at.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::{Request, Response, StatusCode};
use journal::{Alarm, Status};
use tokio::sync::watch;

use super::probes::SERIES;
use super::{Body, BoxFuture, TEXT, error, full, parameters, with_type};

/// Reads one key, to see that it can be done. `true`: by way of the journal's leader.
pub(crate) type ReadProbe = Box<dyn Fn(bool) -> BoxFuture<Result<(), String>> + Send + Sync>;

/// What tells whether the store works.
pub(crate) struct Vitals {
    pub(crate) status: watch::Receiver<Status>,
    pub(crate) read: ReadProbe,
    /// Why a memstore that serves others is not ready, though it serves what it should. `None` at other processes.
    pub(crate) unsettled: Option<watch::Receiver<Option<String>>>,
    pub(crate) counters: HealthCounters,
}

/// How often it was asked for, and found. Probes come a few times a minute: shared counters cost nothing here.
#[derive(Default)]
pub(crate) struct HealthCounters {
    pub(crate) success: AtomicU64,
    pub(crate) failures: AtomicU64,
    /// In the order of `SERIES`.
    pub(crate) checks: [CheckCounters; SERIES.len()],
}

#[derive(Default)]
pub(crate) struct CheckCounters {
    pub(crate) success: AtomicU64,
    pub(crate) error: AtomicU64,
    /// What the last one found: 1 for well.
    pub(crate) healthy: AtomicU64,
}

/// What `/health` is asked for.
pub(super) struct Asked {
    exclude: Vec<String>,
    serializable: bool,
}

impl Asked {
    pub(super) fn of(request: &Request<()>) -> Asked {
        let exclude = parameters(request, "exclude").map(str::to_owned).collect();
        let serializable = parameters(request, "serializable").next() == Some("true");
        Asked { exclude, serializable }
    }
}

impl Vitals {
    pub(super) async fn health(&self, asked: &Asked) -> Response<Body> {
        let Some(reason) = self.ailment(asked).await else {
            self.counters.success.fetch_add(1, Relaxed);
            // The value is a string, and always was.
            return with_type(Response::new(full(document("true", ""))), TEXT);
        };
        self.counters.failures.fetch_add(1, Relaxed);
        tracing::warn!(reason, "serving /health false");
        error(StatusCode::SERVICE_UNAVAILABLE, &document("false", &reason))
    }

    async fn ailment(&self, asked: &Asked) -> Option<String> {
        let excluded = |alarm: &str| asked.exclude.iter().any(|excluded| excluded == alarm);
        if let Some(alarm) = self.alarms().into_iter().find(|alarm| !excluded(alarm)) {
            return Some(format!("ALARM {alarm}"));
        }
        if !asked.serializable && !self.has_leader() {
            return Some("RAFT NO LEADER".to_owned());
        }
        let read = (self.read)(!asked.serializable).await;
        read.err().map(|reason| format!("RANGE ERROR:{reason}"))
    }

    /// The names of the alarms that are raised.
    pub(crate) fn alarms(&self) -> Vec<&'static str> {
        self.status.borrow().alarms.iter().map(|(_, alarm)| name(*alarm)).collect()
    }

    pub(crate) fn has_leader(&self) -> bool {
        self.status.borrow().leader.is_some()
    }
}

/// As etcd prints it.
pub(crate) fn name(alarm: Alarm) -> &'static str {
    match alarm {
        Alarm::NoSpace => "NOSPACE",
        Alarm::Corrupt => "CORRUPT",
    }
}

fn document(health: &str, reason: &str) -> String {
    let reason = serde_json::Value::from(reason);
    format!("{{\"health\":\"{health}\",\"reason\":{reason}}}")
}
