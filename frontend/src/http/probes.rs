//! `/livez` and `/readyz`: probes made of named checks, each of which can be asked for by itself.
//!
//! A probe that fails tells each of its checks; one that goes well does so only when asked to. A full store is still
//! ready: reads, deletes and compactions work, and taking it out of service would not make room.

use std::sync::atomic::Ordering::Relaxed;

use http::{Request, Response, StatusCode};
use journal::Status;

use super::health::Vitals;
use super::{Body, error, parameters, plain};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    DataCorruption,
    SerializableRead,
    LinearizableRead,
    NonLearner,
}

const LIVE: &[Check] = &[Check::SerializableRead];
const READY: &[Check] =
    &[Check::DataCorruption, Check::SerializableRead, Check::LinearizableRead, Check::NonLearner];

/// Each check of each probe, in the order in which metrics tell them.
pub(crate) const SERIES: [(Check, &str); 5] = [
    (Check::DataCorruption, "readyz"),
    (Check::LinearizableRead, "readyz"),
    (Check::NonLearner, "readyz"),
    (Check::SerializableRead, "livez"),
    (Check::SerializableRead, "readyz"),
];

/// One probe: a path and its checks.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Probe {
    kind: &'static str,
    checks: &'static [Check],
}

impl Probe {
    /// The probe with this path: `/livez`, `/readyz`, or one check below it.
    pub(super) fn of(path: &str) -> Option<Probe> {
        let live = path.strip_prefix("/livez").map(|rest| ("livez", LIVE, rest));
        let ready = || path.strip_prefix("/readyz").map(|rest| ("readyz", READY, rest));
        let (kind, checks, rest) = live.or_else(ready)?;
        if rest.is_empty() {
            return Some(Probe { kind, checks });
        }
        let name = rest.strip_prefix('/')?;
        let place = checks.iter().position(|check| check.name() == name)?;
        Some(Probe { kind, checks: &checks[place..=place] })
    }

    pub(super) async fn answer(&self, vitals: &Vitals, request: &Request<()>) -> Response<Body> {
        let excluded: Vec<&str> = parameters(request, "exclude").collect();
        let verbose = parameters(request, "verbose").next().is_some();
        let (mut lines, mut failed) = (String::new(), false);
        for check in self.checks.iter().filter(|check| !excluded.contains(&check.name())) {
            let outcome = check.run(vitals).await;
            self.count(vitals, *check, outcome.is_ok());
            failed |= outcome.is_err();
            lines += &match outcome {
                Ok(()) => format!("[+]{} ok\n", check.name()),
                Err(reason) => format!("[-]{} failed: {reason}\n", check.name()),
            };
        }
        match (failed, verbose) {
            (true, _) => {
                tracing::warn!(path = self.kind, checks = lines, "a probe has failed");
                error(StatusCode::SERVICE_UNAVAILABLE, &lines)
            }
            (false, true) => plain(format!("{lines}ok\n")),
            (false, false) => plain("ok\n".to_owned()),
        }
    }

    fn count(&self, vitals: &Vitals, check: Check, healthy: bool) {
        let place = SERIES.iter().position(|series| *series == (check, self.kind));
        let counters = &vitals.counters.checks[place.expect("each check of each probe has a series")];
        let counter = if healthy { &counters.success } else { &counters.error };
        counter.fetch_add(1, Relaxed);
        counters.healthy.store(u64::from(healthy), Relaxed);
    }
}

impl Check {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Check::DataCorruption => "data_corruption",
            Check::SerializableRead => "serializable_read",
            Check::LinearizableRead => "linearizable_read",
            Check::NonLearner => "non_learner",
        }
    }

    async fn run(self, vitals: &Vitals) -> Result<(), String> {
        match self {
            Check::DataCorruption if vitals.alarms().contains(&"CORRUPT") => {
                Err("alarm activated: CORRUPT".to_owned())
            }
            Check::DataCorruption => Ok(()),
            Check::NonLearner if learns(&vitals.status.borrow()) => {
                Err("not supported for learner".to_owned())
            }
            Check::NonLearner => Ok(()),
            Check::SerializableRead => read(vitals, false).await,
            Check::LinearizableRead => {
                let unsettled = vitals.unsettled.as_ref().and_then(|unsettled| unsettled.borrow().clone());
                match unsettled {
                    Some(reason) => Err(reason),
                    None => read(vitals, true).await,
                }
            }
        }
    }
}

async fn read(vitals: &Vitals, linearizable: bool) -> Result<(), String> {
    (vitals.read)(linearizable).await
}

/// Whether this member follows without a vote. A frontend without a journal is no member.
fn learns(status: &Status) -> bool {
    status.members.iter().any(|member| member.id == status.node && member.learner)
}
