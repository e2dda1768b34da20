//! Questions that only the leader of this very moment may answer, and the one confirmation they share.
//!
//!     question ─► next round ─► begin ─► under way ─► end ─► answered or refused
//!                    ▲ whoever asks while one is under way waits for the next: it began before they asked
//!
//! Bounded by the callers, each of which waits for one answer.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::client::LeaseStatus;
use crate::error::Error;
use crate::origin::Origin;
use crate::record::LeaseId;
use crate::sequencer_task::Waiter;
use crate::verdict::{Barrier, Fate, Verdict};

/// A question, and where its answer goes.
pub(crate) enum Question {
    Barrier(oneshot::Sender<Result<Barrier, Error>>),
    Fate(Origin, oneshot::Sender<Result<Fate, Error>>),
    KeepAlive(LeaseId, oneshot::Sender<Result<Option<i64>, Error>>),
    Lease(LeaseId, oneshot::Sender<Result<Option<LeaseStatus>, Error>>),
    Leases(oneshot::Sender<Result<Vec<(Duration, LeaseId)>, Error>>),
    /// A verdict that is true if this node still leads.
    Refused(Waiter, Verdict),
}

type Proof = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

struct Round {
    term: u64,
    questions: Vec<Question>,
    proof: Proof,
}

#[derive(Default)]
pub(crate) struct Confirmation {
    next: Vec<Question>,
    under_way: Option<Round>,
}

impl Confirmation {
    pub(crate) fn ask(&mut self, question: Question) {
        self.next.push(question);
    }

    /// Begins a round for everybody who waits, unless one is under way.
    pub(crate) fn begin(&mut self, term: u64, prove: impl FnOnce() -> Proof) {
        if self.under_way.is_none() && !self.next.is_empty() {
            let questions = std::mem::take(&mut self.next);
            self.under_way = Some(Round { term, questions, proof: prove() });
        }
    }

    /// Waits for the round under way; for ever, where there is none. Call `end` then.
    pub(crate) async fn wait(&mut self) -> Result<(), Error> {
        match &mut self.under_way {
            Some(round) => round.proof.as_mut().await,
            None => std::future::pending().await,
        }
    }

    /// The term and the questions of the round that has ended.
    pub(crate) fn end(&mut self) -> (u64, Vec<Question>) {
        let round = self.under_way.take().expect("a round was under way");
        (round.term, round.questions)
    }

    /// Everybody who waits; what is under way is forgotten.
    pub(crate) fn abandon(&mut self) -> Vec<Question> {
        let mut questions = std::mem::take(&mut self.next);
        questions.extend(self.under_way.take().into_iter().flat_map(|round| round.questions));
        questions
    }
}
