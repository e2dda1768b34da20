//! Frontends: what keeps an attempt that comes late from happening after its request was refused, or was numbered
//! anew.
//!
//!     refused ─► an empty record of the request's number ─► committed ─► the client is told
//!                 └ no attempt of that number happens after it

use super::broken::Broken;
use super::evaluate::Draft;
use super::operation::{Outcome, Phase, Then};
use super::record::Verdict;
use super::request::Answer;
use super::story::tell;
use super::world::World;

impl World {
    /// The request is refused, by what may be otherwise when a copy of an attempt comes: a name is used again.
    pub(super) fn refuse(&mut self, index: usize, answer: Answer) {
        if !self.operations[index].is_unheard || self.broken == Some(Broken::RefusedUnfenced) {
            self.answer_as_certain_nothing(index, &answer);
        } else {
            self.fence(index, answer);
        }
    }

    pub(super) fn fence(&mut self, index: usize, answer: Answer) {
        tell!(self, "operation {index} is fenced before it answers {answer:?}");
        let allowed_at = self.frontends[self.operations[index].frontend].lsn;
        self.append(index, Draft::empty(), allowed_at);
        self.operations[index].phase = Phase::Fence(answer);
    }

    pub(super) fn is_fence(&self, index: usize, attempt: usize) -> bool {
        !self.operations[index].drafts[attempt - 1].has_effects()
    }

    pub(super) fn fenced(&mut self, index: usize, verdict: Verdict, answer: Answer) {
        match verdict {
            Verdict::Committed { attempt, .. } if self.is_fence(index, attempt) => {
                self.answer_as_certain_nothing(index, &answer);
            }
            Verdict::Committed { revision, attempt, .. } => self.answer(index, revision, attempt),
            Verdict::Unknown => self.wait_for(index, Phase::Fate(Then::Fence(answer))),
            Verdict::Forgotten => self.finish(index, Outcome::Unknown),
            _ => self.operations[index].phase = Phase::Fencing(answer),
        }
    }

    /// No attempt of this number happens any more. Where all were refused before, the request goes on under another.
    pub(super) fn forgotten(&mut self, index: usize) {
        if self.operations[index].is_unheard && self.broken != Some(Broken::NumberedUnheard) {
            return self.finish(index, Outcome::Unknown);
        }
        tell!(self, "operation {index} is numbered anew");
        let operation = &mut self.operations[index];
        operation.seq = None;
        operation.phase = Phase::Start;
    }
}
