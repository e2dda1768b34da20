//! Answers, from and to messages.

use std::time::Duration;

use proto::journal as message;
use proto::journal::{
    answer::Answer as Says, fate::Fate as Fates, refusal::Why, verdict::Verdict as Verdicts,
};

use super::{Malformed, members};
use crate::client::{Expired, LeaseStatus};
use crate::error::Error;
use crate::lsn::Lsn;
use crate::member::{LeaderMoved, MembersChanged};
use crate::record::LeaseId;
use crate::revision::Revision;
use crate::verdict::{Barrier, Fate, Verdict};

/// What a node says to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Verdict(Verdict),
    Fate(Fate),
    Barrier(Barrier),
    KeepAlive(Option<i64>),
    Lease(Option<LeaseStatus>),
    /// With when each ends: all of them, or some where there are more to come.
    Leases {
        leases: Vec<(Duration, LeaseId)>,
        more: bool,
    },
    Expired(Vec<Expired>),
    Members(MembersChanged),
    LeaderMoved(LeaderMoved),
    /// `NotLeader`, `NoQuorum` or `Closed`.
    Refused(Error),
}

pub(crate) fn write(id: u64, answer: Answer) -> message::Answer {
    let says = match answer {
        Answer::Verdict(verdict) => Says::Verdict(write_verdict(verdict)),
        Answer::Fate(fate) => Says::Fate(write_fate(fate)),
        Answer::Barrier(Barrier { lsn, revision, term }) => {
            Says::Barrier(message::Barrier { lsn: lsn.0, revision: revision.0, term })
        }
        Answer::KeepAlive(ttl_seconds) => Says::KeepAlive(message::KeepAlive { ttl_seconds }),
        Answer::Lease(status) => Says::Lease(message::Lease { status: status.map(write_lease) }),
        Answer::Leases { leases, more } => {
            Says::Leases(message::Leases { leases: leases.into_iter().map(write_end).collect(), more })
        }
        Answer::Expired(expired) => Says::Expired(write_expired(&expired)),
        Answer::Members(changed) => Says::Members(members::write_changed(&changed)),
        Answer::LeaderMoved(moved) => Says::LeaderMoved(members::write_moved(moved)),
        Answer::Refused(error) => Says::Refusal(write_refusal(&error)),
    };
    message::Answer { id, answer: Some(says) }
}

/// Takes the answer apart that a peer has sent.
pub(crate) fn read(answer: message::Answer) -> Result<(u64, Answer), Malformed> {
    let says = match answer.answer.ok_or_else(|| Malformed::without("the answer"))? {
        Says::Verdict(verdict) => Answer::Verdict(read_verdict(verdict)?),
        Says::Fate(fate) => Answer::Fate(read_fate(fate)?),
        Says::Barrier(message::Barrier { lsn, revision, term }) => {
            Answer::Barrier(Barrier { lsn: Lsn(lsn), revision: Revision(revision), term })
        }
        Says::KeepAlive(kept) => Answer::KeepAlive(kept.ttl_seconds),
        Says::Lease(lease) => Answer::Lease(lease.status.map(|status| LeaseStatus {
            granted_seconds: status.granted_seconds,
            remaining_seconds: status.remaining_seconds,
        })),
        Says::Leases(leases) => {
            let end = |one: message::leases::One| (Duration::from_micros(one.ends_us), LeaseId(one.lease));
            Answer::Leases { leases: leases.leases.into_iter().map(end).collect(), more: leases.more }
        }
        Says::Expired(expired) => {
            let one = |one: message::expired::One| Expired { lease: LeaseId(one.lease), term: one.term };
            Answer::Expired(expired.leases.into_iter().map(one).collect())
        }
        Says::Members(changed) => Answer::Members(members::read_changed(changed)?),
        Says::LeaderMoved(moved) => Answer::LeaderMoved(members::read_moved(moved)?),
        Says::Refusal(refusal) => Answer::Refused(read_refusal(&refusal)),
    };
    Ok((answer.id, says))
}

fn write_lease(status: LeaseStatus) -> message::LeaseStatus {
    message::LeaseStatus {
        granted_seconds: status.granted_seconds,
        remaining_seconds: status.remaining_seconds,
    }
}

fn write_end((ends, lease): (Duration, LeaseId)) -> message::leases::One {
    let ends_us = u64::try_from(ends.as_micros()).unwrap_or(u64::MAX);
    message::leases::One { lease: lease.0, ends_us }
}

fn write_expired(expired: &[Expired]) -> message::Expired {
    let one = |one: &Expired| message::expired::One { lease: one.lease.0, term: one.term };
    message::Expired { leases: expired.iter().map(one).collect() }
}

fn write_refusal(error: &Error) -> message::Refusal {
    let (why, leader) = match error {
        Error::NotLeader { hint } => (Why::NotLeader, hint.unwrap_or_default()),
        Error::NoQuorum => (Why::NoQuorum, 0),
        _ => (Why::Closed, 0),
    };
    message::Refusal { why: why.into(), leader }
}

fn read_refusal(refusal: &message::Refusal) -> Error {
    match refusal.why() {
        Why::NotLeader => Error::NotLeader { hint: id(refusal.leader) },
        Why::NoQuorum => Error::NoQuorum,
        // One node that closes is not the end of its journal.
        Why::Closed => Error::NotLeader { hint: None },
    }
}

/// A node's id, where 0 stands for none.
pub(crate) fn id(id: u64) -> Option<u64> {
    (id != 0).then_some(id)
}

fn write_verdict(verdict: Verdict) -> message::Verdict {
    let (reserved, forgotten) = (verdict == Verdict::Reserved, verdict == Verdict::Forgotten);
    let says = match verdict {
        Verdict::Committed { lsn, revision, term, attempt } => {
            Verdicts::Committed(committed(lsn, revision, term, attempt))
        }
        Verdict::Conflict { wait } => Verdicts::ConflictWait(wait.0),
        // A peer of a version before asks again at once.
        Verdict::Reserved => Verdicts::ConflictWait(0),
        Verdict::TooOld { wait } => Verdicts::TooOldWait(wait.0),
        Verdict::LeaseNotFound(lease) => Verdicts::LeaseNotFound(lease.0),
        Verdict::LeaseExists(lease) => Verdicts::LeaseExists(lease.0),
        Verdict::Compacted { compacted } => Verdicts::Compacted(compacted.0),
        Verdict::RoutesChanged { version } => Verdicts::RoutesChanged(version),
        Verdict::FutureRevision { current } => Verdicts::FutureRevision(current.0),
        Verdict::Overloaded { retry_after } => {
            Verdicts::OverloadedRetryAfterMs(u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX))
        }
        Verdict::TooLarge { bytes, bytes_max } => Verdicts::TooLarge(message::TooLarge { bytes, bytes_max }),
        Verdict::NotLeader { hint } => Verdicts::NotLeaderHint(hint.unwrap_or_default()),
        // A peer of an earlier version asks for its fate, which is `Expired`.
        Verdict::Forgotten | Verdict::Unknown => Verdicts::Unknown(message::Nothing {}),
    };
    message::Verdict { verdict: Some(says), reserved, forgotten }
}

fn read_verdict(verdict: message::Verdict) -> Result<Verdict, Malformed> {
    Ok(match verdict.verdict.ok_or_else(|| Malformed::without("the verdict"))? {
        Verdicts::Committed(message::Committed { lsn, revision, term, attempt }) => {
            Verdict::Committed { lsn: Lsn(lsn), revision: Revision(revision), term, attempt }
        }
        Verdicts::ConflictWait(_) if verdict.reserved => Verdict::Reserved,
        Verdicts::ConflictWait(wait) => Verdict::Conflict { wait: Revision(wait) },
        Verdicts::TooOldWait(wait) => Verdict::TooOld { wait: Revision(wait) },
        Verdicts::LeaseNotFound(lease) => Verdict::LeaseNotFound(LeaseId(lease)),
        Verdicts::LeaseExists(lease) => Verdict::LeaseExists(LeaseId(lease)),
        Verdicts::Compacted(compacted) => Verdict::Compacted { compacted: Revision(compacted) },
        Verdicts::RoutesChanged(version) => Verdict::RoutesChanged { version },
        Verdicts::FutureRevision(current) => Verdict::FutureRevision { current: Revision(current) },
        Verdicts::OverloadedRetryAfterMs(ms) => {
            Verdict::Overloaded { retry_after: Duration::from_millis(ms) }
        }
        Verdicts::TooLarge(message::TooLarge { bytes, bytes_max }) => Verdict::TooLarge { bytes, bytes_max },
        Verdicts::NotLeaderHint(hint) => Verdict::NotLeader { hint: id(hint) },
        Verdicts::Unknown(_) if verdict.forgotten => Verdict::Forgotten,
        Verdicts::Unknown(_) => Verdict::Unknown,
    })
}

fn write_fate(fate: Fate) -> message::Fate {
    let nothing = message::Nothing {};
    let says = match fate {
        Fate::Committed { lsn, revision, term, attempt } => {
            Fates::Committed(committed(lsn, revision, term, attempt))
        }
        Fate::Pending => Fates::Pending(nothing),
        Fate::Never => Fates::Never(nothing),
        Fate::Expired => Fates::Expired(nothing),
    };
    message::Fate { fate: Some(says) }
}

fn read_fate(fate: message::Fate) -> Result<Fate, Malformed> {
    Ok(match fate.fate.ok_or_else(|| Malformed::without("the fate"))? {
        Fates::Committed(message::Committed { lsn, revision, term, attempt }) => {
            Fate::Committed { lsn: Lsn(lsn), revision: Revision(revision), term, attempt }
        }
        Fates::Pending(_) => Fate::Pending,
        Fates::Never(_) => Fate::Never,
        Fates::Expired(_) => Fate::Expired,
    })
}

fn committed(lsn: Lsn, revision: Revision, term: u64, attempt: u32) -> message::Committed {
    message::Committed { lsn: lsn.0, revision: revision.0, term, attempt }
}
