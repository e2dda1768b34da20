//! The journal's own words as messages between processes, and back.
//!
//!     questions   what is asked of a leader         Append, Fate, Barrier, leases
//!     answers     what it says
//!     entries     what is committed
//!     members     how the cluster is changed
//!     status      what a node knows
//!
//! Nothing else in this crate names a message. Bytes from outside never panic here: what cannot be read is
//! `Malformed`, and whoever sent it is refused.

pub(crate) mod answers;
pub(crate) mod entries;
pub(crate) mod members;
pub(crate) mod questions;
pub(crate) mod status;
#[cfg(test)]
mod tests;

/// The largest message: a record may have 128 MiB, and what surrounds it needs little.
pub(crate) const MESSAGE_BYTES_MAX: usize = 160 << 20;

/// A message of a peer that says nothing, or what cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed message: {0}")]
pub(crate) struct Malformed(pub(crate) String);

impl Malformed {
    pub(crate) fn without(what: &str) -> Malformed {
        Malformed(format!("{what} is missing"))
    }
}

impl From<crate::codec::DecodeError> for Malformed {
    fn from(error: crate::codec::DecodeError) -> Malformed {
        Malformed(error.to_string())
    }
}

impl From<Malformed> for tonic::Status {
    fn from(error: Malformed) -> tonic::Status {
        tonic::Status::invalid_argument(error.to_string())
    }
}
