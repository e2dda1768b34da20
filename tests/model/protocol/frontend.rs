//! Frontends: each request is looked at, evaluated and appended, and tried again until it is certain what became
//! of it.

use std::rc::Rc;

use super::broken::Broken;
use super::evaluate::{Draft, evaluate};
use super::looking::Look;
use super::network::{Message, Question};
use super::operation::{Operation, Outcome, Phase, Then};
use super::record::{Append, KeyRange, Lsn, NodeId, Origin, Read, Revision, SysOp};
use super::request::{Answer, Request};
use super::routes::Routes;
use super::story::tell;
use super::world::World;

/// Conflicts after which the footprint is held for the next attempt.
const CONFLICTS_BEFORE_RESERVING: usize = 3;

#[derive(Debug)]
pub(crate) struct Frontend {
    /// Another one at each start.
    pub(crate) id: usize,
    /// How far it has learned permissions and routes from the journal.
    pub(crate) lsn: Lsn,
    /// What guests may not touch, since when.
    pub(crate) permissions: Vec<(Lsn, KeyRange)>,
    pub(crate) routes: Rc<Routes>,
    /// The highest revision that it ever told.
    pub(crate) shown: Revision,
}

impl Frontend {
    pub(crate) fn new(id: usize, routes: Rc<Routes>) -> Frontend {
        Frontend { id, lsn: 0, permissions: vec![(0, KeyRange::NONE)], routes, shown: 0 }
    }

    /// What guests may not touch as of a position, and where that was decided.
    fn denied(&self, lsn: Lsn) -> (Lsn, KeyRange) {
        let decided = self.permissions.iter().rev().find(|(since, _)| *since <= lsn);
        *decided.expect("the first is as of the beginning")
    }
}

impl World {
    /// Something that it waits for may have come, or it has waited for long enough.
    pub(crate) fn advance(&mut self, index: usize) {
        let operation = &self.operations[index];
        if self.now > operation.invoked_at + self.mix.patience && self.rng.percent(20) {
            tell!(self, "operation {index} is given up");
            return self.finish(index, Outcome::Unknown);
        }
        match &operation.phase {
            Phase::Start => self.start(index),
            Phase::Verdict => {
                if self.rng.percent(self.mix.timeout) {
                    tell!(self, "operation {index} waits no longer for its verdict");
                    self.lost(index);
                }
            }
            Phase::Fence(answer) => {
                let answer = answer.clone();
                if self.rng.percent(self.mix.timeout) {
                    self.wait_for(index, Phase::Fate(Then::Fence(answer)));
                }
            }
            Phase::Fencing(answer) => {
                let answer = answer.clone();
                self.fence(index, answer);
            }
            Phase::Conflicted { wait } => {
                let (frontend, wait) = (operation.frontend, *wait);
                if self.reached(frontend, wait, index) || self.rng.percent(5) {
                    self.operations[index].phase = Phase::Start;
                }
            }
            Phase::ReadAt { lsn, revision } => {
                let (lsn, revision) = (*lsn, *revision);
                self.read_at(index, lsn, revision);
            }
            Phase::Fate(_) | Phase::Barrier | Phase::KeepAlive => {
                if self.rng.percent(20) {
                    self.ask(index);
                }
            }
        }
    }

    fn is_denied(&self, index: usize, lsn: Lsn) -> bool {
        let operation = &self.operations[index];
        let (_, denied) = self.frontends[operation.frontend].denied(lsn);
        operation.is_guest && !operation.request.is_within_reach(denied)
    }

    fn start(&mut self, index: usize) {
        let request = self.operations[index].request.clone();
        let frontend = self.operations[index].frontend;
        let allowed_at = self.frontends[frontend].lsn;
        if self.is_denied(index, allowed_at) {
            return self.wait_for(index, Phase::Barrier);
        }
        match &request {
            Request::Serializable(keys) => self.read_local(index, *keys),
            Request::KeepAlive { .. } => self.wait_for(index, Phase::KeepAlive),
            Request::Grant { lease, ttl } => {
                let sysop = SysOp::Grant { lease: *lease, ttl: *ttl, at: self.now };
                self.append(index, Draft::of_sysop(sysop), allowed_at);
            }
            Request::Compact { revision } => {
                self.append(index, Draft::of_sysop(SysOp::Compact { revision: *revision }), allowed_at);
            }
            Request::Auth { denied } => {
                self.append(index, Draft::of_sysop(SysOp::Auth { denied: *denied }), allowed_at);
            }
            Request::Mark { keys, lsn } => {
                self.append(index, Draft::of_sysop(SysOp::Mark { keys: *keys, lsn: *lsn }), allowed_at);
            }
            Request::Routes(routes) => {
                self.append(index, Draft::of_sysop(SysOp::Routes(Rc::clone(routes))), allowed_at);
            }
            _ if request.is_read_only() => self.wait_for(index, Phase::Barrier),
            _ if !request.is_evaluated() => {
                let draft = evaluate(&request, &Look::nothing());
                self.append(index, draft, allowed_at);
            }
            _ => self.try_latest(index, &request, allowed_at),
        }
    }

    /// On what the partitions happen to have.
    fn try_latest(&mut self, index: usize, request: &Request, lsn: Lsn) {
        let Look::Found(view) = self.look(self.operations[index].frontend, request, None) else { return };
        let draft = evaluate(request, &view);
        if draft.has_effects() {
            self.append(index, draft, lsn);
        } else if self.broken == Some(Broken::BarrierSkipped) {
            let answer = draft.settle(view.at.into_iter().max().expect("there are keys"));
            self.answer_as_nothing(index, answer);
        } else {
            self.wait_for(index, Phase::Barrier);
        }
    }

    /// At a moment that a barrier has proven to be current.
    fn read_at(&mut self, index: usize, lsn: Lsn, revision: Revision) {
        let frontend = self.operations[index].frontend;
        if self.frontends[frontend].lsn < lsn {
            return;
        }
        if self.is_denied(index, lsn) {
            return self.answer_as_nothing(index, Answer::Denied);
        }
        let request = self.operations[index].request.clone();
        let (at, settled_at) = match &request {
            Request::Past { revision: past, .. } if revision < *past => {
                return self.answer_as_nothing(index, Answer::FutureRevision);
            }
            Request::Past { revision: past, .. } => (*past, revision),
            // It was denied at first, and is not any more.
            _ if !request.is_evaluated() && !request.is_read_only() => return self.start(index),
            _ => (revision, revision),
        };
        match self.look(frontend, &request, Some((lsn, at))) {
            Look::NotYet => {}
            Look::Compacted if at == settled_at => self.wait_for(index, Phase::Barrier),
            Look::Compacted => self.answer_as_nothing(index, Answer::Compacted),
            Look::Found(view) => {
                let draft = evaluate(&request, &view);
                if draft.has_effects() {
                    self.append(index, draft, lsn);
                } else {
                    self.answer_as_nothing(index, draft.settle(settled_at));
                }
            }
        }
    }

    fn read_local(&mut self, index: usize, keys: KeyRange) {
        let frontend = self.operations[index].frontend;
        let going_back = self.broken == Some(Broken::EndpointGoesBack);
        let floor = if going_back { 0 } else { self.frontends[frontend].shown };
        if let Some((view, revision)) = self.look_local(frontend, keys, floor) {
            let answer = evaluate(&Request::Serializable(keys), &view).settle(revision);
            self.answer_as_nothing(index, answer);
        }
    }

    /// `lsn` is as of when it was allowed. Permissions that were learned since have not been looked at.
    pub(super) fn append(&mut self, index: usize, mut draft: Draft, lsn: Lsn) {
        if self.broken == Some(Broken::LeaseUnread) {
            draft.reads.retain(|read| !matches!(read, Read::Lease { .. }));
        }
        if self.operations[index].seq.is_none() {
            self.operations[index].seq = Some(self.by_seq.len());
            self.by_seq.push(index);
        }
        let node = self.guess_leader();
        let operation = &mut self.operations[index];
        operation.drafts.push(draft.clone());
        operation.phase = Phase::Verdict;
        let frontend = &self.frontends[operation.frontend];
        let newest = self.broken == Some(Broken::PermissionsOfLater);
        let allowed_at = if newest { frontend.lsn } else { lsn };
        let append = Append {
            origin: origin(operation),
            auth_lsn: frontend.denied(allowed_at).0,
            reads: draft.reads,
            writes: draft.writes,
            sysop: draft.sysop,
            reserve: operation.conflicts >= CONFLICTS_BEFORE_RESERVING,
        };
        tell!(self, "operation {index} appends at node {node}: {append:?}");
        self.network.send(Message::Append { node, append: Rc::new(append) });
    }

    /// The append may have happened. Nothing is tried again, and nobody is answered, before somebody knows.
    pub(super) fn lost(&mut self, index: usize) {
        self.operations[index].is_unheard = true;
        if self.broken == Some(Broken::FateSkipped) {
            self.operations[index].phase = Phase::Start;
        } else {
            self.wait_for(index, Phase::Fate(Then::Retry));
        }
    }

    pub(super) fn wait_for(&mut self, index: usize, phase: Phase) {
        self.operations[index].phase = phase;
        self.ask(index);
    }

    fn ask(&mut self, index: usize) {
        let node = self.guess_leader();
        let operation = &mut self.operations[index];
        let question = match (&operation.phase, &operation.request) {
            (Phase::Fate(_), _) => Question::Fate(origin(operation)),
            (Phase::KeepAlive, Request::KeepAlive { lease }) => Question::KeepAlive(*lease),
            _ => Question::Barrier,
        };
        operation.number += 1;
        operation.asked_at_entry = self.checker.entries.len();
        let number = operation.number;
        self.network.send(Message::Ask { node, operation: index, number, question });
    }

    fn guess_leader(&mut self) -> NodeId {
        let leaders = (0..self.rafts.len()).filter(|node| self.nodes[*node].is_up);
        let latest = leaders.max_by_key(|node| self.rafts[*node].leads());
        match latest {
            Some(node) if self.rng.percent(self.mix.well_guessed) => node,
            _ => self.rng.below(self.rafts.len()),
        }
    }
}

fn origin(operation: &Operation) -> Origin {
    Origin {
        frontend: operation.frontend_id,
        seq: operation.seq.unwrap_or(usize::MAX),
        attempt: operation.attempt(),
    }
}
