//! A journal node around its Raft: the state it has applied, the sequencer while it leads, its clock, and questions
//! that wait until leadership is certain.
//!
//!     question ─► heard by a majority after that, under the same term ─► answered
//!
//! The sequencer learns late that leadership is lost. Until then it goes on, and Raft refuses its batches by their
//! term.

use std::collections::VecDeque;
use std::rc::Rc;

use super::network::Question;
use super::raft::NODES;
use super::record::{Batch, Lsn, NodeId, Origin, Term, Time, Verdict};
use super::rng::Rng;
use super::routes::Routes;
use super::sequencer::Sequencer;
use super::state::State;

/// A monotonic clock: it has its own beginning, and its own rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    rate: usize,
    offset: Time,
}

impl Clock {
    const RATE: usize = 16;
    /// How much faster than the world the fastest runs.
    const RATE_MAX: usize = 18;

    fn draw(rng: &mut Rng) -> Clock {
        Clock { rate: rng.within(14, Clock::RATE_MAX), offset: rng.below(500) }
    }

    pub(crate) fn local(self, now: Time) -> Time {
        now * self.rate / Clock::RATE + self.offset
    }

    /// Whether so much time could have passed on some clock while `elapsed` passed in the world.
    pub(crate) fn may_have_passed(time: Time, elapsed: Time) -> bool {
        time * Clock::RATE <= (elapsed + 1) * Clock::RATE_MAX
    }
}

/// What is answered once leadership is certain.
#[derive(Debug)]
pub(crate) enum Waiting {
    Question { operation: usize, number: usize, question: Question },
    Refusal { origin: Origin, verdict: Verdict },
}

#[derive(Debug)]
pub(crate) struct Unconfirmed {
    pub(crate) waiting: Waiting,
    term: Term,
    heard_by: [bool; NODES],
    /// What had committed here when it arrived.
    pub(crate) commit: Lsn,
    /// When it arrived: by this node's clock, and by the world's.
    pub(crate) local: Time,
    pub(crate) now: Time,
}

impl Unconfirmed {
    pub(crate) fn new(waiting: Waiting, term: Term, commit: Lsn, local: Time, now: Time) -> Unconfirmed {
        Unconfirmed { waiting, term, heard_by: [false; NODES], commit, local, now }
    }

    pub(crate) fn is_confirmed(&self) -> bool {
        self.heard_by.contains(&true)
    }
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) is_up: bool,
    pub(crate) clock: Clock,
    pub(crate) state: State,
    pub(crate) sequencer: Option<Sequencer>,
    /// Batches that the sequencer has handed to Raft, which takes them later.
    pub(crate) outbox: VecDeque<Batch>,
    pub(crate) unconfirmed: Vec<Unconfirmed>,
    /// What the journal has lost at its beginning, here.
    pub(crate) trimmed: Lsn,
    /// How many entries the checker has seen committed here.
    pub(crate) seen: Lsn,
    routes: Rc<Routes>,
    dedup_distance: Lsn,
}

impl Node {
    pub(crate) fn new(routes: Rc<Routes>, dedup_distance: Lsn, rng: &mut Rng) -> Node {
        Node {
            is_up: true,
            clock: Clock::draw(rng),
            state: State::new(Rc::clone(&routes), dedup_distance),
            sequencer: None,
            outbox: VecDeque::new(),
            unconfirmed: Vec::new(),
            trimmed: 0,
            seen: 0,
            routes,
            dedup_distance,
        }
    }

    /// Only the log stays, as Raft has it.
    pub(crate) fn crash(&mut self) {
        self.is_up = false;
        self.state = State::new(Rc::clone(&self.routes), self.dedup_distance);
        self.sequencer = None;
        self.outbox.clear();
        self.unconfirmed.clear();
        self.seen = 0;
    }

    /// A follower has taken this node for the leader of `term`, just now.
    pub(crate) fn heard(&mut self, follower: NodeId, term: Term) {
        for unconfirmed in self.unconfirmed.iter_mut().filter(|unconfirmed| unconfirmed.term == term) {
            unconfirmed.heard_by[follower] = true;
        }
    }
}
