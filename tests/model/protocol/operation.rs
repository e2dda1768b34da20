//! One request on its way through a frontend: what it waits for, and what became of it.
//!
//!     Start ─► look and evaluate ─┬─ effects ─► Verdict ─┬─► answered
//!       ▲                         │                      ├─ lost ─► Fate ─► (Start, or answered)
//!       └── Conflicted ◄──────────┼──────────────────────┘
//!                                 └─ none ─► Barrier ─► ReadAt ─► answered, or its effects are appended

use super::evaluate::Draft;
use super::record::{Lsn, Revision, Time};
use super::request::{Answer, Request};

/// What is done once it is known that no attempt has happened.
#[derive(Clone, Debug)]
pub(crate) enum Then {
    Retry,
    Answer(Answer),
    /// Fence the request, and give this answer then.
    Fence(Answer),
}

#[derive(Clone, Debug)]
pub(crate) enum Phase {
    Start,
    Verdict,
    Fate(Then),
    Conflicted {
        wait: Revision,
    },
    /// It waits for the verdict on an empty record of its number, and is then refused with this answer.
    Fence(Answer),
    /// The fence has found no place, and is tried again.
    Fencing(Answer),
    Barrier,
    ReadAt {
        lsn: Lsn,
        revision: Revision,
    },
    KeepAlive,
}

/// What a client was told.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// It happened, and this is what it did.
    Happened,
    /// It changed nothing.
    Nothing,
    /// Nobody knows.
    Unknown,
}

#[derive(Debug)]
pub(crate) struct Operation {
    /// Which frontend, and which life of it.
    pub(crate) frontend: usize,
    pub(crate) frontend_id: usize,
    pub(crate) is_guest: bool,
    pub(crate) request: Request,
    pub(crate) phase: Phase,
    pub(crate) outcome: Option<Outcome>,
    /// What serial execution answers where it has a record.
    pub(crate) landed: Option<Answer>,
    /// When it began: in time, in records, and in what its endpoint had told.
    pub(crate) invoked_at: Time,
    pub(crate) invoked_position: usize,
    pub(crate) shown_before: Revision,
    /// The number of the request, given when it is first appended.
    pub(crate) seq: Option<usize>,
    /// Whether an attempt of this number may have happened, as far as was heard.
    pub(crate) is_unheard: bool,
    /// What each attempt appended.
    pub(crate) drafts: Vec<Draft>,
    pub(crate) conflicts: usize,
    /// The number of the last question, and how many entries had committed when it was asked.
    pub(crate) number: usize,
    pub(crate) asked_at_entry: Lsn,
}

impl Operation {
    /// Attempts are counted from 1.
    pub(crate) fn attempt(&self) -> usize {
        self.drafts.len()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.outcome.is_some()
    }
}
