//! Whether an append may have its place.
//!
//! What it read comes before what it asks for. A footprint that has changed makes an append wrong in every
//! respect, also in the lease it names: evaluated again, it may not name it any more.
//!
//! A refusal is an answer to a client, so it must be true for good. One that rests on the applied state is true
//! of whoever still leads; one that rests on a record on its way is true once that record commits.

use std::time::Duration;

use super::{Limits, Sequencer};
use crate::codec;
use crate::conflicts::Freshness;
use crate::record::{Append, LeaseId, Read, SysOp, Write};
use crate::revision::Revision;
use crate::state::State;
use crate::state::dedup::Known;
use crate::verdict::Verdict;

/// How soon to come again when the queues are full: about as long as a slow disk takes for a few batches.
const RETRY_AFTER: Duration = Duration::from_millis(10);

pub(super) enum Judgement {
    /// It may, and takes so many bytes.
    Fresh { bytes: usize },
    /// Whoever says it, it is true or harmless.
    Refused(Verdict),
    /// True if this leader still leads.
    RefusedByLeader(Verdict),
    /// True once everything sequenced so far is committed.
    RefusedByInFlight(Verdict),
}

impl<W> Sequencer<W> {
    pub(super) fn judge(&mut self, append: &Append, state: &State, now: Duration) -> Judgement {
        let refusal = self
            .unwelcome(append, state)
            .or_else(|| self.ahead(&append.reads))
            .or_else(|| self.changed(append, self.window.check(&append.reads), now))
            .or_else(|| self.unfounded(append, state));
        refusal.unwrap_or_else(|| {
            let keys = append.writes.iter().map(|write| write.key().len()).sum();
            weighed(keys, codec::append_bytes(append), &self.limits)
        })
    }

    /// Why it is refused whatever it reads and writes.
    pub(super) fn unwelcome(&self, append: &Append, state: &State) -> Option<Judgement> {
        self.repeated(append, state).or_else(|| self.overloaded())
    }

    /// Only what is committed is read. A reader of more than this leader knows of has read another leader's.
    pub(super) fn ahead(&self, reads: &[Read]) -> Option<Judgement> {
        let ahead = reads.iter().any(|read| self.last < read_at(read));
        ahead.then_some(Judgement::Refused(Verdict::NotLeader { hint: None }))
    }

    /// Why what it asks for is refused, where nothing that it read has changed.
    pub(super) fn unfounded(&self, append: &Append, state: &State) -> Option<Judgement> {
        self.lease_missing(append, state).or_else(|| self.sysop_refused(append, state))
    }

    /// A request happens once, whichever attempt of it that is.
    fn repeated(&self, append: &Append, state: &State) -> Option<Judgement> {
        let verdict = match state.known(append.origin) {
            Known::Committed(outcome) => {
                let (lsn, revision, term) = (outcome.lsn, outcome.revision, outcome.term);
                Verdict::Committed { lsn, revision, term, attempt: outcome.attempt }
            }
            Known::Forgotten => Verdict::Forgotten,
            // It may still be lost, so neither a place for this attempt nor a verdict on the other.
            Known::No if self.in_flight.has(append.origin) => Verdict::Unknown,
            Known::No => return None,
        };
        Some(Judgement::Refused(verdict))
    }

    fn overloaded(&self) -> Option<Judgement> {
        let full = self.queue.waiting() >= self.limits.waiting_max
            || self.queue.waiting_bytes() >= self.limits.waiting_bytes_max;
        full.then_some(Judgement::Refused(Verdict::Overloaded { retry_after: RETRY_AFTER }))
    }

    /// Whether what was read has changed, as was `found`, or may not be changed now.
    pub(super) fn changed(&mut self, append: &Append, found: Freshness, now: Duration) -> Option<Judgement> {
        let verdict = match found {
            Freshness::Fresh if self.reservations.block(append.origin, &append.writes, now) => {
                return Some(Judgement::Refused(Verdict::Reserved));
            }
            Freshness::Fresh => return None,
            Freshness::Changed { newest } => Verdict::Conflict { wait: newest },
            Freshness::Unknowable { readable } => Verdict::TooOld { wait: readable },
        };
        if append.reserve {
            self.reservations.hold(append.origin, &append.reads, &append.writes, now);
        }
        Some(Judgement::Refused(verdict))
    }

    fn lease_missing(&self, append: &Append, state: &State) -> Option<Judgement> {
        let leases = append.writes.iter().filter_map(|write| match write {
            Write::Put { lease, .. } if *lease != LeaseId::NONE => Some(*lease),
            Write::Put { .. } | Write::Delete { .. } => None,
        });
        leases.into_iter().find_map(|lease| self.attachable(lease, state))
    }

    /// A frozen lease is held by its end, and that is no answer to a client: the end may be lost with this leader, and
    /// the next one counts the lease's time anew.
    fn attachable(&self, lease: LeaseId, state: &State) -> Option<Judgement> {
        if self.ended(lease) {
            return Some(Judgement::Refused(Verdict::Reserved));
        }
        self.existing(lease, state)
    }

    /// Whether the lease is frozen. While it is being revoked and granted again, the lessor still speaks of
    /// its namesake.
    fn ended(&self, lease: LeaseId) -> bool {
        !self.in_flight.changes(lease) && self.lessor.is_frozen(lease)
    }

    fn existing(&self, lease: LeaseId, state: &State) -> Option<Judgement> {
        match self.in_flight.lease_exists(lease) {
            Some(true) => None,
            Some(false) => Some(Judgement::RefusedByInFlight(Verdict::LeaseNotFound(lease))),
            None if state.leases().contains_key(&lease) => None,
            None => Some(Judgement::RefusedByLeader(Verdict::LeaseNotFound(lease))),
        }
    }

    fn sysop_refused(&self, append: &Append, state: &State) -> Option<Judgement> {
        match append.sysop.as_ref()? {
            SysOp::LeaseGrant { lease, .. } => match self.in_flight.lease_exists(*lease) {
                Some(true) => Some(Judgement::RefusedByInFlight(Verdict::LeaseExists(*lease))),
                Some(false) => None,
                None if !state.leases().contains_key(lease) => None,
                None => Some(Judgement::RefusedByLeader(Verdict::LeaseExists(*lease))),
            },
            SysOp::LeaseRevoke { lease, expired_in: None } => self.existing(*lease, state),
            SysOp::LeaseRevoke { lease, expired_in: Some(term) } => self.expiry_refused(*lease, *term, state),
            SysOp::Compact { revision } => self.compaction_refused(*revision, state),
            SysOp::Routes(routes) => self.routes_changed(routes.version(), state.routes().version()),
            SysOp::LeaseCheckpoint { .. }
            | SysOp::AlarmRaise { .. }
            | SysOp::AlarmClear { .. }
            | SysOp::SnapshotMark { .. } => None,
        }
    }

    /// Only the lessor that froze a lease knows that it has ended. Where another lessor counts its time, also one of
    /// the same term, or where it was granted again, there is no ended lease of this name, and this end of it is over:
    /// a lease that is still frozen is handed out again.
    fn expiry_refused(&self, lease: LeaseId, term: u64, state: &State) -> Option<Judgement> {
        if term != self.term || !self.ended(lease) {
            return Some(Judgement::Refused(Verdict::LeaseNotFound(lease)));
        }
        self.existing(lease, state)
    }

    fn compaction_refused(&self, revision: Revision, state: &State) -> Option<Judgement> {
        let compacted = self.in_flight.compacted();
        if revision <= state.compacted() {
            return Some(Judgement::Refused(Verdict::Compacted { compacted: state.compacted() }));
        }
        if revision <= compacted {
            return Some(Judgement::RefusedByInFlight(Verdict::Compacted { compacted }));
        }
        let current = self.last;
        (current < revision).then_some(Judgement::RefusedByLeader(Verdict::FutureRevision { current }))
    }

    /// Each version follows the one before, so that of two who change the same routes one learns of the other.
    fn routes_changed(&self, version: u64, committed: u64) -> Option<Judgement> {
        let current = self.in_flight.routes();
        if version <= committed {
            return Some(Judgement::Refused(Verdict::RoutesChanged { version: committed }));
        }
        if version <= current {
            return Some(Judgement::RefusedByInFlight(Verdict::RoutesChanged { version: current }));
        }
        // Whoever knows a later version has it from a later leader.
        let ahead = version != current + 1;
        ahead.then_some(Judgement::RefusedByLeader(Verdict::RoutesChanged { version: current }))
    }
}

fn read_at(read: &Read) -> Revision {
    match read {
        Read::Keys { at, .. } | Read::Lease { at, .. } => *at,
    }
}

/// The last question, since `keys` and `bytes` count every byte of the keys.
pub(super) fn weighed(keys: usize, bytes: usize, limits: &Limits) -> Judgement {
    let too_large = |bytes: usize, bytes_max: usize| {
        let (bytes, bytes_max) = (bytes as u64, bytes_max as u64);
        Judgement::Refused(Verdict::TooLarge { bytes, bytes_max })
    };
    if keys > codec::KEY_BYTES_MAX {
        return too_large(keys, codec::KEY_BYTES_MAX);
    }
    if bytes > limits.record_bytes_max {
        return too_large(bytes, limits.record_bytes_max);
    }
    Judgement::Fresh { bytes }
}
