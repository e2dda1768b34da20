//! Answers to questions that only a confirmed leader may answer.

use super::{SequencerTask, Waiter};
use crate::confirmation::Question;
use crate::error::Error;
use crate::planted::Bug;
use crate::sequencer::KeepAlive;
use crate::verdict::{Barrier, Verdict};

impl SequencerTask {
    pub(super) fn ask(&mut self, question: Question) {
        let hint = self.leadership.leader;
        match &self.sequencer {
            None => self.refuse(question, Error::NotLeader { hint }),
            Some(sequencer) if self.cluster.leadership().alone_in(sequencer.term()) => self.answer(question),
            Some(_) => self.confirmation.ask(question),
        }
    }

    pub(super) fn confirm(&mut self) {
        if let Some(sequencer) = &self.sequencer {
            self.confirmation.begin(sequencer.term(), || match Bug::AnswerUnconfirmed.is_planted() {
                true => Box::pin(std::future::ready(Ok(()))),
                false => self.cluster.confirm(),
            });
        }
    }

    pub(super) fn confirmed(&mut self, confirmed: Result<(), Error>) {
        let (term, questions) = self.confirmation.end();
        // Who leads a term now has led it all the time, so also when it was confirmed.
        let still = self.cluster.leadership().leads_in(term)
            && self.sequencer.as_ref().is_some_and(|sequencer| sequencer.term() == term);
        let refusal = match confirmed {
            Ok(()) if still => None,
            Ok(()) => Some(Error::NotLeader { hint: self.leadership.leader }),
            Err(error) => Some(error),
        };
        for question in questions {
            match &refusal {
                None => self.answer(question),
                Some(error) => self.refuse(question, error.clone()),
            }
        }
    }

    fn answer(&mut self, question: Question) {
        let now = self.clock.now();
        let sequencer = self.sequencer.as_mut().expect("only a leader answers");
        match question {
            Question::Barrier(reply) => {
                let barrier = self.machine.read(|state| Barrier {
                    lsn: state.applied(),
                    revision: state.revision(),
                    term: state.term(),
                });
                drop(reply.send(Ok(barrier)));
            }
            Question::Fate(origin, reply) => {
                let fate = self.machine.read(|state| sequencer.fate(origin, state));
                drop(reply.send(Ok(fate)));
            }
            Question::Refused(waiter, verdict) => self.tell(waiter, verdict),
            Question::Lease(lease, reply) => drop(reply.send(Ok(sequencer.lease(lease, now)))),
            Question::Leases(reply) => drop(reply.send(Ok(sequencer.leases()))),
            Question::KeepAlive(lease, reply) => {
                match sequencer.keep_alive(lease, Waiter::KeepAlive(lease, reply), now) {
                    KeepAlive::Renewed(waiter, seconds) => waiter.kept_alive(Some(seconds)),
                    KeepAlive::NotFound(waiter) => waiter.kept_alive(None),
                    KeepAlive::Later => {}
                }
            }
        }
    }

    pub(super) fn refuse(&mut self, question: Question, error: Error) {
        match question {
            Question::Barrier(reply) => drop(reply.send(Err(error))),
            Question::Fate(_, reply) => drop(reply.send(Err(error))),
            Question::Refused(waiter, _) => self.tell(waiter, Verdict::NotLeader { hint: None }),
            Question::Lease(_, reply) => drop(reply.send(Err(error))),
            Question::Leases(reply) => drop(reply.send(Err(error))),
            Question::KeepAlive(_, reply) => drop(reply.send(Err(error))),
        }
    }
}

impl Waiter {
    fn kept_alive(self, seconds: Option<i64>) {
        match self {
            Waiter::KeepAlive(_, reply) => drop(reply.send(Ok(seconds))),
            Waiter::Append(_) => unreachable!("a keep-alive is not an append"),
        }
    }
}
