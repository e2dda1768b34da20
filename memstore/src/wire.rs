//! The memstore's own words as messages between processes, and back.
//!
//!     questions   what is asked of partitions
//!     answers     what they say, in parts where it is long
//!     watching    watchers, and what they are told
//!     reports     what a memstore serves, and how far it is
//!     doubts      what replicas hold, and that one is to be thrown away
//!
//! Nothing else in this crate names a message, but for the services that carry them. Bytes from outside never panic
//! here: what cannot be read is `Malformed`, and whoever sent it is refused.

pub(crate) mod answers;
pub(crate) mod doubts;
pub(crate) mod questions;
pub(crate) mod reports;
#[cfg(test)]
mod tests;
pub(crate) mod watching;

use journal::KeyRange;
use proto::memstore as message;
use proto::memstore::keys::To;

/// The largest message: a key with its value and what it was before, each of which may have 100 MiB, and what surrounds
/// them. A larger one would break the line for all that share it, so nothing that could be larger is put into one.
pub(crate) const MESSAGE_BYTES_MAX: usize = 208 << 20;
/// Where a message of several things ends, in bytes. What is larger travels alone.
pub(crate) const MESSAGE_BYTES: usize = 1 << 20;
/// About what a question or a wish needs besides its keys.
const AROUND_BYTES: usize = 96;

/// A message of a peer that says nothing, or what cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed message: {0}")]
pub(crate) struct Malformed(pub(crate) String);

impl Malformed {
    pub(crate) fn without(what: &str) -> Malformed {
        Malformed(format!("{what} is missing"))
    }
}

impl From<Malformed> for tonic::Status {
    fn from(error: Malformed) -> tonic::Status {
        tonic::Status::invalid_argument(error.to_string())
    }
}

/// How many of these, which take so many bytes each, one message has room for: at least one.
pub(crate) fn fits(bytes: impl Iterator<Item = usize>) -> usize {
    let (mut sum, mut count) = (0_usize, 0);
    for bytes in bytes {
        sum = sum.saturating_add(bytes);
        if MESSAGE_BYTES < sum && count > 0 {
            break;
        }
        count += 1;
    }
    count
}

fn keys_bytes(keys: &KeyRange) -> usize {
    match keys {
        KeyRange::Single(start) | KeyRange::From(start) => start.len(),
        KeyRange::Range { start, end } => start.len() + end.len(),
    }
}

fn write_keys(keys: &KeyRange) -> message::Keys {
    let to = match keys {
        KeyRange::Single(_) => Some(To::Single(true)),
        KeyRange::Range { end, .. } => Some(To::End(end.clone())),
        KeyRange::From(_) => None,
    };
    message::Keys { start: keys.start().clone(), to }
}

fn read_keys(keys: Option<message::Keys>) -> Result<KeyRange, Malformed> {
    let message::Keys { start, to } = keys.ok_or_else(|| Malformed::without("a range of keys"))?;
    Ok(match to {
        Some(To::Single(_)) => KeyRange::Single(start),
        Some(To::End(end)) => KeyRange::Range { start, end },
        None => KeyRange::From(start),
    })
}
