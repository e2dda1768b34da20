//! What the journal itself keeps, on each of its nodes: counters, leases, dedup, permissions, marks, routes. It is
//! made of committed entries alone, in their order.

use std::collections::VecDeque;
use std::rc::Rc;

use super::broken::Broken;
use super::record::{Entry, KEYS, KeyRange, LeaseId, Lsn, Origin, Record, Revision, SysOp, Time};
use super::routes::Routes;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease {
    pub(crate) id: LeaseId,
    pub(crate) ttl: Time,
    pub(crate) granted_at: Time,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) origin: Origin,
    pub(crate) lsn: Lsn,
    pub(crate) revision: Revision,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Known {
    Committed(Outcome),
    No,
    Forgotten,
}

#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) lsn: Lsn,
    pub(crate) revision: Revision,
    pub(crate) compacted: Revision,
    pub(crate) leases: Vec<Lease>,
    pub(crate) auth_lsn: Lsn,
    pub(crate) routes: Rc<Routes>,
    /// How far each key is in the snapshot store.
    pub(crate) marks: [Lsn; KEYS],
    outcomes: VecDeque<Outcome>,
    /// Up to which of a frontend's requests something may be forgotten.
    forgotten: Vec<(usize, usize)>,
    dedup_distance: Lsn,
}

impl State {
    pub(crate) fn new(routes: Rc<Routes>, dedup_distance: Lsn) -> State {
        State {
            lsn: 0,
            revision: 1,
            compacted: 0,
            leases: Vec::new(),
            auth_lsn: 0,
            routes,
            marks: [0; KEYS],
            outcomes: VecDeque::new(),
            forgotten: Vec::new(),
            dedup_distance,
        }
    }

    pub(crate) fn apply(&mut self, entry: &Entry) {
        self.lsn += 1;
        if let Some(batch) = &entry.batch {
            for record in &batch.records {
                self.apply_record(record);
            }
        }
        while self.outcomes.front().is_some_and(|oldest| self.lsn - oldest.lsn > self.dedup_distance) {
            let oldest = self.outcomes.pop_front().expect("it is there");
            self.forget(oldest.origin);
        }
    }

    fn apply_record(&mut self, record: &Record) {
        self.revision += usize::from(record.is_mutating());
        let outcome = Outcome { origin: record.origin, lsn: self.lsn, revision: self.revision };
        self.outcomes.push_back(outcome);
        match &record.sysop {
            Some(SysOp::Grant { lease, ttl, at }) => {
                self.leases.push(Lease { id: *lease, ttl: *ttl, granted_at: *at });
            }
            Some(SysOp::Revoke { lease, .. }) => self.leases.retain(|held| held.id != *lease),
            Some(SysOp::Compact { revision }) => self.compacted = self.compacted.max(*revision),
            Some(SysOp::Auth { .. }) => self.auth_lsn = self.lsn,
            Some(SysOp::Mark { keys, lsn }) => self.mark(*keys, *lsn),
            Some(SysOp::Routes(routes)) => self.routes = Rc::clone(routes),
            None => {}
        }
    }

    fn mark(&mut self, keys: KeyRange, lsn: Lsn) {
        for key in keys.keys() {
            self.marks[key] = self.marks[key].max(lsn);
        }
    }

    fn forget(&mut self, origin: Origin) {
        match self.forgotten.iter_mut().find(|(frontend, _)| *frontend == origin.frontend) {
            Some((_, seq)) => *seq = (*seq).max(origin.seq),
            None => self.forgotten.push((origin.frontend, origin.seq)),
        }
    }

    pub(crate) fn known(&self, origin: Origin, broken: Option<Broken>) -> Known {
        if let Some(outcome) = self.outcomes.iter().find(|outcome| outcome.origin.is_same_request(origin)) {
            return Known::Committed(*outcome);
        }
        let mut forgotten = self.forgotten.iter();
        let is_old = forgotten.any(|(frontend, seq)| *frontend == origin.frontend && origin.seq <= *seq);
        if is_old && broken != Some(Broken::ForgottenIsNever) { Known::Forgotten } else { Known::No }
    }

    pub(crate) fn has_lease(&self, lease: LeaseId) -> bool {
        self.leases.iter().any(|held| held.id == lease)
    }
}
