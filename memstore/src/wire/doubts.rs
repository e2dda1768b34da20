//! What replicas hold, and that one is to be thrown away, from and to messages.

use journal::{Lsn, Revision};
use proto::memstore as message;
use proto::memstore::set_hash::Found;

use super::Malformed;
use crate::doubt::{Doubt, HashedAt, ReplicaHash, ReplicaName};
use crate::error::Error;
use crate::partition_id::PartitionId;

pub(crate) fn write_asked(cluster: u64, partition: PartitionId, at: HashedAt) -> message::SetHashRequest {
    let HashedAt { lsn, revision, compacted } = at;
    message::SetHashRequest {
        cluster,
        partition: partition.0,
        lsn: lsn.0,
        revision: revision.0,
        compacted: compacted.0,
    }
}

pub(crate) fn read_asked(asked: message::SetHashRequest) -> (PartitionId, HashedAt) {
    let message::SetHashRequest { cluster: _, partition, lsn, revision, compacted } = asked;
    let at = HashedAt { lsn: Lsn(lsn), revision: Revision(revision), compacted: Revision(compacted) };
    (PartitionId(partition), at)
}

/// As it is told by the process that was started as `process`.
pub(crate) fn write_hash(
    process: u64,
    ReplicaHash { hash, replica, thrown }: ReplicaHash,
) -> message::SetHash {
    let replica = Some(message::Replica { process, number: replica.number });
    message::SetHash { found: Some(Found::Hash(hash)), replica, thrown }
}

pub(crate) fn write_compacted(compacted: Revision) -> message::SetHash {
    message::SetHash { found: Some(Found::Compacted(compacted.0)), replica: None, thrown: 0 }
}

/// # Errors
/// `Compacted`; `Unreachable` where the answer says nothing.
pub(crate) fn read_found(answer: message::SetHash) -> Result<ReplicaHash, Error> {
    match (answer.found, answer.replica) {
        (Some(Found::Hash(hash)), Some(replica)) => {
            Ok(ReplicaHash { hash, replica: read_replica(replica), thrown: answer.thrown })
        }
        (Some(Found::Compacted(compacted)), _) => Err(Error::Compacted { compacted: Revision(compacted) }),
        (Some(Found::Hash(_)) | None, _) => Err(Error::Unreachable),
    }
}

pub(crate) fn write_doubt(cluster: u64, partition: PartitionId, doubt: Doubt) -> message::ThrowAwayRequest {
    let Doubt { replica, at, own, others } = doubt;
    message::ThrowAwayRequest {
        cluster,
        partition: partition.0,
        replica: Some(message::Replica { process: replica.process, number: replica.number }),
        lsn: at.lsn.0,
        revision: at.revision.0,
        compacted: at.compacted.0,
        own,
        others,
    }
}

pub(crate) fn read_doubt(told: message::ThrowAwayRequest) -> Result<(PartitionId, Doubt), Malformed> {
    let replica = told.replica.ok_or_else(|| Malformed::without("the replica"))?;
    let (lsn, revision, compacted) = (Lsn(told.lsn), Revision(told.revision), Revision(told.compacted));
    let at = HashedAt { lsn, revision, compacted };
    let doubt = Doubt { replica: read_replica(replica), at, own: told.own, others: told.others };
    Ok((PartitionId(told.partition), doubt))
}

fn read_replica(replica: message::Replica) -> ReplicaName {
    ReplicaName { process: replica.process, number: replica.number }
}
