//! What clients asked a store, what they were told, and when.
//!
//! The outcome of an operation is an answer, a refusal (it never happened) or unknown: it may have happened once, at any
//! later time, or never. What is compared is what the model answers, too: all but cluster, member and term.

use std::fmt::{self, Display};

use maelstrom::check::history;
use proto::etcdserverpb::request_op::Request as Op;
use proto::etcdserverpb::response_op::Response;
use proto::etcdserverpb::{
    DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, ResponseHeader, TxnRequest, TxnResponse,
};
use proto::mvccpb::Event;
use tonic::Code;

use crate::compat::{self, Request};

mod show;

pub use maelstrom::check::history::{Moment, Phase};

/// What a client says that nobody listened to.
const NOT_CONNECTED: &str = "tcp connect error";

/// A request, and where it was sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub endpoint: usize,
    pub request: Request,
}

/// What a store says, without who said it.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer(compat::Outcome);

pub type Operation = history::Operation<Call, Answer>;
pub type Outcome = history::Outcome<Answer>;

impl Answer {
    #[must_use]
    pub fn new(mut told: compat::Outcome) -> Answer {
        match &mut told {
            compat::Outcome::Range(answer) => bare(&mut answer.header),
            compat::Outcome::Put(answer) => bare(&mut answer.header),
            compat::Outcome::Delete(answer) => bare(&mut answer.header),
            compat::Outcome::Txn(answer) => bare_txn(answer),
            compat::Outcome::Compact(answer) => bare(&mut answer.header),
            compat::Outcome::Grant(answer) => bare(&mut answer.header),
            compat::Outcome::Revoke(answer) => bare(&mut answer.header),
            _ => {}
        }
        Answer(told)
    }

    #[must_use]
    pub fn told(&self) -> &compat::Outcome {
        &self.0
    }

    /// Whether it says that keys have changed. A revocation does not tell.
    fn tells_of_a_change(&self) -> bool {
        match &self.0 {
            compat::Outcome::Put(_) => true,
            compat::Outcome::Delete(answer) => answer.deleted > 0,
            compat::Outcome::Txn(answer) => has_changed(answer),
            _ => false,
        }
    }
}

fn bare(header: &mut Option<ResponseHeader>) {
    let revision = header.take().map_or(0, |header| header.revision);
    *header = Some(ResponseHeader { revision, ..ResponseHeader::default() });
}

fn bare_txn(txn: &mut TxnResponse) {
    bare(&mut txn.header);
    for response in txn.responses.iter_mut().filter_map(|op| op.response.as_mut()) {
        match response {
            Response::ResponseRange(answer) => bare(&mut answer.header),
            Response::ResponsePut(answer) => bare(&mut answer.header),
            Response::ResponseDeleteRange(answer) => bare(&mut answer.header),
            Response::ResponseTxn(answer) => bare_txn(answer),
        }
    }
}

fn has_changed(txn: &TxnResponse) -> bool {
    txn.responses.iter().filter_map(|op| op.response.as_ref()).any(|response| match response {
        Response::ResponsePut(_) => true,
        Response::ResponseDeleteRange(answer) => answer.deleted > 0,
        Response::ResponseTxn(nested) => has_changed(nested),
        Response::ResponseRange(_) => false,
    })
}

/// The revision that its answer brought.
#[must_use]
pub fn revision(operation: &Operation) -> Option<i64> {
    operation.answer()?.0.revision()
}

/// The revision that it made, if its answer says so.
#[must_use]
pub fn wrote(operation: &Operation) -> Option<i64> {
    operation.answer().filter(|answer| answer.tells_of_a_change())?.0.revision()
}

/// What became of a call that ended at `at`: only some refusals say that nothing happened.
#[must_use]
pub fn ended(at: Moment, told: compat::Outcome) -> Outcome {
    let compat::Outcome::Refused(code, why) = told else {
        return Outcome::Ok { at, answer: Answer::new(told) };
    };
    match code {
        // There was no connection that it could have gone over.
        Code::Unavailable if why.contains(NOT_CONNECTED) => Outcome::Fail { at, code: code as u64 },
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::Unimplemented
        | Code::ResourceExhausted => Outcome::Fail { at, code: code as u64 },
        Code::Ok
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::Cancelled
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => Outcome::Info { why: format!("{code:?}: {why}") },
    }
}

/// The operations of both branches, those of nested transactions too.
pub(crate) fn both_branches(txn: &TxnRequest) -> Vec<&Op> {
    let ops = txn.success.iter().chain(&txn.failure).filter_map(|op: &RequestOp| op.request.as_ref());
    ops.flat_map(|op| match op {
        Op::RequestTxn(nested) => both_branches(nested),
        Op::RequestRange(_) | Op::RequestPut(_) | Op::RequestDeleteRange(_) => vec![op],
    })
    .collect()
}

/// Requests as briefly as tests and workloads need them.
#[must_use]
pub fn put(key: &str, value: &str) -> PutRequest {
    PutRequest { key: key.to_owned().into(), value: value.to_owned().into(), ..PutRequest::default() }
}

#[must_use]
pub fn get(key: &str) -> RangeRequest {
    RangeRequest { key: key.to_owned().into(), ..RangeRequest::default() }
}

#[must_use]
pub fn delete(key: &str) -> DeleteRangeRequest {
    DeleteRangeRequest { key: key.to_owned().into(), ..DeleteRangeRequest::default() }
}

/// An event on one line.
#[must_use]
pub fn event(event: &Event) -> String {
    show::event(event)
}

impl Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at e{} {}", self.endpoint, show::request(&self.request))
    }
}

impl Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show::outcome(&self.0))
    }
}
