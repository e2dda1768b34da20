//! The only place with etcd's codes and texts. Clients tell errors apart by the exact text.

use journal::MemberRefusal;
use tonic::{Code, Status};

use crate::error::{AuthRefusal, Error};
use crate::watch::Refusal;

impl From<Error> for Status {
    fn from(error: Error) -> Status {
        status(&error)
    }
}

fn status(error: &Error) -> Status {
    let (code, text) = match error {
        Error::EmptyKey => (Code::InvalidArgument, "etcdserver: key is not provided"),
        Error::KeyNotFound => (Code::InvalidArgument, "etcdserver: key not found"),
        Error::ValueProvided => (Code::InvalidArgument, "etcdserver: value is provided"),
        Error::LeaseProvided => (Code::InvalidArgument, "etcdserver: lease is provided"),
        Error::TooManyOperations => (Code::InvalidArgument, "etcdserver: too many operations in txn request"),
        Error::DuplicateKey => (Code::InvalidArgument, "etcdserver: duplicate key given in txn request"),
        Error::InvalidSortOption => (Code::InvalidArgument, "etcdserver: invalid sort option"),
        Error::RequestTooLarge => (Code::InvalidArgument, "etcdserver: request is too large"),
        Error::Compacted => (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted"),
        Error::FutureRevision => {
            (Code::OutOfRange, "etcdserver: mvcc: required revision is a future revision")
        }
        Error::LeaseNotFound => (Code::NotFound, "etcdserver: requested lease not found"),
        Error::LeaseExists => (Code::FailedPrecondition, "etcdserver: lease already exists"),
        Error::LeaseTtlTooLarge => (Code::OutOfRange, "etcdserver: too large lease TTL"),
        Error::BadTransferee => (Code::FailedPrecondition, "etcdserver: bad leader transferee"),
        Error::NotLeader => (Code::FailedPrecondition, "etcdserver: not leader"),
        // Not "unavailable": etcd knows no code for this one.
        Error::TransferTimedOut => {
            (Code::Unknown, "etcdserver: request timed out, leader transfer took too long")
        }
        Error::NotForLearners => (Code::FailedPrecondition, "etcdserver: rpc not supported for learner"),
        Error::BadMemberUrls => (Code::InvalidArgument, "etcdserver: given member URLs are invalid"),
        Error::ServesNoPeers => (
            Code::FailedPrecondition,
            "this member cannot be reached by others: start it with --listen-peer-urls, and tell the cluster where \
             that is by `etcdctl member update`",
        ),
        Error::Member(refusal) => member(*refusal),
        Error::RoutesChanged => {
            (Code::Aborted, "somebody else has changed the routes meanwhile: look at them again")
        }
        Error::UnknownAlarmAction => (Code::InvalidArgument, "etcdserver: unknown alarm action"),
        Error::NoSpace => (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded"),
        Error::CorruptCluster => (Code::DataLoss, "etcdserver: corrupt cluster"),
        // Not "resource exhausted": etcd loses this one's code on its way to the wire.
        Error::Overloaded => (Code::Unknown, "etcdserver: too many requests"),
        Error::TimedOut => (Code::Unavailable, "etcdserver: request timed out"),
        Error::NoLeader => (Code::Unavailable, "etcdserver: no leader"),
        Error::Stopped => (Code::Unavailable, "etcdserver: server stopped"),
        Error::Auth(refusal) => auth(*refusal),
        Error::Unimplemented(text) => (Code::Unimplemented, *text),
        Error::Internal(text) => (Code::Internal, &text[..]),
    };
    Status::new(code, text)
}

fn auth(refusal: AuthRefusal) -> (Code, &'static str) {
    match refusal {
        AuthRefusal::Disabled => (Code::FailedPrecondition, "etcdserver: authentication is not enabled"),
        AuthRefusal::NoRootUser => (Code::FailedPrecondition, "etcdserver: root user does not exist"),
        AuthRefusal::NoUser => (Code::FailedPrecondition, "etcdserver: user name not found"),
        AuthRefusal::NoRole => (Code::FailedPrecondition, "etcdserver: role name not found"),
        AuthRefusal::EmptyUserName => (Code::InvalidArgument, "etcdserver: user name is empty"),
        AuthRefusal::EmptyRoleName => (Code::InvalidArgument, "etcdserver: role name is empty"),
        AuthRefusal::NoPermission => (Code::InvalidArgument, "etcdserver: permission not given"),
        AuthRefusal::Invalid => (Code::InvalidArgument, "etcdserver: invalid auth management"),
    }
}

/// An error of the Lock and Election services. etcd's pass through a client of its own on their way, and lose their
/// codes there.
pub(super) fn codeless(error: Error) -> Status {
    Status::unknown(status(&error).message())
}

/// Whoever waited for its turn has lost its place, because its lease ended.
pub(super) fn session_expired() -> Status {
    Status::unknown("mutex: session is expired")
}

/// Who wants to lead does not, or no longer.
pub(super) fn not_leader() -> Status {
    Status::unknown("election: not leader")
}

/// Nobody leads.
pub(super) fn nobody_leads() -> Status {
    Status::unknown("election: no leader")
}

/// The request does not say which leader it is about.
pub(super) fn leader_missing() -> Status {
    Status::unknown("\"leader\" field must be provided")
}

/// Why the members stay as they are.
fn member(refusal: MemberRefusal) -> (Code, &'static str) {
    match refusal {
        MemberRefusal::NotFound => (Code::NotFound, "etcdserver: member not found"),
        MemberRefusal::Exists => (Code::FailedPrecondition, "etcdserver: member ID already exist"),
        MemberRefusal::PeerUrlExists => (Code::FailedPrecondition, "etcdserver: Peer URLs already exists"),
        MemberRefusal::NotLearner => {
            (Code::FailedPrecondition, "etcdserver: can only promote a learner member")
        }
        MemberRefusal::LearnerNotReady => (
            Code::FailedPrecondition,
            "etcdserver: can only promote a learner member which is in sync with leader",
        ),
        MemberRefusal::TooManyLearners => {
            (Code::FailedPrecondition, "etcdserver: too many learner members in cluster")
        }
        // Not "failed precondition": etcd loses this one's code on its way to the wire.
        MemberRefusal::NotEnoughStarted => {
            (Code::Unknown, "etcdserver: re-configuration failed due to not enough started members")
        }
        MemberRefusal::Unhealthy => (Code::Unavailable, "etcdserver: unhealthy cluster"),
        // It is tried again for as long as a request may take.
        MemberRefusal::UnderWay => (Code::Unavailable, "etcdserver: request timed out"),
    }
}

/// Why a watcher was not created.
pub(super) fn watch_refusal(reason: Refusal) -> &'static str {
    match reason {
        Refusal::EmptyRange => "mvcc: watcher range is empty",
        Refusal::DuplicateId => "mvcc: duplicate watch ID provided on the WatchStream",
        Refusal::NegativeRevision => "etcdserver: mvcc: required revision has been compacted",
    }
}
