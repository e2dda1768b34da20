//! Questions, from and to messages.

use bytes::Bytes;
use journal::{LeaseId, Lsn, Revision};
use proto::memstore as message;
use proto::memstore::question::Ask;

use super::{AROUND_BYTES, Malformed, keys_bytes, read_keys, write_keys};
use crate::hashing::HashesAsked;
use crate::partition_id::PartitionId;
use crate::query::{At, Bounds, Projection, Query};

/// What a key needs besides its bytes, at most.
const KEY_BYTES: usize = 32;

/// What is asked. Its answer is looked for by the question's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Range { partition: PartitionId, query: Query },
    GetMany { partition: PartitionId, keys: Vec<Bytes>, at: At, min_lsn: Lsn },
    LeaseKeys { partition: PartitionId, lease: LeaseId, min_lsn: Lsn },
    HashKv { upto: Revision, min_lsn: Lsn },
    Hashes { partition: PartitionId, asked: HashesAsked, min_lsn: Lsn },
    Wait { partition: PartitionId, lsn: Lsn, revision: Revision },
}

impl Asked {
    /// About what it takes in its message, and as much as whoever answers it keeps of it.
    pub(crate) fn bytes(&self) -> usize {
        let keys = match self {
            Asked::Range { query, .. } => keys_bytes(&query.keys),
            Asked::GetMany { keys, .. } => keys.iter().map(|key| key.len() + KEY_BYTES).sum(),
            Asked::LeaseKeys { .. } | Asked::HashKv { .. } | Asked::Hashes { .. } | Asked::Wait { .. } => 0,
        };
        keys + AROUND_BYTES
    }
}

pub(crate) fn write(id: u64, asked: Asked) -> message::Question {
    let ask = match asked {
        Asked::Range { partition, query } => Ask::Range(write_range(partition, query)),
        Asked::GetMany { partition, keys, at, min_lsn } => Ask::GetMany(message::GetMany {
            partition: partition.0,
            keys,
            at: write_at(at),
            min_lsn: min_lsn.0,
        }),
        Asked::LeaseKeys { partition, lease, min_lsn } => {
            Ask::LeaseKeys(message::LeaseKeys { partition: partition.0, lease: lease.0, min_lsn: min_lsn.0 })
        }
        Asked::HashKv { upto, min_lsn } => Ask::HashKv(message::HashKv { upto: upto.0, min_lsn: min_lsn.0 }),
        Asked::Hashes { partition, asked: HashesAsked { upto, compacted, after }, min_lsn } => {
            Ask::Hashes(message::Hashes {
                partition: partition.0,
                upto: upto.0,
                compacted: compacted.0,
                after_revision: after.0.0,
                after_sub: after.1,
                min_lsn: min_lsn.0,
            })
        }
        Asked::Wait { partition, lsn, revision } => {
            Ask::Wait(message::Wait { partition: partition.0, lsn: lsn.0, revision: revision.0 })
        }
    };
    message::Question { id, ask: Some(ask) }
}

/// Takes the question apart that a peer has sent.
pub(crate) fn read(question: message::Question) -> Result<(u64, Asked), Malformed> {
    let asked = match question.ask.ok_or_else(|| Malformed::without("the question"))? {
        Ask::Range(range) => read_range(range)?,
        Ask::GetMany(message::GetMany { partition, keys, at, min_lsn }) => {
            Asked::GetMany { partition: PartitionId(partition), keys, at: read_at(at), min_lsn: Lsn(min_lsn) }
        }
        Ask::LeaseKeys(message::LeaseKeys { partition, lease, min_lsn }) => Asked::LeaseKeys {
            partition: PartitionId(partition),
            lease: LeaseId(lease),
            min_lsn: Lsn(min_lsn),
        },
        Ask::HashKv(message::HashKv { upto, min_lsn }) => {
            Asked::HashKv { upto: Revision(upto), min_lsn: Lsn(min_lsn) }
        }
        Ask::Hashes(hashes) => Asked::Hashes {
            partition: PartitionId(hashes.partition),
            asked: HashesAsked {
                upto: Revision(hashes.upto),
                compacted: Revision(hashes.compacted),
                after: (Revision(hashes.after_revision), hashes.after_sub),
            },
            min_lsn: Lsn(hashes.min_lsn),
        },
        Ask::Wait(message::Wait { partition, lsn, revision }) => {
            Asked::Wait { partition: PartitionId(partition), lsn: Lsn(lsn), revision: Revision(revision) }
        }
    };
    Ok((question.id, asked))
}

fn write_range(partition: PartitionId, query: Query) -> message::Range {
    let Query { keys, at, min_lsn, limit, projection, bounds } = query;
    let bound = |bound: Option<Revision>| bound.map(|revision| revision.0);
    message::Range {
        partition: partition.0,
        keys: Some(write_keys(&keys)),
        at: write_at(at),
        min_lsn: min_lsn.0,
        limit: u64::try_from(limit).unwrap_or(u64::MAX),
        projection: match projection {
            Projection::Full => 0,
            Projection::KeysOnly => 1,
            Projection::CountOnly => 2,
        },
        bounds: (bounds != Bounds::NONE).then_some(message::Bounds {
            min_mod: bound(bounds.min_mod),
            max_mod: bound(bounds.max_mod),
            min_create: bound(bounds.min_create),
            max_create: bound(bounds.max_create),
        }),
    }
}

fn read_range(range: message::Range) -> Result<Asked, Malformed> {
    let message::Range { partition, keys, at, min_lsn, limit, projection, bounds } = range;
    let bound = |bound: Option<u64>| bound.map(Revision);
    let bounds = bounds.unwrap_or_default();
    let query = Query {
        keys: read_keys(keys)?,
        at: read_at(at),
        min_lsn: Lsn(min_lsn),
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
        projection: match projection {
            0 => Projection::Full,
            1 => Projection::KeysOnly,
            2 => Projection::CountOnly,
            other => return Err(Malformed(format!("projection {other} is not known"))),
        },
        bounds: Bounds {
            min_mod: bound(bounds.min_mod),
            max_mod: bound(bounds.max_mod),
            min_create: bound(bounds.min_create),
            max_create: bound(bounds.max_create),
        },
    };
    Ok(Asked::Range { partition: PartitionId(partition), query })
}

fn write_at(at: At) -> Option<u64> {
    match at {
        At::Latest => None,
        At::Revision(revision) => Some(revision.0),
    }
}

fn read_at(at: Option<u64>) -> At {
    at.map_or(At::Latest, |revision| At::Revision(Revision(revision)))
}
