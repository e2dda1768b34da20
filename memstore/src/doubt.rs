//! What the replicas of a partition are compared by, and what one is told that does not hold what the others do.
//!
//!     asked   at a position and a revision, as a compaction leaves it
//!     said    a number for all versions, by a replica that has a name of its own
//!     told    this replica is to be thrown away; one that took its place since then is not meant

use journal::{Lsn, Revision};
use tokio::sync::oneshot;

use crate::error::Error;
use crate::partition_id::PartitionId;

/// What a set hash is of. All replicas hold the same there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashedAt {
    /// What has to be applied before.
    pub lsn: Lsn,
    /// Later revisions are left out.
    pub revision: Revision,
    /// As a compaction here leaves it. At most `revision`.
    pub compacted: Revision,
}

/// Which replica is spoken of: what is built again is another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplicaName {
    /// Of the memstore's start. 0 in its own process.
    pub process: u64,
    pub number: u64,
}

/// What a replica holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaHash {
    pub hash: u64,
    pub replica: ReplicaName,
    /// How often its memstore has thrown the partition away since it was started.
    pub thrown: u64,
}

/// Why a replica is to be thrown away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt {
    pub replica: ReplicaName,
    pub at: HashedAt,
    /// What it holds, and what others do.
    pub own: u64,
    pub others: u64,
}

/// A replica to be thrown away, on its way to whoever builds them.
pub(crate) struct Throw {
    pub(crate) partition: PartitionId,
    pub(crate) doubt: Doubt,
    pub(crate) reply: oneshot::Sender<Result<(), Error>>,
}
