//! What a transaction does, worked out from what was read: pure, without clock, store or waiting.
//!
//!     Txn ─► looks_of_compares ─┐                     the compares of all levels see the start of the transaction
//!                               ├─ read ─► Found
//!            choose ◄───────────┘                     which branches are taken: a plan of steps
//!            plan.looks, plan.ranges ─ read ─► Found
//!            evaluate ─► Outcome { writes, footprint, answers }
//!                                                     append; at which revision is only known now
//!            settle(before, after) ─► TxnAnswer
//!
//! Each read may be as of another revision: the footprint says which, and the sequencer refuses the append if any
//! of them has changed since. So everything that has effects is as if it had been read at once.

mod overlay;
mod plan;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod serial;
mod settle;

use journal::{KeyRange, LeaseId, Read, Revision, Write};
use memstore::KeyValue;

use self::overlay::Overlay;
pub(crate) use self::plan::{Look, Plan, choose, looks_of_compares};
use self::plan::{Source, Step};
pub(crate) use self::settle::Answers;
use self::settle::StepAnswer;
use crate::error::Error;
use crate::operation::{DeleteRange, Put};

/// A part of what was read, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) keys: KeyRange,
    pub(crate) at: Revision,
}

/// What a read found: the keys in order, and how many there are whatever was left out of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) kvs: Vec<KeyValue>,
    pub(crate) count: u64,
    /// What was read to know this. Empty where it can no longer change.
    pub(crate) parts: Vec<Part>,
}

/// What a transaction does.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) writes: Vec<Write>,
    /// What it rests on.
    pub(crate) footprint: Vec<Read>,
    pub(crate) answers: Answers,
}

/// Why a transaction does nothing at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) error: Error,
    /// Leases named by puts up to there: where one of them does not exist, that is why.
    pub(crate) leases: Vec<LeaseId>,
}

/// Works the plan out. `found` answers `plan.looks` and `ranges` answers `plan.ranges`, each in order.
///
/// # Errors
/// Where etcd would write nothing: a revision that cannot be read, a key that must exist and does not.
pub(crate) fn evaluate(
    plan: &Plan,
    found: Vec<Found>,
    ranges: Vec<Result<Found, Error>>,
) -> Result<Outcome, Refused> {
    check(plan, &found, &ranges)?;
    let parts = found.iter().chain(ranges.iter().flatten()).flat_map(|found| &found.parts);
    let footprint = plan.rests_on.iter().chain(parts).map(footprint).collect();
    let mut run = Run {
        writes: Vec::with_capacity(plan.writes_about),
        overlay: Overlay::new(plan.reads_own_writes),
        found: found.into_iter().map(Some).collect(),
        ranges: ranges.into_iter().map(Result::ok).collect(),
    };
    let steps = plan.steps.iter().map(|step| run.step(step)).collect::<Result<_, _>>();
    let steps = steps.map_err(|error| Refused { error, leases: Vec::new() })?;
    let answers = Answers { steps, changed: !run.writes.is_empty() };
    Ok(Outcome { writes: run.writes, footprint, answers })
}

fn footprint(part: &Part) -> Read {
    Read::Keys { keys: part.keys.clone(), at: part.at }
}

/// Everything that may refuse the transaction is looked at before anything is written, operation by operation.
fn check(plan: &Plan, found: &[Found], ranges: &[Result<Found, Error>]) -> Result<(), Refused> {
    let mut leases = Vec::new();
    for step in &plan.steps {
        let refusal = match step {
            Step::Range { source: Source::Range(index), .. } => ranges[*index].as_ref().err().cloned(),
            Step::Range { source: Source::Compacted, .. } => Some(Error::Compacted),
            Step::Put { put, look } => {
                let missing = put.needs_key() && look.is_some_and(|look| found[look].kvs.is_empty());
                if put.lease != LeaseId::NONE && (plan.stands_alone || !missing) {
                    leases.push(put.lease);
                }
                missing.then_some(Error::KeyNotFound)
            }
            Step::Range { .. } | Step::DeleteRange { .. } | Step::Txn { .. } => None,
        };
        if let Some(error) = refusal {
            return Err(Refused { error, leases });
        }
    }
    Ok(())
}

/// A transaction at work.
struct Run {
    writes: Vec<Write>,
    overlay: Overlay,
    /// Each look and each range belongs to one step, which takes it.
    found: Vec<Option<Found>>,
    ranges: Vec<Option<Found>>,
}

impl Run {
    fn step(&mut self, step: &Step) -> Result<StepAnswer, Error> {
        let changed = !self.writes.is_empty();
        Ok(match step {
            Step::Range { range, source } => {
                let found = match source {
                    Source::Range(index) => self.ranges[*index].take().expect("checked before"),
                    Source::Look(index) => self.look(&range.keys, *index),
                    Source::Compacted => return Err(Error::Compacted),
                };
                StepAnswer::Range { kvs: found.kvs, count: found.count, changed }
            }
            Step::Put { put, look } => self.put(put, *look)?,
            Step::DeleteRange { delete, look } => self.delete(delete, *look),
            Step::Txn { succeeded, operations } => {
                StepAnswer::Txn { succeeded: *succeeded, operations: *operations }
            }
        })
    }

    /// What a look found, with what this transaction has done since.
    fn look(&mut self, keys: &KeyRange, index: usize) -> Found {
        let mut found = self.found[index].take().expect("a look belongs to one step");
        if self.overlay.touches(keys) {
            found.kvs = self.overlay.merge(keys, found.kvs);
            found.count = found.kvs.len() as u64;
        }
        found
    }

    fn put(&mut self, put: &Put, look: Option<usize>) -> Result<StepAnswer, Error> {
        let prev = look.and_then(|look| self.look(&KeyRange::Single(put.key.clone()), look).kvs.pop());
        let (mut value, mut lease) = (put.value.clone(), put.lease);
        if put.needs_key() {
            // It was there at the start; a deletion of every key from one on may have come in between.
            let prev = prev.as_ref().ok_or(Error::KeyNotFound)?;
            value = if put.ignore_value { prev.value.clone() } else { value };
            lease = if put.ignore_lease { prev.lease } else { lease };
        }
        self.overlay.put(&put.key, &value, lease);
        self.writes.push(Write::Put { key: put.key.clone(), value, lease });
        Ok(StepAnswer::Put { prev_kv: prev.filter(|_| put.prev_kv) })
    }

    fn delete(&mut self, delete: &DeleteRange, look: usize) -> StepAnswer {
        let kvs = self.look(&delete.keys, look).kvs;
        for kv in &kvs {
            self.overlay.delete(&kv.key);
            self.writes.push(Write::delete(&kv.key));
        }
        let deleted = kvs.len() as u64;
        let prev_kvs = if delete.prev_kv { kvs } else { Vec::new() };
        StepAnswer::DeleteRange { deleted, prev_kvs, changed: !self.writes.is_empty() }
    }
}

#[cfg(test)]
mod tests;
