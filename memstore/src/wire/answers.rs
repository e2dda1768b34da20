//! Answers, from and to messages.
//!
//! A long one travels in parts, so that nobody's answer waits behind another's:
//!
//!     Cut       [ 1 MiB ][ 1 MiB ][ rest, end ]       one part after the other, in turn with other answers
//!     Gathered  ── part ──► part ──► part ──► Said
//!
//! Keys and values share the memory of what they came in.

use std::sync::Arc;
use std::vec::IntoIter;

use bytes::Bytes;
use journal::{LeaseId, Lsn, Revision};
use proto::memstore as message;
use proto::memstore::answer::Answer as Says;
use proto::memstore::refusal::Why;

use super::Malformed;
use super::reports::Position;
use crate::error::Error;
use crate::frontier::Applied;
use crate::hash_kv::HashedBytes;
use crate::hashing::{Hash, HashedPart};
use crate::key_value::KeyValue;
use crate::memory::{self, MemoryReservation};
use crate::query::Answer;

/// About where a part ends. A larger key and value travel alone.
pub(crate) const PART_BYTES: usize = 1 << 20;
/// From here on a part travels alone: all of a message stays in its reader's memory for as long as any of it does.
const LARGE_BYTES: usize = 64 << 10;
/// What a key needs besides its bytes, about.
const KEY_BYTES: usize = 48;

/// What a memstore says to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Found(Answer),
    Values(Revision, Vec<Option<KeyValue>>),
    LeasedKeys(Revision, Vec<Bytes>),
    Hash(Hash),
    Reached(Position),
    Hashed(HashedPart),
    /// `Closed`, `Behind` (as which `Overloaded` travels), `WrongPartition`, `Compacted` or `FutureRevision`.
    Refused(Error),
}

/// An answer on its way out.
pub(crate) struct Cut {
    id: u64,
    rest: Rest,
    /// Memory that it takes until all of it is sent.
    _reservation: Arc<MemoryReservation>,
}

/// What is left to be said.
enum Rest {
    Whole(Says),
    Found(IntoIter<KeyValue>, message::FoundEnd),
    Values(IntoIter<Option<KeyValue>>, Revision),
    LeasedKeys(IntoIter<Bytes>, Revision),
}

/// A piece of an answer.
pub(crate) struct Part {
    pub(crate) answer: message::Answer,
    /// About what it takes in its message.
    pub(crate) bytes: usize,
    pub(crate) is_last: bool,
}

impl Cut {
    pub(crate) fn new(id: u64, said: Said, reservation: Arc<MemoryReservation>) -> Cut {
        let rest = match said {
            Said::Found(Answer { kvs, count, more, at, applied }) => {
                let applied = Some(write_applied(applied));
                Rest::Found(kvs.into_iter(), message::FoundEnd { count, more, at: at.0, applied })
            }
            Said::Values(at, values) => Rest::Values(values.into_iter(), at),
            Said::LeasedKeys(at, keys) => Rest::LeasedKeys(keys.into_iter(), at),
            Said::Hash(Hash { hash, revision, compacted }) => {
                Rest::Whole(Says::Hash(message::Hash { hash, revision: revision.0, compacted: compacted.0 }))
            }
            Said::Reached(Position { applied, bytes_in_use }) => {
                let applied = Some(write_applied(applied));
                Rest::Whole(Says::Reached(message::Reached { applied, bytes_in_use }))
            }
            Said::Hashed(HashedPart { versions, at_end }) => {
                let versions = versions.iter().map(write_hashed).collect();
                Rest::Whole(Says::Hashed(message::HashedPart { versions, at_end }))
            }
            Said::Refused(error) => Rest::Whole(Says::Refusal(write_refusal(&error))),
        };
        Cut { id, rest, _reservation: reservation }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Whether the next piece is to have a message of its own.
    pub(crate) fn is_large(&self) -> bool {
        fn reaches(mut bytes: impl Iterator<Item = usize>) -> bool {
            let mut sum = 0;
            bytes.any(|bytes| {
                sum += bytes;
                LARGE_BYTES <= sum
            })
        }
        match &self.rest {
            Rest::Whole(_) => false,
            Rest::Found(rest, _) => reaches(rest.as_slice().iter().map(kv_bytes)),
            Rest::Values(rest, _) => reaches(rest.as_slice().iter().map(value_bytes)),
            Rest::LeasedKeys(rest, _) => reaches(rest.as_slice().iter().map(|key| key.len() + KEY_BYTES)),
        }
    }

    /// The next piece.
    pub(crate) fn part(&mut self) -> Part {
        let (says, bytes, is_last) = match &mut self.rest {
            Rest::Whole(says) => (says.clone(), KEY_BYTES, true),
            Rest::Found(rest, end) => {
                let (kvs, bytes) = take(rest, kv_bytes);
                let is_last = rest.len() == 0;
                let kvs = kvs.into_iter().map(write_kv).collect();
                let end = is_last.then_some(*end);
                (Says::Found(message::Found { kvs, end }), bytes, is_last)
            }
            Rest::Values(rest, at) => {
                let (values, bytes) = take(rest, value_bytes);
                let is_last = rest.len() == 0;
                let value = |kv: Option<KeyValue>| message::Value { kv: kv.map(write_kv) };
                let values = values.into_iter().map(value).collect();
                (Says::Values(message::Values { values, at: is_last.then_some(at.0) }), bytes, is_last)
            }
            Rest::LeasedKeys(rest, at) => {
                let (keys, bytes) = take(rest, |key| key.len() + KEY_BYTES);
                let is_last = rest.len() == 0;
                let at = is_last.then_some(at.0);
                (Says::LeasedKeys(message::LeasedKeys { keys, at }), bytes, is_last)
            }
        };
        Part { answer: message::Answer { id: self.id, answer: Some(says) }, bytes, is_last }
    }
}

/// As many as a part takes, at least one where there is one.
fn take<T>(rest: &mut IntoIter<T>, bytes_of: impl Fn(&T) -> usize) -> (Vec<T>, usize) {
    let mut bytes = 0;
    let fits = |item: &T| {
        let first = bytes == 0;
        let sum = bytes + bytes_of(item);
        let fits = first || sum <= PART_BYTES;
        bytes = if fits { sum } else { bytes };
        fits
    };
    let count = rest.as_slice().iter().map(fits).take_while(|fits| *fits).count();
    (rest.by_ref().take(count).collect(), bytes)
}

/// What has come of an answer so far.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    kvs: Vec<KeyValue>,
    values: Vec<Option<KeyValue>>,
    keys: Vec<Bytes>,
}

/// Memory that a piece of an answer takes once it is read, and again once a client's answer is encoded from it, in bytes.
pub(crate) fn read_bytes(answer: &message::Answer) -> (u64, u64) {
    let kv = |kv: &message::KeyValue| (kv.key.len() + kv.value.len() + KEY_BYTES) as u64;
    let (count, bytes): (usize, u64) = match &answer.answer {
        Some(Says::Found(found)) => (found.kvs.len(), found.kvs.iter().map(kv).sum()),
        Some(Says::Values(values)) => {
            let bytes = values.values.iter().filter_map(|value| value.kv.as_ref()).map(kv).sum();
            (values.values.len(), bytes)
        }
        Some(Says::LeasedKeys(leased)) => {
            (leased.keys.len(), leased.keys.iter().map(|key| key.len() as u64).sum())
        }
        Some(Says::Hash(_) | Says::Reached(_) | Says::Hashed(_) | Says::Refusal(_)) | None => (0, 0),
    };
    (bytes + count as u64 * memory::KEY_BYTES, bytes)
}

impl Gathered {
    /// Takes the next piece in, and answers once it was the last.
    pub(crate) fn take(&mut self, answer: message::Answer) -> Result<Option<Said>, Malformed> {
        Ok(match answer.answer.ok_or_else(|| Malformed::without("the answer"))? {
            Says::Found(message::Found { kvs, end }) => {
                self.kvs.extend(kvs.into_iter().map(read_kv));
                end.map(|end| self.found(&end)).transpose()?
            }
            Says::Values(message::Values { values, at }) => {
                self.values.extend(values.into_iter().map(|value| value.kv.map(read_kv)));
                at.map(|at| Said::Values(Revision(at), std::mem::take(&mut self.values)))
            }
            Says::LeasedKeys(message::LeasedKeys { keys, at }) => {
                self.keys.extend(keys);
                at.map(|at| Said::LeasedKeys(Revision(at), std::mem::take(&mut self.keys)))
            }
            Says::Hash(message::Hash { hash, revision, compacted }) => {
                let (revision, compacted) = (Revision(revision), Revision(compacted));
                Some(Said::Hash(Hash { hash, revision, compacted }))
            }
            Says::Reached(message::Reached { applied, bytes_in_use }) => {
                let applied = read_applied(applied.as_ref())?;
                Some(Said::Reached(Position { applied, bytes_in_use }))
            }
            Says::Hashed(message::HashedPart { versions, at_end }) => {
                let versions = versions.iter().map(read_hashed).collect();
                Some(Said::Hashed(HashedPart { versions, at_end }))
            }
            Says::Refusal(refusal) => Some(Said::Refused(read_refusal(&refusal)?)),
        })
    }

    fn found(&mut self, end: &message::FoundEnd) -> Result<Said, Malformed> {
        Ok(Said::Found(Answer {
            kvs: std::mem::take(&mut self.kvs),
            count: end.count,
            more: end.more,
            at: Revision(end.at),
            applied: read_applied(end.applied.as_ref())?,
        }))
    }
}

fn kv_bytes(kv: &KeyValue) -> usize {
    kv.key.len() + kv.value.len() + KEY_BYTES
}

fn value_bytes(kv: &Option<KeyValue>) -> usize {
    kv.as_ref().map_or(KEY_BYTES, kv_bytes)
}

fn write_kv(kv: KeyValue) -> message::KeyValue {
    message::KeyValue {
        key: kv.key,
        create_revision: kv.create_revision.0,
        mod_revision: kv.mod_revision.0,
        version: kv.version,
        value: kv.value,
        lease: kv.lease.0,
    }
}

fn read_kv(kv: message::KeyValue) -> KeyValue {
    KeyValue {
        key: kv.key,
        value: kv.value,
        create_revision: Revision(kv.create_revision),
        mod_revision: Revision(kv.mod_revision),
        version: kv.version,
        lease: LeaseId(kv.lease),
    }
}

fn write_applied(applied: Applied) -> message::Applied {
    message::Applied { lsn: applied.lsn.0, revision: applied.revision.0 }
}

fn read_applied(applied: Option<&message::Applied>) -> Result<Applied, Malformed> {
    let applied = applied.ok_or_else(|| Malformed::without("what is applied"))?;
    Ok(Applied { lsn: Lsn(applied.lsn), revision: Revision(applied.revision) })
}

fn write_hashed(hashed: &HashedBytes) -> message::Hashed {
    let HashedBytes { position: (revision, sub), crc, bytes, visible, below } = *hashed;
    message::Hashed { revision: revision.0, sub, crc, bytes, visible, below }
}

fn read_hashed(hashed: &message::Hashed) -> HashedBytes {
    let message::Hashed { revision, sub, crc, bytes, visible, below } = *hashed;
    HashedBytes { position: (Revision(revision), sub), crc, bytes, visible, below }
}

fn write_refusal(error: &Error) -> message::Refusal {
    let (why, revision) = match error {
        // Whoever asks waits a little, and asks another or again, until the request's deadline.
        Error::Behind | Error::Overloaded => (Why::Behind, Revision::ZERO),
        Error::WrongPartition => (Why::WrongPartition, Revision::ZERO),
        Error::Compacted { compacted } => (Why::Compacted, *compacted),
        Error::FutureRevision { current } => (Why::FutureRevision, *current),
        // What is wrong here is told here; there, it is a memstore that does not answer.
        Error::Closed | Error::Unreachable | Error::Missing { .. } | Error::Corrupt(_) | Error::Io(_) => {
            (Why::Closed, Revision::ZERO)
        }
    };
    message::Refusal { why: why.into(), revision: revision.0 }
}

fn read_refusal(refusal: &message::Refusal) -> Result<Error, Malformed> {
    let revision = Revision(refusal.revision);
    let why = Why::try_from(refusal.why).map_err(|error| Malformed(error.to_string()))?;
    Ok(match why {
        Why::Closed => Error::Closed,
        Why::Behind => Error::Behind,
        Why::WrongPartition => Error::WrongPartition,
        Why::Compacted => Error::Compacted { compacted: revision },
        Why::FutureRevision => Error::FutureRevision { current: revision },
    })
}
