//! Time: who begins after something was answered is not behind that.
//!
//!     ├─── a ───┤ @7        ├─── b ───┤        b writes: above 7.  b reads: at 7 or above, unless it is content with the past
//!
//! At one endpoint no revision is ever below one that it told before, whatever was asked.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use maelstrom::check::Findings;

use super::Sightings;
use crate::compat::Request;
use crate::history::{Moment, Operation, revision, wrote};

/// At some moment somebody knew of a revision.
struct Known<'a> {
    at: Moment,
    revision: i64,
    by: Option<&'a Operation>,
}

fn known<'a>(history: impl Iterator<Item = &'a Operation>, sightings: &Sightings) -> Vec<Known<'a>> {
    let answers = history.filter_map(|operation| {
        Some(Known { at: operation.answered()?, revision: revision(operation)?, by: Some(operation) })
    });
    let seen = sightings.iter().map(|(revision, seen)| Known { at: seen.at, revision: *revision, by: None });
    let mut all: Vec<Known> = answers.chain(seen).collect();
    all.sort_by_key(|known| known.at);
    all
}

pub(super) fn check(history: &[Operation], sightings: &Sightings, findings: &mut Findings) {
    let global = known(history.iter(), sightings);
    sweep(history.iter(), &global, findings, |operation, known| {
        let floor = known.revision;
        match (wrote(operation), revision(operation)) {
            (Some(made), _) if made <= floor => Some("a write from before it was asked for"),
            (None, Some(read)) if read < floor && operation.call.request.is_linearizable() => {
                Some("a stale read")
            }
            _ => None,
        }
    });
    let mut endpoints: BTreeMap<usize, Vec<&Operation>> = BTreeMap::new();
    for operation in history {
        endpoints.entry(operation.call.endpoint).or_default().push(operation);
    }
    for operations in endpoints.values() {
        let local = known(operations.iter().copied(), &Sightings::new());
        sweep(operations.iter().copied(), &local, findings, |operation, known| {
            let goes_back = revision(operation).is_some_and(|told| told < known.revision);
            // What is not content with the past was judged above.
            let is_content = !operation.call.request.is_linearizable();
            (goes_back && is_content).then_some("an endpoint's revision went back")
        });
    }
    leases(history, findings);
}

/// Calls `judge` with each operation and the highest revision known when it began.
fn sweep<'a>(
    operations: impl Iterator<Item = &'a Operation>,
    known: &[Known],
    findings: &mut Findings,
    judge: impl Fn(&Operation, &Known) -> Option<&'static str>,
) {
    let mut operations: Vec<&Operation> = operations.collect();
    operations.sort_by_key(|operation| operation.invoked);
    let (mut ended, mut highest) = (known.iter().peekable(), None::<&Known>);
    for operation in operations {
        while let Some(next) = ended.next_if(|next| next.at < operation.invoked) {
            if highest.is_none_or(|highest| highest.revision < next.revision) {
                highest = Some(next);
            }
        }
        let Some(highest) = highest else { continue };
        if let Some(name) = judge(operation, highest) {
            let by = match highest.by {
                Some(by) => format!("answered before: {by}"),
                None => {
                    format!("a watcher was told of {} at {:.4}", highest.revision, highest.at.as_secs_f64())
                }
            };
            findings.found(name, vec![operation.to_string(), by]);
        }
    }
}

/// Nothing is attached to a lease once its revocation was answered.
fn leases(history: &[Operation], findings: &mut Findings) {
    let revoked: BTreeMap<i64, &Operation> = history
        .iter()
        .filter(|operation| operation.is_ok())
        .filter_map(|operation| match &operation.call.request {
            Request::Revoke(revoke) => Some((revoke.id, operation)),
            _ => None,
        })
        .collect();
    for operation in history.iter().filter(|operation| operation.is_ok()) {
        let Request::Put(put) = &operation.call.request else { continue };
        let gone = revoked.get(&put.lease).filter(|revoke| revoke.is_before(operation));
        if let Some(revoke) = gone {
            let story = vec![operation.to_string(), format!("answered before: {revoke}")];
            findings.found("attached to a revoked lease", story);
        }
    }
}

/// For each revision the earliest moment at which somebody knew of it, or of a later one.
pub(super) struct Latest {
    /// By revision, and by moment too.
    known: Vec<(i64, Moment)>,
}

impl Latest {
    pub(super) fn of(history: &[Operation], sightings: &Sightings) -> Latest {
        let mut all: Vec<(i64, Moment)> =
            known(history.iter(), sightings).into_iter().map(|known| (known.revision, known.at)).collect();
        all.sort_by_key(|(revision, at)| (Reverse(*revision), *at));
        let mut earliest = Moment::MAX;
        all.retain(|(_, at)| {
            let is_earlier = *at < earliest;
            earliest = earliest.min(*at);
            is_earlier
        });
        all.reverse();
        Latest { known: all }
    }

    /// Whether something that was asked for at `invoked` can have made `revision`.
    pub(super) fn allows(&self, revision: i64, invoked: Moment) -> bool {
        let first = self.known.partition_point(|(known, _)| *known < revision);
        self.known.get(first).is_none_or(|(_, at)| invoked <= *at)
    }
}
