//! Frontends: what they hear of their appends and questions, and what they tell their clients.

use super::broken::Broken;
use super::network::News;
use super::operation::{Outcome, Phase, Then};
use super::record::{Fate, Revision, Verdict};
use super::request::{Answer, Request};
use super::story::tell;
use super::world::World;

impl World {
    /// A message for an operation has come, maybe long after anybody waited for it.
    pub(crate) fn hear(&mut self, index: usize, number: usize, news: News) {
        let operation = &self.operations[index];
        if operation.is_over() {
            return;
        }
        match (news, &operation.phase) {
            (News::Verdict { attempt, verdict }, Phase::Verdict) if attempt == operation.attempt() => {
                tell!(self, "operation {index} hears {verdict:?}");
                self.judged(index, verdict);
            }
            (News::Verdict { attempt, verdict }, Phase::Fence(answer)) if attempt == operation.attempt() => {
                tell!(self, "operation {index} hears {verdict:?} of its fence");
                let answer = answer.clone();
                self.fenced(index, verdict, answer);
            }
            (News::Fate(fate), Phase::Fate(then)) if number == operation.number => {
                tell!(self, "operation {index} hears of its fate: {fate:?}");
                let then = then.clone();
                self.fated(index, fate, then);
            }
            (News::Barrier { lsn, revision }, Phase::Barrier) if number == operation.number => {
                tell!(self, "operation {index} hears of barrier {lsn} at revision {revision}");
                let asked = operation.asked_at_entry;
                if lsn < asked {
                    self.checker.violated("I6 a barrier has all that was acknowledged", || {
                        format!("it is {lsn} for operation {index}, asked when {asked} had committed")
                    });
                }
                self.operations[index].phase = Phase::ReadAt { lsn, revision };
            }
            (News::Kept(true), Phase::KeepAlive) if number == operation.number => {
                tell!(self, "operation {index} hears that its lease is kept alive");
                if let Request::KeepAlive { lease } = operation.request {
                    self.checker.answered_as_kept(operation, lease);
                }
                self.finish(index, Outcome::Nothing);
            }
            (News::Kept(false), Phase::KeepAlive) if number == operation.number => {
                self.answer_as_nothing(index, Answer::LeaseNotFound);
            }
            _ => {}
        }
    }

    fn judged(&mut self, index: usize, verdict: Verdict) {
        match verdict {
            Verdict::Committed { revision, attempt, .. } => self.answer(index, revision, attempt),
            Verdict::Conflict { wait } | Verdict::TooOld { wait } => {
                self.operations[index].conflicts += 1;
                self.operations[index].phase = Phase::Conflicted { wait };
            }
            Verdict::AuthStale | Verdict::Overloaded | Verdict::NotLeader => {
                self.operations[index].phase = Phase::Conflicted { wait: 0 };
            }
            Verdict::LeaseNotFound => self.refuse(index, Answer::LeaseNotFound),
            Verdict::LeaseExists => self.refuse(index, Answer::LeaseExists),
            Verdict::Forgotten => self.forgotten(index),
            Verdict::Compacted => self.answer_as_certain_nothing(index, &Answer::Compacted),
            Verdict::LeaseStartedAnew | Verdict::RoutesChanged => self.finish(index, Outcome::Unknown),
            Verdict::Unknown => self.lost(index),
        }
    }

    fn fated(&mut self, index: usize, fate: Fate, then: Then) {
        match (fate, then) {
            (Fate::Committed { attempt, .. }, Then::Fence(answer)) if self.is_fence(index, attempt) => {
                self.answer_as_certain_nothing(index, &answer);
            }
            (Fate::Never, Then::Fence(answer)) => self.fence(index, answer),
            (Fate::Committed { revision, attempt }, _) => self.answer(index, revision, attempt),
            (Fate::Pending, _) => {}
            (Fate::Never, Then::Retry) => self.operations[index].phase = Phase::Start,
            (Fate::Never, Then::Answer(answer)) => self.answer_as_certain_nothing(index, &answer),
            (Fate::Expired, _) => self.finish(index, Outcome::Unknown),
        }
    }

    /// It has happened, as it was evaluated in that attempt.
    pub(super) fn answer(&mut self, index: usize, revision: Revision, attempt: usize) {
        let operation = &self.operations[index];
        let answer = operation.drafts[attempt - 1].settle(revision);
        tell!(self, "operation {index} answers {answer:?}");
        if operation.request.is_of_client() {
            self.checker.answered(operation, &answer);
        }
        self.show(index, &answer);
        self.finish(index, Outcome::Happened);
    }

    /// There is nothing to be changed. But a copy of an earlier attempt may have happened meanwhile, and be what
    /// was looked at. A leader that is asked now knows, and what it does not know of will meet a conflict.
    pub(super) fn answer_as_nothing(&mut self, index: usize, answer: Answer) {
        let skipped = matches!(self.broken, Some(Broken::FateSkipped | Broken::FateNotAskedAgain));
        if self.operations[index].drafts.is_empty() || skipped {
            self.answer_as_certain_nothing(index, &answer);
        } else {
            self.wait_for(index, Phase::Fate(Then::Answer(answer)));
        }
    }

    pub(super) fn answer_as_certain_nothing(&mut self, index: usize, answer: &Answer) {
        tell!(self, "operation {index} changes nothing and answers {answer:?}");
        let operation = &self.operations[index];
        if operation.request.is_of_client() {
            self.checker.answered_as_nothing(operation, answer);
        }
        self.show(index, answer);
        self.finish(index, Outcome::Nothing);
    }

    fn show(&mut self, index: usize, answer: &Answer) {
        if let Answer::Done { revision, .. } = answer {
            let frontend = &mut self.frontends[self.operations[index].frontend];
            frontend.shown = frontend.shown.max(*revision);
        }
    }

    pub(crate) fn finish(&mut self, index: usize, outcome: Outcome) {
        self.operations[index].outcome = Some(outcome);
        self.active.retain(|active| *active != index);
    }
}
