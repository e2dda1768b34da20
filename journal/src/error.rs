//! What a caller of the journal can do about a failure.

use crate::lsn::Lsn;

/// Each variant is a different next step; a refused append is a `Verdict`, not an error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Ask the node named in `hint`, or any other.
    #[error("this journal node does not lead; the leader is {hint:?}")]
    NotLeader { hint: Option<u64> },
    /// No quorum answers. Wait, and look at the other voters.
    #[error("the journal has no quorum")]
    NoQuorum,
    /// What was asked for is no longer kept: start again from a snapshot.
    #[error("the journal begins at {first}: start again from a snapshot")]
    Trimmed { first: Lsn },
    /// What is on disk contradicts what was acknowledged. Nothing is served from it.
    #[error("{0}")]
    Corrupt(String),
    /// The disk, or the directory, refuses.
    #[error("{0}")]
    Io(String),
    /// The node is shutting down, or has.
    #[error("the journal is closed")]
    Closed,
}
