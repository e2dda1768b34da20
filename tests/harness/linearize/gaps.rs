//! Revisions that no answer names, and unanswered operations that can have made them.
//!
//! An operation that nobody answered happened once or never. What each of the revisions did is known by the time they are
//! given out, so that this is a matching: every revision gets an operation, and no operation two revisions.

use maelstrom::check::Findings;
use proto::etcdserverpb::LeaseRevokeRequest;
use proto::etcdserverpb::request_op::Request as Op;
use proto::mvccpb::Event;
use proto::mvccpb::event::EventType;

use super::order::Latest;
use super::store::is_in;
use crate::compat::Request;
use crate::history::{Moment, Operation, both_branches, revision};
use crate::matching::{Unmatched, matching};

/// Something that may have happened once.
pub(super) struct Suspect {
    pub(super) request: Request,
    invoked: Moment,
    /// A revocation that was answered happened then, if it changed anything.
    only: Option<i64>,
    pub(super) name: String,
}

impl Suspect {
    /// Unanswered operations, answered revocations, and leases that may have ended by themselves: no earlier than
    /// their time to live after they were asked for.
    pub(super) fn all(history: &[Operation]) -> Vec<Suspect> {
        let mut suspects = Vec::new();
        for operation in history {
            let (request, invoked) = (operation.call.request.clone(), operation.invoked);
            match &request {
                Request::Grant(grant) if !operation.failed() => {
                    let ttl = Moment::from_secs(grant.ttl.unsigned_abs());
                    let name = format!("the end of lease {}, that is {operation}", grant.id);
                    let request = Request::Revoke(LeaseRevokeRequest { id: grant.id });
                    suspects.push(Suspect { request, invoked: invoked + ttl, only: None, name });
                }
                Request::Revoke(_) if operation.is_ok() => {
                    let only = revision(operation);
                    suspects.push(Suspect { request, invoked, only, name: operation.to_string() });
                }
                Request::Put(_) | Request::Delete(_) | Request::Txn(_) | Request::Revoke(_)
                    if operation.answered().is_none() =>
                {
                    suspects.push(Suspect { request, invoked, only: None, name: operation.to_string() });
                }
                _ => {}
            }
        }
        suspects
    }

    /// A quick look, before it is tried out.
    pub(super) fn can_have_made(&self, at: i64, events: &[Event], latest: &Latest) -> bool {
        self.only.is_none_or(|only| only == at)
            && latest.allows(at, self.invoked)
            && events.iter().all(|event| can_cause(&self.request, event))
    }

    pub(super) fn invoked(&self) -> Moment {
        self.invoked
    }
}

fn can_cause(request: &Request, event: &Event) -> bool {
    let Some(kv) = &event.kv else { return false };
    let deletes = event.r#type == i32::from(EventType::Delete);
    let op_can = |op: &Op| match op {
        Op::RequestPut(put) => !deletes && put.key == kv.key && (put.ignore_value || put.value == kv.value),
        Op::RequestDeleteRange(delete) => deletes && is_in(&kv.key, &delete.key, &delete.range_end),
        Op::RequestRange(_) | Op::RequestTxn(_) => false,
    };
    match request {
        Request::Put(put) => op_can(&Op::RequestPut(put.clone())),
        Request::Delete(delete) => op_can(&Op::RequestDeleteRange(delete.clone())),
        Request::Txn(txn) => both_branches(txn).into_iter().any(op_can),
        Request::Revoke(_) => deletes,
        _ => false,
    }
}

/// A revision and the numbers of its suspects.
pub(super) struct Gap {
    pub(super) revision: i64,
    pub(super) suspects: Vec<usize>,
}

/// Reports a revision for which no suspect is left.
pub(super) fn assign(gaps: &[Gap], suspects: &[Suspect], findings: &mut Findings) {
    let of_each: Vec<Vec<usize>> = gaps.iter().map(|gap| gap.suspects.clone()).collect();
    if let Err(Unmatched { thing, taken }) = matching(&of_each) {
        let first = format!("revision {} was made by nobody else than", gaps[thing].revision);
        let rivals = taken.into_iter().map(|(suspect, other)| {
            let (revision, name) = (gaps[other].revision, &suspects[suspect].name);
            format!("made {revision}, and cannot have happened twice: {name}")
        });
        findings.found("an operation happened twice", std::iter::once(first).chain(rivals).collect());
    }
}
