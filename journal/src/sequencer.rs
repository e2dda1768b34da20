//! The order: which append comes next, at which revision, unless something it rests on has changed.
//!
//!     append ─► judge ─► queue ─► take_batch ─► Raft ─► State::apply ─► committed ─► verdict
//!                 │                 (at most K on the way)      └─ or lost
//!                 └─► refused: nothing happened
//!
//! One value at a time, for one term. Another of the same term begins when everything of the one before has
//! landed or never will. It is pure: the task around it brings time, the applied state and what became of
//! batches, and keeps what a waiter `W` stands for.
//!
//! Invariants: revisions are dense (I1); no read of a sequenced append changed between its revision and the
//! append's own (I3); it begins when its term's first entry is applied (I5); no request is sequenced twice.

mod in_flight;
mod judge;
mod large;
mod queue;

use std::time::Duration;

use crate::client::{Expired, LeaseStatus};
use crate::conflicts::{Reservations, Window};
use crate::lessor::{ALL_SECONDS, Lessor, Renewal};
use crate::lsn::Lsn;
use crate::origin::Origin;
use crate::planted::Bug;
use crate::record::{Append, Batch, LeaseId, Record, SysOp};
use crate::revision::Revision;
use crate::state::State;
use crate::state::dedup::Known;
use crate::verdict::{Fate, Verdict};
use in_flight::InFlight;
use judge::Judgement;
use large::Large;
use queue::{Queue, Reply};

/// Sizes and bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Of the table of recent writes; a power of two, 8 bytes each.
    pub(crate) slots: usize,
    /// Keys that a range can be checked against.
    pub(crate) ring_keys_max: usize,
    /// Keeps clients from choosing keys that share a slot: any number they do not know.
    pub(crate) seed: u64,
    /// Batches that may be on their way at the same time.
    pub(crate) batches_max: usize,
    /// A batch is closed before it exceeds this, unless a single record does.
    pub(crate) batch_bytes_max: usize,
    /// A larger record is refused.
    pub(crate) record_bytes_max: usize,
    /// When so many appends wait for their commit, further ones are refused with `Overloaded`.
    pub(crate) waiting_max: usize,
    /// The same in bytes. Exceeded by one record at the most, so that a large one does not wait for ever.
    pub(crate) waiting_bytes_max: usize,
    /// Keys and leases of one append that are looked at in one step. An append with more takes several steps.
    pub(crate) step_keys: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            slots: 1 << 22,
            ring_keys_max: 1 << 16,
            seed: 0,
            batches_max: 6,
            batch_bytes_max: 1 << 20,
            record_bytes_max: 128 << 20,
            waiting_max: 1 << 16,
            waiting_bytes_max: 64 << 20,
            step_keys: 4_096,
        }
    }
}

/// Leases handed out, and written down, in one go.
const EXPIRED_MAX: usize = 1_000;
const CHECKPOINTS_MAX: usize = 1_000;

/// What came of an append.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer<W> {
    /// It is on its way: `committed` or `lost` answers the waiter.
    Later,
    /// The verdict.
    Now(W, Verdict),
    /// The verdict, but only of the leader that still leads: a deposed one may not know of a lease or a
    /// revision. Send it once leadership is confirmed, after this; if it cannot be, answer `NotLeader`.
    OnceConfirmed(W, Verdict),
    /// It has so many keys that it takes several steps: call `go_on` until the answer is another one, and append nothing
    /// else before.
    Unfinished,
}

/// What came of a keep-alive.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum KeepAlive<W> {
    Renewed(W, i64),
    NotFound(W),
    /// Something must be journaled first. When `committed` answers the waiter, keep alive again; when it is
    /// lost, the lease was not kept alive.
    Later,
}

/// The sequencer of one term.
pub(crate) struct Sequencer<W> {
    term: u64,
    limits: Limits,
    /// The last revision given out; what follows gets the next.
    last: Revision,
    window: Window,
    reservations: Reservations,
    in_flight: InFlight,
    queue: Queue<W>,
    lessor: Lessor,
    /// Append that takes several steps and is between two of them.
    large: Option<Large<W>>,
    /// Keys and leases that appends have read and written.
    keys: u64,
}

impl<W> Sequencer<W> {
    /// Begins a term, once its own first entry is applied: everything that earlier terms have committed is
    /// then in the state, and nothing of theirs can come any more.
    pub(crate) fn start(term: u64, state: &State, limits: Limits, now: Duration) -> Sequencer<W> {
        assert_eq!(state.term(), term, "a term is sequenced once its own first entry is applied");
        let floor = state.revision();
        let readable = if Bug::ForgetTheFloor.is_planted() { Revision::ZERO } else { floor };
        Sequencer {
            term,
            limits,
            last: floor,
            window: Window::new(readable, limits.slots, limits.ring_keys_max, limits.seed),
            reservations: Reservations::default(),
            in_flight: InFlight::new(state.compacted(), state.routes().version()),
            queue: Queue::new(floor),
            lessor: Lessor::start(state.leases(), now),
            large: None,
            keys: 0,
        }
    }

    pub(crate) fn term(&self) -> u64 {
        self.term
    }

    /// How many appends wait for their commit.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.waiting()
    }

    /// Keys looked at, compared and written since the term began: the work that appends have made.
    pub(crate) fn work(&self) -> u64 {
        self.keys + self.window.scanned() + self.reservations.compared()
    }

    /// Puts the append in its place, or refuses it. `state` has everything that `committed` was told of.
    pub(crate) fn append(&mut self, append: Append, waiter: W, state: &State, now: Duration) -> Answer<W> {
        assert!(self.large.is_none(), "appends have their places one after the other");
        let keys = append.reads.len() + append.writes.len();
        if self.limits.step_keys < keys {
            return self.begin(append, waiter, state);
        }
        self.keys += keys as u64;
        let judgement = self.judge(&append, state, now);
        if let Judgement::Fresh { .. } = judgement {
            // Noted now and not at the commit: whatever comes next must see it.
            self.window.note(&append.writes, self.last.next());
        }
        self.settle(append, waiter, judgement)
    }

    /// Puts an append whose writes are noted in its place, or refuses it.
    fn settle(&mut self, append: Append, waiter: W, judgement: Judgement) -> Answer<W> {
        match judgement {
            Judgement::Fresh { bytes } => {
                self.reservations.release(append.origin);
                let Append { origin, writes, sysop, .. } = append;
                self.sequence(Record { origin, writes, sysop }, bytes, Reply::Record(waiter));
                Answer::Later
            }
            Judgement::Refused(verdict) => Answer::Now(waiter, verdict),
            Judgement::RefusedByLeader(verdict) => Answer::OnceConfirmed(waiter, verdict),
            // All of that is committed since, while an append with many keys was let go of.
            Judgement::RefusedByInFlight(verdict) if self.queue.waiting() == 0 => {
                Answer::Now(waiter, verdict)
            }
            Judgement::RefusedByInFlight(verdict) => {
                // Until it has its verdict it is on its way, like any other.
                self.in_flight.note_request(append.origin);
                self.queue.follow(append.origin, waiter, verdict);
                Answer::Later
            }
        }
    }

    fn sequence(&mut self, record: Record, bytes: usize, reply: Reply<W>) {
        if record.is_mutating() {
            self.last = self.last.next();
        }
        self.in_flight.note(&record);
        self.queue.push(record, self.last, bytes, reply);
    }

    /// The next batch to propose, in this term and after all earlier ones. `None` when there is nothing to
    /// propose, or enough on its way.
    ///
    /// The proposals of a term stand or fall in order: when one is refused, call `lost` and propose none of
    /// the later ones.
    pub(crate) fn take_batch(&mut self, wall_clock_ms: u64) -> Option<Batch> {
        if self.queue.batches_in_flight() == self.limits.batches_max {
            return None;
        }
        let (base_revision, records) = self.queue.take(self.limits.batch_bytes_max)?;
        Some(Batch { term: self.term, base_revision, wall_clock_ms, records })
    }

    /// The oldest batch on its way is committed at `lsn`, and applied to the state. Answers its waiters.
    pub(crate) fn committed(&mut self, lsn: Lsn, now: Duration) -> Vec<(W, Verdict)> {
        let mut verdicts = Vec::new();
        for landed in self.queue.land() {
            if let Some(place) = &landed.place {
                self.in_flight.forget(place.origin, place.sysop.as_ref());
                self.tell_lessor(place.sysop.as_ref(), now);
            }
            match (landed.reply, landed.place) {
                (Reply::Record(waiter), Some(place)) => {
                    let (revision, attempt) = (place.revision, place.origin.attempt);
                    verdicts.push((waiter, Verdict::Committed { lsn, revision, term: self.term, attempt }));
                }
                (Reply::TakenBack(waiter, lease, checkpoint), Some(place)) => {
                    self.lessor.checkpoint_taken_back(lease, checkpoint);
                    let (revision, attempt) = (place.revision, 0);
                    verdicts.push((waiter, Verdict::Committed { lsn, revision, term: self.term, attempt }));
                }
                (Reply::Follow(origin, waiter, verdict), _) => {
                    self.in_flight.forget_request(origin);
                    verdicts.push((waiter, verdict));
                }
                (Reply::Nobody, _) => {}
                (Reply::Record(_) | Reply::TakenBack(..), None) => unreachable!("a record has its place"),
            }
        }
        verdicts
    }

    fn tell_lessor(&mut self, sysop: Option<&SysOp>, now: Duration) {
        match sysop {
            Some(SysOp::LeaseGrant { lease, ttl_seconds }) => self.lessor.granted(*lease, *ttl_seconds, now),
            Some(SysOp::LeaseRevoke { lease, .. }) => self.lessor.revoked(*lease),
            _ => {}
        }
    }

    /// Leadership is lost. What was proposed may still happen, so its waiters must ask for its fate; what was
    /// not never will.
    pub(crate) fn lost(self) -> Vec<(W, Verdict)> {
        let unfinished = self.large.map(|large| (large.waiter, Verdict::NotLeader { hint: None }));
        self.queue.abandon().into_iter().chain(unfinished).collect()
    }

    /// What became of a request. Only true of a leader that was confirmed after the question arrived, with
    /// everything applied that had committed by then.
    ///
    /// `Never` does not keep an attempt that is still on its way here from being sequenced later. It need not:
    /// it is then this very request that happens, later attempts meet it in dedup and are told its attempt;
    /// and if the request has meanwhile been answered without effects, something it read had changed, so the
    /// late attempt conflicts.
    pub(crate) fn fate(&self, origin: Origin, state: &State) -> Fate {
        match state.known(origin) {
            Known::Committed(outcome) => {
                let (lsn, revision, term) = (outcome.lsn, outcome.revision, outcome.term);
                Fate::Committed { lsn, revision, term, attempt: outcome.attempt }
            }
            _ if self.in_flight.has(origin) => Fate::Pending,
            Known::Forgotten => Fate::Expired,
            Known::No => Fate::Never,
        }
    }

    /// Starts a lease's time again. The task confirms leadership first, after the keep-alive arrived.
    pub(crate) fn keep_alive(&mut self, lease: LeaseId, waiter: W, now: Duration) -> KeepAlive<W> {
        match self.lessor.renew(lease, now) {
            Renewal::Renewed { ttl_seconds } => KeepAlive::Renewed(waiter, ttl_seconds),
            Renewal::NotFound => KeepAlive::NotFound(waiter),
            Renewal::CheckpointFirst { checkpoint } => {
                let reply = Reply::TakenBack(waiter, lease, checkpoint);
                self.checkpoint(vec![(lease, ALL_SECONDS)], reply);
                KeepAlive::Later
            }
        }
    }

    /// Writes down what is left of long leases. Call it when `wake_at` has come.
    pub(crate) fn tick(&mut self, now: Duration) {
        let mut due = self.lessor.checkpoints(now, CHECKPOINTS_MAX);
        // One that is revoked and granted again at this moment is another lease, with all of its time.
        due.retain(|(lease, _)| !self.in_flight.changes(*lease));
        if !due.is_empty() {
            self.checkpoint(due, Reply::Nobody);
        }
    }

    /// The journal's own records come past the queue's bound: there are few of them.
    fn checkpoint(&mut self, remaining_seconds: Vec<(LeaseId, i64)>, reply: Reply<W>) {
        let sysop = Some(SysOp::LeaseCheckpoint { remaining_seconds });
        let record = Record { origin: Origin::default(), writes: Vec::new(), sysop };
        let bytes = crate::codec::record_bytes(&record);
        assert!(
            !record.is_mutating(),
            "a checkpoint has no revision that an unfinished append could have noted"
        );
        self.sequence(record, bytes, reply);
    }

    /// Freezes leases that have ended, and hands them out.
    pub(crate) fn expired(&mut self, now: Duration) -> Vec<Expired> {
        let ended = self.lessor.expired(now, EXPIRED_MAX);
        ended.into_iter().map(|lease| Expired { lease, term: self.term }).collect()
    }

    /// When `expired` or `tick` next have something to do, at the earliest.
    pub(crate) fn wake_at(&self) -> Option<Duration> {
        self.lessor.wake_at()
    }

    pub(crate) fn lease(&self, lease: LeaseId, now: Duration) -> Option<LeaseStatus> {
        self.lessor.status(lease, now)
    }

    /// Every lease and when it ends, in no order.
    pub(crate) fn leases(&self) -> Vec<(Duration, LeaseId)> {
        self.lessor.ends().collect()
    }
}

#[cfg(test)]
mod lease_model;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
