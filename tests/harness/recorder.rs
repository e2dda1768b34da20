//! Real clients whose every call is noted: what was asked of which endpoint, what was told, and when.
//!
//!     workload ──► Recorder ──► endpoints          history ──► linearize, by_key
//!                  Listener ──► endpoints        watchings ──► watched
//!
//! A call that is not answered within a client's patience is of unknown outcome, and so is one whose connection breaks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use maelstrom::check::Verdict;
use parking_lot::Mutex;

use crate::clients::Clients;
use crate::compat::{self, Request};
use crate::history::{Call, Moment, Operation, Outcome, Phase, ended};
use crate::watched::{Watching, sightings};
use crate::{by_key, linearize, watched};

mod listener;

pub use listener::Listener;

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many anomalies are shown.
const SHOWN_MAX: usize = 5;

#[derive(Clone)]
pub struct Recorder {
    began: Instant,
    endpoints: Arc<[Clients]>,
    history: Arc<Mutex<Vec<Operation>>>,
}

impl Recorder {
    /// # Errors
    /// When an endpoint is no URL.
    pub fn new(endpoints: &[String]) -> Result<Recorder> {
        let endpoints = endpoints.iter().map(|url| Clients::new(url)).collect::<Result<_>>()?;
        Ok(Recorder { began: Instant::now(), endpoints, history: Arc::default() })
    }

    /// How many endpoints there are.
    #[must_use]
    pub fn endpoints(&self) -> usize {
        self.endpoints.len()
    }

    fn now(&self) -> Moment {
        self.began.elapsed()
    }

    /// Asks, notes it, and answers what was told.
    pub async fn ask(&self, client: u32, endpoint: usize, request: Request) -> Option<compat::Outcome> {
        let call = Call { endpoint, request };
        let invoked = self.now();
        let told = tokio::time::timeout(PATIENCE, call.request.ask(&self.endpoints[endpoint])).await.ok();
        let outcome = match told.clone() {
            Some(told) => ended(self.now(), told),
            None => Outcome::Info { why: format!("no answer within {PATIENCE:?}") },
        };
        self.history.lock().push(Operation { client, call, invoked, outcome, phase: Phase::Main });
        told
    }

    #[must_use]
    pub fn history(&self) -> Vec<Operation> {
        self.history.lock().clone()
    }
}

/// How much was judged.
#[derive(Clone, Copy, Debug)]
pub struct Judged {
    pub answered: usize,
    pub refused: usize,
    pub unknown: usize,
    pub revisions: usize,
    /// How many events watchers were told, and over how many connections.
    pub events: usize,
    pub sessions: usize,
}

/// By all judges.
///
/// # Errors
/// What they found.
pub fn judge(history: &[Operation], watchings: &[Watching], upto: i64) -> Result<Judged> {
    let (by_revision, story) = linearize::check(history, &sightings(watchings));
    let by_key = by_key::check(history);
    let watched = watched::check(watchings, &story, upto);
    for (judge, findings) in [("by revisions", by_revision), ("by keys", by_key), ("watchers", watched)] {
        let anomalies = findings.anomalies.iter().take(SHOWN_MAX).map(ToString::to_string);
        let text = anomalies.chain(findings.undecided.clone()).collect::<Vec<_>>().join("\n");
        ensure!(
            findings.verdict() == Verdict::Valid,
            "{judge}: {} anomalies\n{text}",
            findings.anomalies.len()
        );
    }
    let last = story.revisions.keys().last().copied().context("nothing was ever written")?;
    ensure!(upto <= last, "all up to {upto} is to be judged, and the story ends with {last}");
    let sessions = || watchings.iter().flat_map(|watching| &watching.sessions);
    let count = |which: fn(&Operation) -> bool| history.iter().filter(|operation| which(operation)).count();
    Ok(Judged {
        answered: count(Operation::is_ok),
        refused: count(Operation::failed),
        unknown: count(|operation| operation.answered().is_none()),
        revisions: story.revisions.len(),
        events: sessions()
            .flat_map(|session| &session.responses)
            .map(|(_, response)| response.events.len())
            .sum(),
        sessions: sessions().count(),
    })
}
