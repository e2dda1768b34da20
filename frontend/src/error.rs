//! Why a request has no answer. `etcd/status.rs` says it in etcd's words.

/// Each variant is a different thing for the client to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("the key is empty")]
    EmptyKey,
    #[error("the key does not exist")]
    KeyNotFound,
    #[error("a value is given together with `ignore_value`")]
    ValueProvided,
    #[error("a lease is given together with `ignore_lease`")]
    LeaseProvided,
    #[error("the transaction has too many operations")]
    TooManyOperations,
    #[error("the transaction writes a key twice")]
    DuplicateKey,
    #[error("the sort option is unknown")]
    InvalidSortOption,
    #[error("the request is too large")]
    RequestTooLarge,
    #[error("the revision is compacted")]
    Compacted,
    #[error("the revision is still to come")]
    FutureRevision,
    #[error("the lease does not exist")]
    LeaseNotFound,
    #[error("the lease exists already")]
    LeaseExists,
    #[error("the lease's time is longer than any may be")]
    LeaseTtlTooLarge,
    #[error("the member that shall lead cannot")]
    BadTransferee,
    /// Ask the member that leads.
    #[error("this member does not lead")]
    NotLeader,
    #[error("the other member did not begin to lead in time")]
    TransferTimedOut,
    /// Ask a member that has a vote.
    #[error("this member has no vote yet")]
    NotForLearners,
    #[error("a member's peer URLs are no addresses")]
    BadMemberUrls,
    /// Start it with `--listen-peer-urls`.
    #[error("this member serves no others")]
    ServesNoPeers,
    /// The cluster stays as it is.
    #[error("{0}")]
    Member(journal::MemberRefusal),
    /// Look at them again before changing them.
    #[error("somebody else has changed the routes meanwhile")]
    RoutesChanged,
    #[error("there is no such thing to do with an alarm")]
    UnknownAlarmAction,
    /// The store is full: delete, compact, or raise the quota.
    #[error("the store is at its quota")]
    NoSpace,
    /// An operator must look before anything is written.
    #[error("the store's data is damaged")]
    CorruptCluster,
    /// Nothing happened. Try again later.
    #[error("too many requests are waiting")]
    Overloaded,
    /// It may have happened: look before trying again.
    #[error("the request timed out")]
    TimedOut,
    /// Nothing leads the journal.
    #[error("the journal has no leader")]
    NoLeader,
    /// The node is shutting down.
    #[error("the node is shutting down")]
    Stopped,
    #[error("{0}")]
    Auth(AuthRefusal),
    /// etcd would do it and this release does not. The text is for people.
    #[error("{0}")]
    Unimplemented(&'static str),
    /// A promise between the tiers is broken: a mistake of ours.
    #[error("{0}")]
    Internal(String),
}

/// What stands in the way of users, roles and their passwords.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthRefusal {
    #[error("authentication is off")]
    Disabled,
    #[error("there is no user `root`")]
    NoRootUser,
    #[error("there is no such user")]
    NoUser,
    #[error("there is no such role")]
    NoRole,
    #[error("the user's name is empty")]
    EmptyUserName,
    #[error("the role's name is empty")]
    EmptyRoleName,
    #[error("no permission is given")]
    NoPermission,
    /// The permission is one of no keys.
    #[error("the permission's range is empty")]
    Invalid,
}

impl From<journal::Error> for Error {
    fn from(error: journal::Error) -> Error {
        match error {
            journal::Error::NotLeader { .. } | journal::Error::NoQuorum => Error::NoLeader,
            journal::Error::Closed => Error::Stopped,
            journal::Error::Trimmed { .. } | journal::Error::Corrupt(_) | journal::Error::Io(_) => {
                Error::Internal(error.to_string())
            }
        }
    }
}

impl From<memstore::Error> for Error {
    fn from(error: memstore::Error) -> Error {
        match error {
            memstore::Error::Compacted { .. } => Error::Compacted,
            memstore::Error::FutureRevision { .. } => Error::FutureRevision,
            memstore::Error::Behind | memstore::Error::Unreachable => Error::TimedOut,
            memstore::Error::Closed => Error::Stopped,
            memstore::Error::Overloaded => Error::Overloaded,
            memstore::Error::WrongPartition
            | memstore::Error::Corrupt(_)
            | memstore::Error::Missing { .. }
            | memstore::Error::Io(_) => Error::Internal(error.to_string()),
        }
    }
}
