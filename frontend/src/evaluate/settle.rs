//! From what the operations found to what the client is told, once the revision is known.
//!
//!     before ──► after          the same where nothing was written
//!      N-1         N
//!
//! An operation's header tells the revision it saw: `before`, until something was written.

use journal::Revision;
use memstore::KeyValue;

use super::overlay::OWN;
use super::plan::{Plan, Step};
use crate::answer::{DeleteAnswer, OpAnswer, PutAnswer, RangeAnswer, TxnAnswer};
use crate::operation::Range;

/// What one operation found. `changed`: something was written by then.
#[derive(Debug)]
pub(super) enum StepAnswer {
    Range { kvs: Vec<KeyValue>, count: u64, changed: bool },
    Put { prev_kv: Option<KeyValue> },
    DeleteRange { deleted: u64, prev_kvs: Vec<KeyValue>, changed: bool },
    Txn { succeeded: bool, operations: usize },
}

/// What the operations of the taken branches found, in the order of the plan's steps.
#[derive(Debug)]
pub(crate) struct Answers {
    pub(super) steps: Vec<StepAnswer>,
    /// Whether anything was written.
    pub(super) changed: bool,
}

impl Answers {
    /// Tells it in words, as of the revision that the writes were given: the store's if there are none.
    #[must_use]
    pub(crate) fn settle(self, plan: &Plan, revision: Revision) -> TxnAnswer {
        let before = if self.changed { Revision(revision.0 - 1) } else { revision };
        let settling = Settling { before, after: revision };
        let mut rest = plan.steps.iter().zip(self.steps);
        let answers = settling.some(&mut rest, usize::MAX);
        TxnAnswer { revision, succeeded: plan.succeeded, answers }
    }
}

struct Settling {
    before: Revision,
    after: Revision,
}

impl Settling {
    fn some<'a>(
        &self,
        rest: &mut dyn Iterator<Item = (&'a Step<'a>, StepAnswer)>,
        operations: usize,
    ) -> Vec<OpAnswer> {
        let mut answers = Vec::new();
        while answers.len() < operations
            && let Some((step, answer)) = rest.next()
        {
            answers.push(match (step, answer) {
                (Step::Range { range, .. }, StepAnswer::Range { kvs, count, changed }) => {
                    OpAnswer::Range(self.range(range, kvs, count, changed))
                }
                (Step::Put { .. }, StepAnswer::Put { mut prev_kv }) => {
                    prev_kv.iter_mut().for_each(|kv| self.name(kv));
                    OpAnswer::Put(PutAnswer { revision: self.after, prev_kv })
                }
                (Step::DeleteRange { .. }, StepAnswer::DeleteRange { deleted, mut prev_kvs, changed }) => {
                    prev_kvs.iter_mut().for_each(|kv| self.name(kv));
                    OpAnswer::DeleteRange(DeleteAnswer { revision: self.seen(changed), deleted, prev_kvs })
                }
                (Step::Txn { .. }, StepAnswer::Txn { succeeded, operations }) => {
                    let answers = self.some(rest, operations);
                    // etcd leaves a nested transaction's header empty.
                    OpAnswer::Txn(TxnAnswer { revision: Revision::ZERO, succeeded, answers })
                }
                (step, answer) => unreachable!("{answer:?} answers {step:?}"),
            });
        }
        answers
    }

    fn range(&self, range: &Range, mut kvs: Vec<KeyValue>, count: u64, changed: bool) -> RangeAnswer {
        kvs.iter_mut().for_each(|kv| self.name(kv));
        let more = range.arrange(&mut kvs);
        RangeAnswer { revision: self.seen(changed), kvs, more, count }
    }

    fn seen(&self, changed: bool) -> Revision {
        if changed { self.after } else { self.before }
    }

    /// Writes the transaction's own revision where it was not yet known.
    fn name(&self, kv: &mut KeyValue) {
        for revision in [&mut kv.create_revision, &mut kv.mod_revision] {
            if *revision == OWN {
                *revision = self.after;
            }
        }
    }
}
