//! When leases end: by the leader's clock alone, and each anew under each leader.
//!
//!     running ── its time is over ──► frozen, handed out ──► revoked by a record
//!        ▲ └─ keep-alive ─┘              └─ handed out again after a while

use super::broken::Broken;
use super::record::{LeaseId, Time};
use super::state::Lease;

#[derive(Clone, Copy, Debug)]
struct Held {
    id: LeaseId,
    ttl: Time,
    /// While it runs, when it ends. Frozen, when it is handed out again.
    deadline: Time,
    frozen: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renewal {
    Renewed,
    Ended,
    NotFound,
}

const OFFERED_FOR: Time = 200;

/// Of one leader.
#[derive(Debug)]
pub(crate) struct Lessor {
    held: Vec<Held>,
    broken: Option<Broken>,
}

impl Lessor {
    pub(crate) fn start(leases: &[Lease], now: Time, broken: Option<Broken>) -> Lessor {
        let mut lessor = Lessor { held: Vec::new(), broken };
        for lease in leases {
            lessor.granted(lease.id, lease.ttl, now);
            if broken == Some(Broken::LeasesNotRestarted) {
                lessor.held.last_mut().expect("it was granted").deadline = lease.granted_at + lease.ttl;
            }
        }
        lessor
    }

    pub(crate) fn granted(&mut self, id: LeaseId, ttl: Time, now: Time) {
        self.held.push(Held { id, ttl, deadline: now + ttl, frozen: false });
    }

    pub(crate) fn revoked(&mut self, id: LeaseId) {
        self.held.retain(|held| held.id != id);
    }

    /// `asked_at` is when the keep-alive arrived; leadership was confirmed after that.
    pub(crate) fn renew(&mut self, id: LeaseId, asked_at: Time) -> Renewal {
        let Some(held) = self.held.iter_mut().find(|held| held.id == id) else { return Renewal::NotFound };
        if held.frozen && self.broken != Some(Broken::FrozenRenewed) {
            return Renewal::Ended;
        }
        held.deadline = held.deadline.max(asked_at + held.ttl);
        Renewal::Renewed
    }

    pub(crate) fn is_frozen(&self, id: LeaseId) -> bool {
        self.held.iter().any(|held| held.id == id && held.frozen)
    }

    /// Freezes a lease whose time is over, and hands it out.
    pub(crate) fn expired(&mut self, now: Time) -> Option<LeaseId> {
        let early = self.broken == Some(Broken::LeasesEndEarly);
        let end = |held: &Held| held.deadline - if early && !held.frozen { held.ttl / 4 } else { 0 };
        let held = self.held.iter_mut().find(|held| end(held) <= now)?;
        held.frozen = true;
        held.deadline = now + OFFERED_FOR;
        Some(held.id)
    }
}
