//! The order: whether an append may have the next revision, for one leader of one term.
//!
//!     append ─► repeated? ─► permissions old? ─► read something that changed? ─► lease gone? ─► its place
//!
//! What was sequenced and has not yet committed counts: later appends conflict with it, and a refusal that rests
//! on it is told only once it has committed.

mod judge;

use std::collections::VecDeque;
use std::rc::Rc;

use super::broken::Broken;
use super::lessor::Lessor;
use super::mix::Sizes;
use super::record::{Append, Batch, LeaseId, Lsn, Origin, Record, Revision, SysOp, Term, Time, Verdict};
use super::reservations::Reservations;
use super::state::{Known, State};
use super::window::Window;
use crate::protocol::record::Fate;
use judge::Judgement;

/// A record on its way, and whoever learns something from its commit.
#[derive(Debug)]
struct Queued {
    record: Rc<Record>,
    revision: Revision,
    followers: Vec<(Origin, Verdict)>,
}

/// What came of an append.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It is on its way; its commit answers.
    Later,
    Now(Verdict),
    /// True if this leader still leads, which is to be found out first.
    OnceConfirmed(Verdict),
}

#[derive(Debug)]
pub(crate) struct Sequencer {
    pub(crate) term: Term,
    last: Revision,
    sizes: Sizes,
    broken: Option<Broken>,
    window: Window,
    reservations: Reservations,
    pub(crate) lessor: Lessor,
    /// In no batch yet.
    open: Vec<Queued>,
    /// Batches on their way, oldest first.
    proposed: VecDeque<Vec<Queued>>,
}

impl Sequencer {
    /// Begins a term, once its own first entry is applied to the state.
    pub(crate) fn start(
        term: Term,
        state: &State,
        sizes: Sizes,
        now: Time,
        broken: Option<Broken>,
    ) -> Sequencer {
        Sequencer {
            term,
            last: state.revision,
            sizes,
            broken,
            window: Window::new(state.revision, sizes.slots, sizes.ring_keys_max, broken),
            reservations: Reservations::default(),
            lessor: Lessor::start(&state.leases, now, broken),
            open: Vec::new(),
            proposed: VecDeque::new(),
        }
    }

    pub(crate) fn append(&mut self, append: &Append, state: &State, local: Time, now: Time) -> Answer {
        match self.judge(append, state, local) {
            Judgement::Fresh => {
                self.reservations.release(append.origin);
                self.sequence(append, now);
                Answer::Later
            }
            Judgement::Refused(verdict) => Answer::Now(verdict),
            Judgement::RefusedByLeader(verdict) => Answer::OnceConfirmed(verdict),
            Judgement::RefusedByInFlight(verdict) => {
                let last =
                    self.open.last_mut().or(self.proposed.back_mut().and_then(|batch| batch.last_mut()));
                last.expect("something is on its way").followers.push((append.origin, verdict));
                Answer::Later
            }
        }
    }

    fn sequence(&mut self, append: &Append, now: Time) {
        let Append { origin, reads, writes, sysop, .. } = append.clone();
        let record = Record { origin, reads, writes, sysop, sequenced_at: now };
        if record.is_mutating() {
            self.last += 1;
            if self.broken != Some(Broken::UncommittedIgnored) {
                self.window.note(&record.writes, self.last);
            }
        }
        self.open.push(Queued { record: Rc::new(record), revision: self.last, followers: Vec::new() });
    }

    /// The next batch to propose, unless there is nothing, or enough on its way.
    pub(crate) fn take_batch(&mut self, records_max: usize) -> Option<Batch> {
        if self.open.is_empty() || self.proposed.len() == self.sizes.batches_max {
            return None;
        }
        let rest = self.open.split_off(records_max.min(self.open.len()));
        let queued = std::mem::replace(&mut self.open, rest);
        let first = &queued[0];
        let base_revision = first.revision + usize::from(!first.record.is_mutating());
        let records = queued.iter().map(|queued| Rc::clone(&queued.record)).collect();
        self.proposed.push_back(queued);
        Some(Batch { term: self.term, base_revision, records })
    }

    /// The oldest batch on its way is committed and applied. Answers whoever waits for it.
    pub(crate) fn committed(&mut self, lsn: Lsn, local: Time) -> Vec<(Origin, Verdict)> {
        let mut verdicts = Vec::new();
        for Queued { record, revision, followers } in self.proposed.pop_front().into_iter().flatten() {
            let Origin { attempt, .. } = record.origin;
            match &record.sysop {
                Some(SysOp::Grant { lease, ttl, .. }) => self.lessor.granted(*lease, *ttl, local),
                Some(SysOp::Revoke { lease, .. }) => self.lessor.revoked(*lease),
                _ => {}
            }
            if self.broken == Some(Broken::UncommittedIgnored) && record.is_mutating() {
                self.window.note(&record.writes, revision);
            }
            verdicts.push((record.origin, Verdict::Committed { lsn, revision, attempt }));
            verdicts.extend(followers);
        }
        verdicts
    }

    /// For the switch that tells before it is true.
    pub(crate) fn verdicts_of_last_batch(&self, lsn: Lsn) -> Vec<(Origin, Verdict)> {
        let last = self.proposed.back().into_iter().flatten();
        last.map(|queued| {
            let Origin { attempt, .. } = queued.record.origin;
            (queued.record.origin, Verdict::Committed { lsn, revision: queued.revision, attempt })
        })
        .collect()
    }

    /// Leadership is lost: what is on its way may still happen.
    pub(crate) fn lost(self) -> Vec<(Origin, Verdict)> {
        let queued = self.proposed.into_iter().flatten().chain(self.open);
        let origins = queued.flat_map(|Queued { record, followers, .. }| {
            std::iter::once(record.origin).chain(followers.into_iter().map(|(origin, _)| origin))
        });
        origins.map(|origin| (origin, Verdict::Unknown)).collect()
    }

    /// What became of a request, said by a leader that was confirmed after the question arrived.
    pub(crate) fn fate(&self, origin: Origin, state: &State) -> Fate {
        match state.known(origin, self.broken) {
            Known::Committed(outcome) => {
                Fate::Committed { revision: outcome.revision, attempt: outcome.origin.attempt }
            }
            _ if self.has(origin) => Fate::Pending,
            Known::Forgotten => Fate::Expired,
            Known::No => Fate::Never,
        }
    }

    fn on_the_way(&self) -> impl DoubleEndedIterator<Item = &Queued> {
        self.proposed.iter().flatten().chain(&self.open)
    }

    fn waiting(&self) -> usize {
        self.on_the_way().count()
    }

    /// Also what waits for another's commit is on its way.
    fn has(&self, origin: Origin) -> bool {
        self.on_the_way().any(|queued| {
            queued.record.origin.is_same_request(origin)
                || queued.followers.iter().any(|(follower, _)| follower.is_same_request(origin))
        })
    }

    /// Whether the lease exists once all has committed; nothing where nothing on its way says so.
    fn lease_on_the_way(&self, lease: LeaseId) -> Option<bool> {
        self.on_the_way().rev().find_map(|queued| match &queued.record.sysop {
            Some(SysOp::Grant { lease: granted, .. }) if *granted == lease => Some(true),
            Some(SysOp::Revoke { lease: revoked, .. }) if *revoked == lease => Some(false),
            _ => None,
        })
    }

    fn compacted_on_the_way(&self) -> Revision {
        let compactions = self.on_the_way().filter_map(|queued| match &queued.record.sysop {
            Some(SysOp::Compact { revision }) => Some(*revision),
            _ => None,
        });
        compactions.max().unwrap_or(0)
    }

    fn routes_on_the_way(&self) -> usize {
        let versions = self.on_the_way().filter_map(|queued| match &queued.record.sysop {
            Some(SysOp::Routes(routes)) => Some(routes.version),
            _ => None,
        });
        versions.max().unwrap_or(0)
    }

    fn auth_is_on_the_way(&self) -> bool {
        self.on_the_way().any(|queued| matches!(queued.record.sysop, Some(SysOp::Auth { .. })))
    }
}
