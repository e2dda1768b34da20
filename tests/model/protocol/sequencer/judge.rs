//! Whether an append may have its place.
//!
//! What it read comes before what it asks for: evaluated again, it may ask for something else. A refusal is an
//! answer to a client, so it must be true for good.

use super::{Append, Known, LeaseId, Sequencer, State, SysOp, Time, Verdict};
use crate::protocol::broken::Broken;
use crate::protocol::window::Freshness;

pub(super) enum Judgement {
    Fresh,
    /// Whoever says it, it is true or harmless.
    Refused(Verdict),
    /// True if this leader still leads.
    RefusedByLeader(Verdict),
    /// True once everything on its way has committed.
    RefusedByInFlight(Verdict),
}

impl Sequencer {
    pub(super) fn judge(&mut self, append: &Append, state: &State, local: Time) -> Judgement {
        let refusal = self
            .repeated(append, state)
            .or_else(|| self.overloaded())
            .or_else(|| self.permissions_old(append, state))
            .or_else(|| self.changed(append, local))
            .or_else(|| self.lease_missing(append, state))
            .or_else(|| self.sysop_refused(append, state));
        refusal.unwrap_or(Judgement::Fresh)
    }

    /// A request happens once, whichever attempt at it that is.
    fn repeated(&self, append: &Append, state: &State) -> Option<Judgement> {
        if self.broken == Some(Broken::DedupForgotten) {
            return None;
        }
        let verdict = match state.known(append.origin, self.broken) {
            Known::Committed(outcome) => Verdict::Committed {
                lsn: outcome.lsn,
                revision: outcome.revision,
                attempt: outcome.origin.attempt,
            },
            Known::Forgotten => Verdict::Forgotten,
            Known::No if self.has(append.origin) => Verdict::Unknown,
            Known::No => return None,
        };
        Some(Judgement::Refused(verdict))
    }

    fn overloaded(&self) -> Option<Judgement> {
        (self.waiting() >= self.sizes.waiting_max).then_some(Judgement::Refused(Verdict::Overloaded))
    }

    fn permissions_old(&self, append: &Append, state: &State) -> Option<Judgement> {
        let old = append.auth_lsn < state.auth_lsn || self.auth_is_on_the_way();
        let stale = old && self.broken != Some(Broken::PermissionsUnchecked);
        stale.then_some(Judgement::Refused(Verdict::AuthStale))
    }

    fn changed(&mut self, append: &Append, local: Time) -> Option<Judgement> {
        // Only what is committed is read. Who has read more than this leader knows of has read another's.
        if append.reads.iter().any(|read| self.last < read.at()) {
            return Some(Judgement::Refused(Verdict::NotLeader));
        }
        let verdict = match self.window.check(&append.reads) {
            Freshness::Fresh if self.reservations.block(append.origin, &append.writes, local) => {
                return Some(Judgement::Refused(Verdict::Conflict { wait: self.last }));
            }
            Freshness::Fresh => return None,
            Freshness::Changed { newest } => Verdict::Conflict { wait: newest },
            Freshness::Unknowable { readable } => Verdict::TooOld { wait: readable },
        };
        if append.reserve {
            self.reservations.hold(append.origin, &append.reads, &append.writes, local, self.broken);
        }
        Some(Judgement::Refused(verdict))
    }

    fn lease_missing(&self, append: &Append, state: &State) -> Option<Judgement> {
        append.writes.iter().filter_map(|write| write.lease()).find_map(|lease| {
            let ended = self.lessor.is_frozen(lease) && self.lease_on_the_way(lease).is_none();
            match ended {
                true if self.broken == Some(Broken::FrozenRefusedAtOnce) => {
                    Some(Judgement::RefusedByLeader(Verdict::LeaseNotFound))
                }
                // Whoever leads next starts it anew: to say that it is gone would not be true for good.
                true => Some(Judgement::Refused(Verdict::Overloaded)),
                false => self.existing(lease, state),
            }
        })
    }

    fn existing(&self, lease: LeaseId, state: &State) -> Option<Judgement> {
        match self.lease_on_the_way(lease) {
            Some(true) => None,
            Some(false) => Some(Judgement::RefusedByInFlight(Verdict::LeaseNotFound)),
            None if state.has_lease(lease) => None,
            None if self.broken == Some(Broken::RefusedUnconfirmed) => {
                Some(Judgement::Refused(Verdict::LeaseNotFound))
            }
            None => Some(Judgement::RefusedByLeader(Verdict::LeaseNotFound)),
        }
    }

    fn sysop_refused(&self, append: &Append, state: &State) -> Option<Judgement> {
        match append.sysop.as_ref()? {
            SysOp::Grant { lease, .. } => match self.lease_on_the_way(*lease) {
                Some(true) => Some(Judgement::RefusedByInFlight(Verdict::LeaseExists)),
                None if state.has_lease(*lease) => Some(Judgement::RefusedByLeader(Verdict::LeaseExists)),
                Some(false) | None => None,
            },
            SysOp::Revoke { lease, expired_in: None } => self.existing(*lease, state),
            // Only the lessor that froze a lease knows that it has ended.
            SysOp::Revoke { lease, expired_in: Some(term) } => {
                let mine = *term == self.term || self.broken == Some(Broken::DeposedExpires);
                // While it is revoked and granted again the lessor still speaks of its namesake.
                let frozen = self.lessor.is_frozen(*lease) && self.lease_on_the_way(*lease).is_none();
                let ended = frozen || self.broken == Some(Broken::DeposedExpires);
                let stale = || Some(Judgement::Refused(Verdict::LeaseStartedAnew));
                if mine && ended { self.existing(*lease, state) } else { stale() }
            }
            SysOp::Compact { revision } if *revision <= state.compacted => {
                Some(Judgement::Refused(Verdict::Compacted))
            }
            SysOp::Compact { revision } if *revision <= self.compacted_on_the_way() => {
                Some(Judgement::RefusedByInFlight(Verdict::Compacted))
            }
            // It is committed somewhere, and not here.
            SysOp::Compact { revision } if self.last < *revision => {
                Some(Judgement::Refused(Verdict::NotLeader))
            }
            SysOp::Routes(routes) if routes.version <= state.routes.version => {
                Some(Judgement::Refused(Verdict::RoutesChanged))
            }
            SysOp::Routes(routes) if routes.version <= self.routes_on_the_way() => {
                Some(Judgement::RefusedByInFlight(Verdict::RoutesChanged))
            }
            SysOp::Compact { .. } | SysOp::Routes(_) | SysOp::Auth { .. } | SysOp::Mark { .. } => None,
        }
    }
}
