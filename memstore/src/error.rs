//! What a caller of a memstore can do about a failure.

use std::io;

use journal::{Lsn, Revision};

/// Each variant is a different next step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Tell the client: its revision is forgotten, and everything below `compacted`. A read that named no
    /// revision begins again with a newer one.
    #[error("revision is compacted: the oldest that can be read is {compacted}")]
    Compacted { compacted: Revision },
    /// Tell the client: its revision is still to come.
    #[error("revision is still to come: the last one is {current}")]
    FutureRevision { current: Revision },
    /// The partition lags too far to wait for: ask another replica.
    #[error("the partition lags behind the journal")]
    Behind,
    /// The keys are not, or not all, this partition's: look at the routes again.
    #[error("the partition does not hold these keys")]
    WrongPartition,
    /// The memstore does not answer: ask another replica. It may or may not have been asked.
    #[error("the memstore does not answer")]
    Unreachable,
    /// The process has no memory left for what was read: tell the client, or ask again later.
    #[error("there is no memory left for the answer")]
    Overloaded,
    /// What a snapshot says contradicts itself, or the journal. Nothing is served from it.
    #[error("{0}")]
    Corrupt(String),
    /// Nobody who was asked has what comes after what is here: neither the journal, nor another member.
    #[error(
        "the journal begins at {first}, and the snapshots that can be used end before {next}: what is between is \
         missing, and no other member has it; put back a snapshot that reaches further, or remove this member from \
         the cluster and add it again while the others run"
    )]
    Missing { next: Lsn, first: Lsn },
    /// The disk, or the directory, refuses. The text ends with what a person can do about it.
    #[error("{0}")]
    Io(String),
    /// The node is shutting down, or has.
    #[error("the memstore is closed")]
    Closed,
}

impl Error {
    /// What the system refused, and what to do next. Whoever knows the file puts its name in front.
    pub(crate) fn io(error: &io::Error) -> Error {
        Error::Io(format!("{error}; {}", journal::advice(error)))
    }
}
