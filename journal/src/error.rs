//! What a caller of the journal can do about a failure.

use std::fmt::Display;
use std::io::{self, ErrorKind};

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
    /// The disk, or the directory, refuses. The text ends with what a person can do about it.
    #[error("{0}")]
    Io(String),
    /// The node is shutting down, or has.
    #[error("the journal is closed")]
    Closed,
}

impl Error {
    /// What the system refused, why, and what to do next.
    pub(crate) fn io(what: impl Display, error: &io::Error) -> Error {
        Error::Io(format!("{what}: {error}; {}", advice(error)))
    }
}

/// What a person can do when the system refuses a file or a directory for this reason: the end of a sentence.
#[must_use]
pub fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            "make room there, or move the data to a larger disk"
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "let the user that this program runs as read and write there"
        }
        ErrorKind::AlreadyExists | ErrorKind::NotADirectory | ErrorKind::IsADirectory => {
            "move away what is there, or use another directory"
        }
        _ => "look at the disk, the path, and the system's own log",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_the_system_ends_with_the_next_step() {
        let full = io::Error::from(ErrorKind::StorageFull);
        assert_eq!(
            Error::io("cannot write to a", &full).to_string(),
            "cannot write to a: no storage space; make room there, or move the data to a larger disk"
        );
    }
}
