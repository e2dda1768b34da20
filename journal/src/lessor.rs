//! When leases end: the leader's clockwork.
//!
//!     Running ── deadline passed, handed out ──► Frozen ── revocation committed ──► gone
//!        ▲  └─ keep-alive ─┘                        └─ handed out again every 5 s until then
//!
//! Times are the leader's own, since some moment of its monotonic clock; no other clock takes part. A new leader
//! gives each lease its whole time again, or what a checkpoint had left, and so never ends one early (I8).
//!
//! A checkpoint only counts until the next keep-alive. So one that was written must be taken back in the
//! journal before a keep-alive may be acknowledged, or the next leader would start from the old remainder.

use std::collections::BTreeSet;
use std::time::Duration;

use hashbrown::HashMap;

use crate::client::LeaseStatus;
use crate::planted::Bug;
use crate::record::LeaseId;
use crate::state::Lease;

/// After this a frozen lease that nobody has revoked is handed out again.
const OFFERED_FOR: Duration = Duration::from_secs(5);

/// How often it is written down what is left of a lease of which more than this is left.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(300);

/// A checkpoint of all the time there is, whatever that is. It may meet another lease of the same name, granted
/// meanwhile with more time than the one that was kept alive.
pub(crate) const ALL_SECONDS: i64 = i64::MAX;

/// What a keep-alive met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// Its time began again.
    Renewed { ttl_seconds: i64 },
    /// First a checkpoint must be taken back: journal that `ALL_SECONDS` are left, tell
    /// `checkpoint_taken_back` once that is committed, and renew then.
    CheckpointFirst { checkpoint: u64 },
    /// There is no such lease, or it has ended.
    NotFound,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    Frozen,
}

#[derive(Clone, Debug)]
struct Held {
    granted_seconds: i64,
    phase: Phase,
    /// While running, when it ends. Frozen, when it is offered again.
    deadline: Duration,
    /// Where it stands in `due`. A keep-alive moves the deadline alone, which is what happens most.
    due: Duration,
    /// Where it stands in `checkpoint_due`, if it does.
    checkpoint_due: Option<Duration>,
    /// The number of the last checkpoint of it, and of the last that is taken back; 0 where there is none.
    checkpoint: u64,
    taken_back: u64,
}

/// All leases of the store, as of one leader. Their number is bounded by who may grant them.
#[derive(Default)]
pub(crate) struct Lessor {
    leases: HashMap<LeaseId, Held>,
    /// Each lease once, at a moment not after its deadline.
    due: BTreeSet<(Duration, LeaseId)>,
    checkpoint_due: BTreeSet<(Duration, LeaseId)>,
    /// Numbers checkpoints, of all leases: one granted again must not be taken for its namesake.
    checkpoints: u64,
}

impl Lessor {
    /// Starts all leases anew.
    pub(crate) fn start<'a>(
        leases: impl IntoIterator<Item = (&'a LeaseId, &'a Lease)>,
        now: Duration,
    ) -> Lessor {
        let mut lessor = Lessor::default();
        for (id, lease) in leases {
            lessor.granted(*id, lease.granted_seconds, now);
            if let Some(remaining) = lease.remaining_seconds {
                lessor.shorten(*id, remaining, now);
            }
        }
        lessor
    }

    /// A lease was granted, and that is committed.
    pub(crate) fn granted(&mut self, id: LeaseId, granted_seconds: i64, now: Duration) {
        self.revoked(id);
        let all = seconds(granted_seconds);
        let deadline = now.saturating_add(if Bug::ExpireEarly.is_planted() { all / 2 } else { all });
        let phase = Phase::Running;
        let (due, checkpoint_due, checkpoint, taken_back) = (deadline, None, 0, 0);
        let held = Held { granted_seconds, phase, deadline, due, checkpoint_due, checkpoint, taken_back };
        self.due.insert((due, id));
        self.leases.insert(id, held);
        self.plan_checkpoint(id, now);
    }

    /// Begins with what a checkpoint had left.
    fn shorten(&mut self, id: LeaseId, remaining_seconds: i64, now: Duration) {
        let held = self.leases.get_mut(&id).expect("it was granted just before");
        self.checkpoints += 1;
        held.checkpoint = self.checkpoints;
        held.deadline = now.saturating_add(seconds(remaining_seconds));
        self.move_due(id);
        self.plan_checkpoint(id, now);
    }

    /// A lease was revoked, and that is committed.
    pub(crate) fn revoked(&mut self, id: LeaseId) {
        if let Some(held) = self.leases.remove(&id) {
            self.due.remove(&(held.due, id));
            held.checkpoint_due.map(|due| self.checkpoint_due.remove(&(due, id)));
        }
    }

    /// Starts the lease's time again. Only while leadership is certain: whoever acknowledges a keep-alive must
    /// have confirmed, after it arrived, that this leader still leads.
    pub(crate) fn renew(&mut self, id: LeaseId, now: Duration) -> Renewal {
        let Some(held) = self.leases.get_mut(&id) else { return Renewal::NotFound };
        let (ttl_seconds, checkpoint) = (held.granted_seconds, held.checkpoint);
        match held.phase {
            Phase::Frozen => Renewal::NotFound,
            Phase::Running if held.taken_back < checkpoint => Renewal::CheckpointFirst { checkpoint },
            Phase::Running => {
                // Time does not go back, and neither does a deadline.
                held.deadline = held.deadline.max(now.saturating_add(seconds(ttl_seconds)));
                self.plan_checkpoint(id, now);
                Renewal::Renewed { ttl_seconds }
            }
        }
    }

    /// The journal has that all of the lease is left, written after the checkpoint of this number.
    pub(crate) fn checkpoint_taken_back(&mut self, id: LeaseId, checkpoint: u64) {
        if let Some(held) = self.leases.get_mut(&id) {
            held.taken_back = held.taken_back.max(checkpoint);
        }
    }

    /// Leases to write down, at most `max` of them, with what is left of each in seconds. They count as
    /// written from here on, also when they never are.
    pub(crate) fn checkpoints(&mut self, now: Duration, max: usize) -> Vec<(LeaseId, i64)> {
        let mut written = Vec::new();
        while written.len() < max {
            let Some((due, id)) = self.checkpoint_due.first().copied().filter(|(due, _)| *due <= now) else {
                break;
            };
            self.checkpoint_due.remove(&(due, id));
            let held = self.leases.get_mut(&id).expect("what is due is held");
            held.checkpoint_due = None;
            let remaining = remaining_seconds(held.deadline, now);
            if held.phase == Phase::Running && remaining < held.granted_seconds {
                self.checkpoints += 1;
                held.checkpoint = self.checkpoints;
                written.push((id, remaining));
            }
            self.plan_checkpoint(id, now);
        }
        written
    }

    /// Freezes leases that have ended and hands them out, at most `max` of them, also those that were handed
    /// out a while ago and are still there.
    pub(crate) fn expired(&mut self, now: Duration, max: usize) -> Vec<LeaseId> {
        let mut ended = Vec::new();
        while ended.len() < max {
            let Some((_, id)) = self.due.first().copied().filter(|(due, _)| *due <= now) else { break };
            let held = self.leases.get_mut(&id).expect("what is due is held");
            if held.deadline <= now {
                held.phase = Phase::Frozen;
                held.deadline = now + OFFERED_FOR;
                ended.push(id);
            }
            self.move_due(id);
        }
        ended
    }

    /// When `expired` or `checkpoints` next have something to do, at the earliest.
    pub(crate) fn wake_at(&self) -> Option<Duration> {
        let first = |due: &BTreeSet<(Duration, LeaseId)>| due.first().map(|(due, _)| *due);
        [first(&self.due), first(&self.checkpoint_due)].into_iter().flatten().min()
    }

    pub(crate) fn is_frozen(&self, id: LeaseId) -> bool {
        self.leases.get(&id).is_some_and(|held| held.phase == Phase::Frozen)
    }

    /// What is left of the lease, in whole seconds as etcd tells them; nothing once it has ended.
    pub(crate) fn status(&self, id: LeaseId, now: Duration) -> Option<LeaseStatus> {
        let held = self.leases.get(&id)?;
        let left = match held.phase {
            Phase::Running => held.deadline.saturating_sub(now),
            Phase::Frozen => Duration::ZERO,
        };
        let remaining_seconds = i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
        Some(LeaseStatus { granted_seconds: held.granted_seconds, remaining_seconds })
    }

    /// Every lease and when it ends, in no order. Those that have ended come before all that have not.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (Duration, LeaseId)> {
        self.leases.iter().map(|(id, held)| match held.phase {
            Phase::Running => (held.deadline, *id),
            Phase::Frozen => (Duration::ZERO, *id),
        })
    }

    fn move_due(&mut self, id: LeaseId) {
        let held = self.leases.get_mut(&id).expect("the caller has it");
        self.due.remove(&(held.due, id));
        held.due = held.deadline;
        self.due.insert((held.due, id));
    }

    /// The next checkpoint comes while enough of the lease is left to be worth it.
    fn plan_checkpoint(&mut self, id: LeaseId, now: Duration) {
        let held = self.leases.get_mut(&id).expect("the caller has it");
        let worth = now + CHECKPOINT_EVERY < held.deadline;
        if worth && held.phase == Phase::Running && held.checkpoint_due.is_none() {
            held.checkpoint_due = Some(now + CHECKPOINT_EVERY);
            self.checkpoint_due.insert((now + CHECKPOINT_EVERY, id));
        }
    }
}

/// A lease of a negative time has none.
fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// Rounded up, so that nobody starts from less than there was.
fn remaining_seconds(deadline: Duration, now: Duration) -> i64 {
    let left = deadline.saturating_sub(now);
    let whole = left.as_secs() + u64::from(left.subsec_nanos() != 0);
    i64::try_from(whole).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
