//! What every journal node knows after applying the journal up to a position: the Raft state machine.
//!
//!     entry ──► apply ──► counters, leases, alarms, dedup, snapshot marks, routes          no value
//!
//! Applying is total: it has no branch that refuses, since the sequencer refused before the log. A batch
//! whose term is not its entry's is void: a leader that was deposed made it, and another term took it in. So is one
//! whose base is not the next revision: a batch before it was refused. Nothing in the log stops a start.
//!
//! Invariants: log order is revision order, dense (I1); equal journals make equal states, also across
//! `encode` and `decode`.

pub(crate) mod dedup;
mod encoding;
pub(crate) mod marks;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::lsn::Lsn;
use crate::origin::Origin;
use crate::planted::Bug;
use crate::record::{Alarm, Batch, LeaseId, Record, SysOp};
use crate::revision::Revision;
use crate::routes::Routes;
use dedup::{Dedup, Known, Outcome};
use marks::{Mark, Marks};

/// A lease as the journal has it. How much of it is left is only known to the leader's lessor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) granted_seconds: i64,
    /// Of a long lease, what was left when this was last written down. `None`: all of it.
    pub(crate) remaining_seconds: Option<i64>,
}

/// What applying a batch did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// Nothing: the batch was made in another term than the one that took it in, or after one that was refused.
    Void,
    /// Everything: this became of its records, in order.
    Records(Vec<Outcome>),
}

/// The state machine.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct State {
    applied: Lsn,
    term: u64,
    revision: Revision,
    compacted: Revision,
    leases: BTreeMap<LeaseId, Lease>,
    alarms: BTreeSet<(u64, Alarm)>,
    dedup: Dedup,
    marks: Marks,
    routes: Arc<Routes>,
}

impl Default for State {
    fn default() -> State {
        State::new(dedup::Limits::default())
    }
}

impl State {
    /// Before the first entry. All nodes of a cluster must have the same limits.
    pub(crate) fn new(limits: dedup::Limits) -> State {
        State {
            applied: Lsn::ZERO,
            term: 0,
            revision: Revision::EMPTY_STORE,
            compacted: Revision::ZERO,
            leases: BTreeMap::new(),
            alarms: BTreeSet::new(),
            dedup: Dedup::new(limits),
            marks: Marks::default(),
            routes: Arc::default(),
        }
    }

    /// Applies an entry that carries no batch: a leader's no-op, a membership.
    pub(crate) fn skip(&mut self, lsn: Lsn, term: u64) {
        assert!(self.applied < lsn, "entries are applied in order, and once");
        assert!(self.term <= term, "terms never go back");
        self.applied = lsn;
        self.term = term;
    }

    /// Applies a batch.
    pub(crate) fn apply(&mut self, lsn: Lsn, term: u64, batch: &Batch) -> Applied {
        self.skip(lsn, term);
        if batch.term != term && !Bug::IgnoreTheFence.is_planted() {
            return Applied::Void;
        }
        if !batch.follows(self.revision) {
            tracing::warn!(
                position = lsn.0,
                base_revision = batch.base_revision.0,
                revision = self.revision.0,
                "skipped a batch that does not follow the last revision: one before it was refused"
            );
            return Applied::Void;
        }
        let outcomes =
            batch.revisions().map(|(revision, record)| self.apply_record(revision, record)).collect();
        self.dedup.forget_before(lsn);
        Applied::Records(outcomes)
    }

    fn apply_record(&mut self, revision: Revision, record: &Record) -> Outcome {
        self.revision = revision;
        if let Some(sysop) = &record.sysop {
            self.apply_sysop(sysop);
        }
        let attempt = record.origin.attempt;
        let outcome = Outcome { lsn: self.applied, revision, term: self.term, attempt };
        self.dedup.note(record.origin, outcome);
        outcome
    }

    fn apply_sysop(&mut self, sysop: &SysOp) {
        match sysop {
            SysOp::LeaseGrant { lease, ttl_seconds } => {
                let granted = Lease { granted_seconds: *ttl_seconds, remaining_seconds: None };
                self.leases.insert(*lease, granted);
            }
            SysOp::LeaseRevoke { lease, .. } => {
                self.leases.remove(lease);
            }
            SysOp::LeaseCheckpoint { remaining_seconds } => {
                remaining_seconds.iter().for_each(|(lease, remaining)| self.checkpoint(*lease, *remaining));
            }
            SysOp::Compact { revision } => self.compacted = self.compacted.max(*revision),
            SysOp::AlarmRaise { member, alarm } => {
                self.alarms.insert((*member, *alarm));
            }
            SysOp::AlarmClear { member, alarm } => {
                self.alarms.remove(&(*member, *alarm));
            }
            SysOp::SnapshotMark { start, end, lsn, revision, set_hash } => {
                self.marks.note(Mark::new(start, end, *lsn, *revision, *set_hash));
            }
            // One that leaves a version out rests on a change that was refused.
            SysOp::Routes(routes) if routes.version() == self.routes.version() + 1 => {
                self.routes = routes.clone();
            }
            SysOp::Routes(_) => {}
        }
    }

    fn checkpoint(&mut self, lease: LeaseId, remaining_seconds: i64) {
        if let Some(lease) = self.leases.get_mut(&lease) {
            let less = remaining_seconds < lease.granted_seconds;
            lease.remaining_seconds = less.then_some(remaining_seconds);
        }
    }

    /// The last position applied.
    pub(crate) fn applied(&self) -> Lsn {
        self.applied
    }

    /// Of the last entry applied, also when it carried nothing.
    pub(crate) fn term(&self) -> u64 {
        self.term
    }

    /// The last revision given out and committed.
    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// The revision up to which history is forgotten; `Revision::ZERO` where it never was.
    pub(crate) fn compacted(&self) -> Revision {
        self.compacted
    }

    pub(crate) fn leases(&self) -> &BTreeMap<LeaseId, Lease> {
        &self.leases
    }

    pub(crate) fn alarms(&self) -> impl Iterator<Item = (u64, Alarm)> {
        self.alarms.iter().copied()
    }

    pub(crate) fn marks(&self) -> &Marks {
        &self.marks
    }

    pub(crate) fn routes(&self) -> &Arc<Routes> {
        &self.routes
    }

    /// What is known of a request, whichever attempt it was.
    pub(crate) fn known(&self, origin: Origin) -> Known {
        self.dedup.known(origin)
    }
}

#[cfg(test)]
mod tests;
