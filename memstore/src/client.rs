//! The handle on a memstore: reads, waits and watches over all its partitions.
//!
//! Cheap to clone, and the only way in for frontends. It promises the same whether the memstore lives in this
//! process (`here`) or in another (`remote`), but that another one can be out of reach. What is asked over there waits
//! on the heap, so that asking here stays small.

use std::sync::Arc;

use bytes::Bytes;
use journal::{LeaseId, Lsn, Revision};

use crate::doubt::{Doubt, HashedAt, ReplicaHash};
use crate::error::Error;
use crate::frontier::Applied;
use crate::hashing::{Hash, HashedPart, HashesAsked};
use crate::here::Here;
use crate::key_value::KeyValue;
use crate::memory::Memory;
use crate::metrics::ApplyMetrics;
use crate::middle::MiddleOf;
use crate::partition_id::{PartitionId, PartitionRange};
use crate::query::{Answer, At, Query};
use crate::remote::{Health, There};
use crate::stats::{PartitionStats, Stats};
use crate::watch::WatchStream;
use crate::wire::reports::Position;

/// The handle.
#[derive(Clone)]
pub struct Memstore {
    body: Body,
}

#[derive(Clone)]
enum Body {
    Here(Here),
    There(There),
}

impl Memstore {
    pub(crate) fn here(here: Here) -> Memstore {
        Memstore { body: Body::Here(here) }
    }

    pub(crate) fn there(there: There) -> Memstore {
        Memstore { body: Body::There(there) }
    }

    /// Whether it lives in this process, and so ends with it.
    #[must_use]
    pub fn is_here(&self) -> bool {
        matches!(self.body, Body::Here(_))
    }

    /// Whether both are handles on the same, made from the same.
    #[must_use]
    pub fn is(&self, other: &Memstore) -> bool {
        match (&self.body, &other.body) {
            (Body::Here(one), Body::Here(other)) => one.is(other),
            (Body::There(one), Body::There(other)) => one.is(other),
            (Body::Here(_), Body::There(_)) | (Body::There(_), Body::Here(_)) => false,
        }
    }

    /// Whether it answers.
    #[must_use]
    pub fn health(&self) -> Health {
        match &self.body {
            Body::Here(here) if here.is_closed() => Health::Down,
            Body::Here(_) => Health::Up,
            Body::There(there) => there.mirror().health(),
        }
    }

    /// Whether what makes it grow is to be refused. Of one in another process, what it said of it last.
    #[must_use]
    pub fn is_short_of_memory(&self) -> bool {
        match &self.body {
            Body::Here(here) => here.memory().is_short(),
            Body::There(there) => there.mirror().is_short_of_memory(),
        }
    }

    /// Memory of the process that holds the keys; of one elsewhere, nothing is known of its limit here.
    pub(crate) fn memory(&self) -> Arc<Memory> {
        match &self.body {
            Body::Here(here) => here.memory().clone(),
            Body::There(_) => Arc::default(),
        }
    }

    /// Waits until `is_short_of_memory` answers otherwise than `short`.
    pub async fn memory_turned_from(&self, short: bool) {
        match &self.body {
            Body::Here(here) => here.memory().turned_from(short).await,
            Body::There(there) => there.mirror().memory_turned_from(short).await,
        }
    }

    /// What is served now, in the order of the keys. It may be something else a moment later: a partition that
    /// is gone by then answers `WrongPartition`.
    #[must_use]
    pub fn partitions(&self) -> Arc<[PartitionRange]> {
        match &self.body {
            Body::Here(here) => here.partitions(),
            Body::There(there) => there.mirror().partitions(),
        }
    }

    /// Waits until something else is served than `partitions`, as `partitions` answered it before.
    pub async fn other_partitions(&self, partitions: &Arc<[PartitionRange]>) -> Arc<[PartitionRange]> {
        match &self.body {
            Body::Here(here) => here.other_partitions(partitions).await,
            Body::There(there) => there.mirror().other_partitions(partitions).await,
        }
    }

    /// Waits until it serves other partitions or answers otherwise than `known`.
    pub async fn other_than(&self, known: &Serves) -> Serves {
        match &self.body {
            Body::Here(here) => {
                let partitions = tokio::select! {
                    partitions = here.other_partitions(&known.partitions) => partitions,
                    () = here.closing(), if known.health != Health::Down => here.partitions(),
                };
                Serves { health: self.health(), partitions }
            }
            Body::There(there) => there.mirror().other_than(known).await,
        }
    }

    /// Whether it answers, and what it serves.
    #[must_use]
    pub fn serves(&self) -> Serves {
        match &self.body {
            Body::Here(here) => Serves { health: self.health(), partitions: here.partitions() },
            Body::There(there) => there.mirror().serves(),
        }
    }

    /// What a partition has applied. Of one in another process, what it had when it last spoke.
    ///
    /// # Errors
    /// `WrongPartition`.
    pub fn applied(&self, partition: PartitionId) -> Result<Applied, Error> {
        match &self.body {
            Body::Here(here) => here.applied(partition),
            Body::There(there) => there.mirror().applied(partition),
        }
    }

    /// The furthest that any partition has applied.
    #[must_use]
    pub fn reached(&self) -> Applied {
        match &self.body {
            Body::Here(here) => here.reached(),
            Body::There(there) => there.mirror().reached(),
        }
    }

    /// Waits until a partition has applied everything up to and including `min_lsn`.
    ///
    /// # Errors
    /// `Closed` and `WrongPartition`; `Unreachable` here and below, where it lives in another process.
    pub async fn wait(&self, partition: PartitionId, min_lsn: Lsn) -> Result<Applied, Error> {
        self.reach(partition, min_lsn, Revision::ZERO).await
    }

    /// Waits until a partition has applied both.
    ///
    /// # Errors
    /// As `wait`.
    pub async fn reach(
        &self,
        partition: PartitionId,
        lsn: Lsn,
        revision: Revision,
    ) -> Result<Applied, Error> {
        Ok(self.position_at(partition, lsn, revision).await?.applied)
    }

    /// What a partition holds once it has applied `lsn`, as `partition_bytes_in_use` has it.
    ///
    /// # Errors
    /// As `wait`.
    pub async fn bytes_in_use_at(&self, partition: PartitionId, lsn: Lsn) -> Result<u64, Error> {
        Ok(self.position_at(partition, lsn, Revision::ZERO).await?.bytes_in_use)
    }

    pub(crate) async fn position_at(
        &self,
        partition: PartitionId,
        lsn: Lsn,
        revision: Revision,
    ) -> Result<Position, Error> {
        match &self.body {
            Body::Here(here) => here.position_at(partition, lsn, revision).await,
            Body::There(there) => Box::pin(there.position_at(partition, lsn, revision)).await,
        }
    }

    /// Reads a range of one partition at one revision, once it has applied what the query asks for.
    ///
    /// # Errors
    /// `Compacted`, `FutureRevision`, `WrongPartition` and `Closed`.
    pub async fn range(&self, partition: PartitionId, query: Query) -> Result<Answer, Error> {
        match &self.body {
            Body::Here(here) => here.range(partition, query).await,
            Body::There(there) => Box::pin(there.range(partition, query)).await,
        }
    }

    /// Reads single keys of one partition at one revision, which is answered with them.
    ///
    /// # Errors
    /// As `range`.
    pub async fn get_many(
        &self,
        partition: PartitionId,
        keys: &[Bytes],
        at: At,
        min_lsn: Lsn,
    ) -> Result<(Revision, Vec<Option<KeyValue>>), Error> {
        match &self.body {
            Body::Here(here) => here.get_many(partition, keys, at, min_lsn).await,
            Body::There(there) => Box::pin(there.get_many(partition, keys, at, min_lsn)).await,
        }
    }

    /// The keys of one partition that are attached to a lease, sorted, and the revision at which they were.
    ///
    /// # Errors
    /// `Closed` and `WrongPartition`.
    pub async fn lease_keys(
        &self,
        partition: PartitionId,
        lease: LeaseId,
        min_lsn: Lsn,
    ) -> Result<(Revision, Vec<Bytes>), Error> {
        match &self.body {
            Body::Here(here) => here.lease_keys(partition, lease, min_lsn).await,
            Body::There(there) => Box::pin(there.lease_keys(partition, lease, min_lsn)).await,
        }
    }

    /// etcd's HashKV of all partitions together, up to `upto`, once they have applied `min_lsn`.
    ///
    /// # Errors
    /// `Compacted` and `FutureRevision` where `upto` cannot be read, or no longer can; `Closed`.
    pub async fn hash_kv(&self, upto: Revision, min_lsn: Lsn) -> Result<Hash, Error> {
        match &self.body {
            Body::Here(here) => here.hash_kv(upto, min_lsn).await,
            Body::There(there) => Box::pin(there.hash_kv(upto, min_lsn)).await,
        }
    }

    /// What HashKV is made of, of one partition and in parts.
    ///
    /// # Errors
    /// As `hash_kv`, and `WrongPartition`.
    pub(crate) async fn hashes(
        &self,
        partition: PartitionId,
        asked: HashesAsked,
        min_lsn: Lsn,
    ) -> Result<HashedPart, Error> {
        match &self.body {
            Body::Here(here) => here.hashes(partition, asked, min_lsn).await,
            Body::There(there) => Box::pin(there.hashes(partition, asked, min_lsn)).await,
        }
    }

    /// Where a partition is best cut in two. `None`: nothing is gained by it, or the memstore is too old to know.
    ///
    /// # Errors
    /// `WrongPartition` and `Closed`.
    pub async fn middle(&self, partition: PartitionId, of: MiddleOf) -> Result<Option<Bytes>, Error> {
        match &self.body {
            Body::Here(here) => here.middle(partition, of).await,
            Body::There(there) => Box::pin(there.middle(partition, of)).await,
        }
    }

    /// What the replica of a partition here holds, as one number that all its replicas have in common. `None`: the memstore
    /// is too old to say.
    ///
    /// # Errors
    /// `Compacted` where it is compacted further than asked, `FutureRevision`, `WrongPartition` and `Closed`.
    pub async fn set_hash(&self, partition: PartitionId, at: HashedAt) -> Result<Option<ReplicaHash>, Error> {
        match &self.body {
            Body::Here(here) => Box::pin(here.set_hash(partition, at)).await.map(Some),
            Body::There(there) => Box::pin(there.set_hash(partition, at)).await,
        }
    }

    /// Tells it to throw a replica away that does not hold what others do. It serves the partition no longer, until it
    /// has built it again. To be told only where others serve the partition.
    ///
    /// # Errors
    /// `WrongPartition` where that replica is not there any more; `Closed`.
    pub async fn throw_away(&self, partition: PartitionId, doubt: Doubt) -> Result<(), Error> {
        match &self.body {
            Body::Here(here) => Box::pin(here.throw_away(partition, doubt)).await,
            Body::There(there) => Box::pin(there.throw_away(partition, doubt)).await,
        }
    }

    /// The name of a memstore elsewhere, and the number of its start, as it told them last.
    #[must_use]
    pub fn identity(&self) -> Option<(String, u64)> {
        let Body::There(there) = &self.body else { return None };
        let identity = there.mirror().identity();
        Some((identity.name.clone(), identity.process))
    }

    /// A stream for one client, to watch with.
    #[must_use]
    pub fn watch(&self) -> WatchStream {
        match &self.body {
            Body::Here(here) => WatchStream::here(here.watch()),
            Body::There(there) => WatchStream::there(there.watch()),
        }
    }

    /// Sizes, by partition and in total.
    #[must_use]
    pub fn stats(&self) -> Stats {
        match &self.body {
            Body::Here(here) => here.stats(),
            Body::There(there) => there.mirror().stats(),
        }
    }

    /// Those of one partition.
    ///
    /// # Errors
    /// `WrongPartition`.
    pub fn partition_stats(&self, partition: PartitionId) -> Result<PartitionStats, Error> {
        match &self.body {
            Body::Here(here) => here.partition_stats(partition),
            Body::There(there) => there.mirror().partition_stats(partition),
        }
    }

    /// What one partition holds, as `bytes_in_use` has it of all.
    ///
    /// # Errors
    /// `WrongPartition`.
    pub fn partition_bytes_in_use(&self, partition: PartitionId) -> Result<u64, Error> {
        match &self.body {
            Body::Here(here) => here.partition_bytes_in_use(partition),
            Body::There(there) => there.mirror().partition_bytes_in_use(partition),
        }
    }

    /// What all partitions hold, as `stats` has it, without a lock: cheap enough to ask at each write.
    #[must_use]
    pub fn bytes_in_use(&self) -> u64 {
        match &self.body {
            Body::Here(here) => here.bytes_in_use(),
            Body::There(there) => there.mirror().bytes_in_use(),
        }
    }

    /// What applying takes, where that is in this process.
    #[must_use]
    pub fn apply_metrics(&self) -> Option<Arc<ApplyMetrics>> {
        match &self.body {
            Body::Here(here) => Some(here.apply_metrics()),
            Body::There(_) => None,
        }
    }

    /// Waits until nothing is applied any more. One in another process may always come back.
    pub(crate) async fn closing(&self) {
        match &self.body {
            Body::Here(here) => here.closing().await,
            Body::There(_) => std::future::pending().await,
        }
    }
}

/// Whether a memstore answers, and what it serves.
#[derive(Clone, Debug)]
pub struct Serves {
    pub health: Health,
    /// In the order of their keys.
    pub partitions: Arc<[PartitionRange]>,
}

impl Serves {
    /// Whether nothing has changed. Two that were told apart are different, though they may look the same.
    #[must_use]
    pub fn is(&self, other: &Serves) -> bool {
        self.health == other.health && Arc::ptr_eq(&self.partitions, &other.partitions)
    }
}
