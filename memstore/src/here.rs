//! A memstore in this process, as its handle asks it. Reads run on the thread of whoever asks.

use std::sync::Arc;

use bytes::Bytes;
use journal::{LeaseId, Lsn, Revision};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::aside::aside;
use crate::comparing::set_hash;
use crate::doubt::{Doubt, HashedAt, ReplicaHash, ReplicaName, Throw};
use crate::error::Error;
use crate::frontier::Applied;
use crate::hashing::{Hash, HashedPart, HashesAsked, Hashing};
use crate::key_value::KeyValue;
use crate::memory::{KEY_BYTES, Memory, MemoryReservation};
use crate::metrics::ApplyMetrics;
use crate::middle::{Found, Middle, MiddleOf};
use crate::partition_id::{PartitionId, PartitionRange};
use crate::query::{Answer, At, Query};
use crate::reading::Reading;
use crate::replica::Replica;
use crate::replicas::{Replicas, Served};
use crate::stats::{PartitionStats, Stats};
use crate::watch::LocalStream;
use crate::wire::reports::Position;

/// The handle's first body.
#[derive(Clone)]
pub(crate) struct Here {
    shared: Arc<Shared>,
}

struct Shared {
    replicas: Arc<Replicas>,
    metrics: Arc<ApplyMetrics>,
    memory: Arc<Memory>,
    closed: CancellationToken,
    throws: mpsc::Sender<Throw>,
}

impl Here {
    /// Watches end after `closed`. Replicas that are to be thrown away go to `throws`.
    pub(crate) fn new(
        replicas: Arc<Replicas>,
        metrics: Arc<ApplyMetrics>,
        memory: Arc<Memory>,
        closed: CancellationToken,
        throws: mpsc::Sender<Throw>,
    ) -> Here {
        Here { shared: Arc::new(Shared { replicas, metrics, memory, closed, throws }) }
    }

    /// That of this process.
    pub(crate) fn memory(&self) -> &Arc<Memory> {
        &self.shared.memory
    }

    /// What is served now, in the order of the keys. It may be something else a moment later: a partition that
    /// is gone by then answers `WrongPartition`.
    pub(crate) fn partitions(&self) -> Arc<[PartitionRange]> {
        self.shared.replicas.ranges()
    }

    /// Waits until something else is served than `partitions`, as `partitions` answered it before.
    pub(crate) async fn other_partitions(&self, partitions: &Arc<[PartitionRange]>) -> Arc<[PartitionRange]> {
        self.shared.replicas.other(partitions).await
    }

    /// What a partition has applied.
    ///
    /// # Errors
    /// `WrongPartition`.
    pub(crate) fn applied(&self, partition: PartitionId) -> Result<Applied, Error> {
        Ok(self.replica(partition)?.frontier.applied())
    }

    /// The furthest that any partition has applied.
    pub(crate) fn reached(&self) -> Applied {
        let served = self.shared.replicas.served();
        let applied = served.iter().map(|replica| replica.frontier.applied());
        applied.max_by_key(|applied| applied.lsn).unwrap_or_default()
    }

    /// Waits until a partition has applied both, and answers what it holds by then.
    ///
    /// # Errors
    /// `Closed`, and `WrongPartition` also where it is served no longer before it gets there.
    pub(crate) async fn position_at(
        &self,
        partition: PartitionId,
        lsn: Lsn,
        revision: Revision,
    ) -> Result<Position, Error> {
        let (mut replica, mut applied) = self.waited(partition, lsn).await?;
        while applied.revision < revision {
            (replica, applied) = self.waited(partition, applied.lsn.next()).await?;
        }
        Ok(Position { applied, bytes_in_use: replica.partition.bytes_in_use() })
    }

    /// Reads a range of one partition at one revision, once it has applied what the query asks for.
    ///
    /// # Errors
    /// `Compacted`, `FutureRevision`, `WrongPartition` and `Closed`.
    pub(crate) async fn range(&self, partition: PartitionId, query: Query) -> Result<Answer, Error> {
        let (replica, Applied { lsn, .. }) = self.waited(partition, query.min_lsn).await?;
        let mut reading = Reading::new(&query);
        let reservation = MemoryReservation::current();
        let mut counted = 0;
        loop {
            let read = reading.step(&replica.partition)?;
            // Keys and values stay where they are; what is new is the list of them.
            let keys = read.as_ref().map_or(reading.keys_read(), |answer| answer.kvs.len());
            if let Some(reservation) = &reservation {
                reservation.grow(KEY_BYTES * (keys - counted) as u64)?;
            }
            counted = keys;
            if let Some(answer) = read {
                // The revision was read under the lock; the position may be older, never newer.
                let applied = Applied { lsn, revision: answer.applied.revision };
                return Ok(Answer { applied, ..answer });
            }
            // A long range lets others have this thread, and the partition's writer the lock.
            tokio::task::yield_now().await;
        }
    }

    /// Reads single keys of one partition at one revision, which is answered with them.
    ///
    /// # Errors
    /// As `range`.
    pub(crate) async fn get_many(
        &self,
        partition: PartitionId,
        keys: &[Bytes],
        at: At,
        min_lsn: Lsn,
    ) -> Result<(Revision, Vec<Option<KeyValue>>), Error> {
        self.waited(partition, min_lsn).await?.0.partition.get_many(keys, at)
    }

    /// The keys of one partition that are attached to a lease, sorted, and the revision at which they were.
    ///
    /// # Errors
    /// `Closed` and `WrongPartition`.
    pub(crate) async fn lease_keys(
        &self,
        partition: PartitionId,
        lease: LeaseId,
        min_lsn: Lsn,
    ) -> Result<(Revision, Vec<Bytes>), Error> {
        Ok(self.waited(partition, min_lsn).await?.0.partition.lease_keys(lease))
    }

    /// etcd's HashKV of all partitions together, up to `upto`, once they have applied `min_lsn`.
    ///
    /// # Errors
    /// `Compacted` and `FutureRevision` where `upto` cannot be read, or no longer can; `Closed`.
    pub(crate) async fn hash_kv(&self, upto: Revision, min_lsn: Lsn) -> Result<Hash, Error> {
        let served = self.served_at(min_lsn).await?;
        let partitions: Vec<_> = served.iter().map(|replica| &*replica.partition).collect();
        let mut hashing = Hashing::new(upto, &partitions)?;
        loop {
            if let Some(hash) = hashing.step(&partitions)? {
                return Ok(hash);
            }
            tokio::task::yield_now().await;
        }
    }

    /// Where a partition is best cut in two.
    ///
    /// # Errors
    /// `WrongPartition`.
    pub(crate) async fn middle(&self, partition: PartitionId, of: MiddleOf) -> Result<Option<Bytes>, Error> {
        let replica = self.replica(partition)?;
        let mut middle = Middle::new(of);
        loop {
            match middle.step(&replica.partition) {
                None => tokio::task::yield_now().await,
                Some(Found::Nothing) => return Ok(None),
                Some(Found::Key(key)) => return Ok(Some(key)),
            }
        }
    }

    /// What a partition holds, as one number. Writers are not stopped; what is compacted stays in memory meanwhile.
    ///
    /// # Errors
    /// `Compacted` where it is compacted further than asked, `FutureRevision`, `WrongPartition` and `Closed`.
    pub(crate) async fn set_hash(&self, partition: PartitionId, at: HashedAt) -> Result<ReplicaHash, Error> {
        let (replica, applied) = self.waited(partition, at.lsn).await?;
        if applied.revision < at.revision {
            return Err(Error::FutureRevision { current: applied.revision });
        }
        let _undisturbed = self.shared.replicas.upkeep().await;
        let compacted = replica.partition.compacted();
        if at.compacted < compacted {
            return Err(Error::Compacted { compacted });
        }
        let (hashed, at) = (replica.partition.clone(), (at.revision, at.compacted));
        let hash = aside(move |given_up| set_hash(&hashed, at, given_up)).await?.ok_or(Error::Closed)?;
        let name = ReplicaName { process: 0, number: replica.number };
        Ok(ReplicaHash { hash: hash.0, replica: name, thrown: self.shared.replicas.thrown(partition) })
    }

    /// Throws a replica away, which is built again.
    ///
    /// # Errors
    /// `WrongPartition` where it is not there any more, or nobody would build it; `Closed`.
    pub(crate) async fn throw_away(&self, partition: PartitionId, doubt: Doubt) -> Result<(), Error> {
        let (reply, done) = oneshot::channel();
        let throw = Throw { partition, doubt, reply };
        self.shared.throws.send(throw).await.map_err(|_| Error::WrongPartition)?;
        done.await.map_err(|_| Error::Closed)?
    }

    /// A stream for one client, to watch with.
    pub(crate) fn watch(&self) -> LocalStream {
        LocalStream::new(self.shared.replicas.clone(), self.shared.closed.clone())
    }

    /// Sizes, by partition and in total.
    pub(crate) fn stats(&self) -> Stats {
        Stats::sum(self.shared.replicas.served().iter().map(|replica| stats(replica)).collect())
    }

    /// What all partitions hold, as `stats` has it, without a lock: cheap enough to ask at each write.
    pub(crate) fn bytes_in_use(&self) -> u64 {
        self.shared.replicas.served().iter().map(|replica| replica.partition.bytes_in_use()).sum()
    }

    /// Those of one partition.
    pub(crate) fn partition_stats(&self, partition: PartitionId) -> Result<PartitionStats, Error> {
        Ok(stats(&*self.replica(partition)?))
    }

    pub(crate) fn partition_bytes_in_use(&self, partition: PartitionId) -> Result<u64, Error> {
        Ok(self.replica(partition)?.partition.bytes_in_use())
    }

    pub(crate) async fn hashes(
        &self,
        partition: PartitionId,
        asked: HashesAsked,
        min_lsn: Lsn,
    ) -> Result<HashedPart, Error> {
        HashedPart::of(&self.waited(partition, min_lsn).await?.0.partition, asked)
    }

    pub(crate) fn is(&self, other: &Here) -> bool {
        Arc::ptr_eq(&self.shared.replicas, &other.shared.replicas)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.shared.closed.is_cancelled()
    }

    /// Waits until nothing is applied any more.
    pub(crate) async fn closing(&self) {
        self.shared.closed.cancelled().await;
    }

    /// What applying takes.
    pub(crate) fn apply_metrics(&self) -> Arc<ApplyMetrics> {
        self.shared.metrics.clone()
    }

    fn replica(&self, partition: PartitionId) -> Result<Arc<Replica>, Error> {
        self.shared.replicas.get(partition)
    }

    /// The replica once it has applied `min_lsn`. It can be read for as long as it is held, whatever is served.
    async fn waited(&self, partition: PartitionId, min_lsn: Lsn) -> Result<(Arc<Replica>, Applied), Error> {
        let replica = self.replica(partition)?;
        let applied = self.reach(&replica, min_lsn).await?;
        Ok((replica, applied))
    }

    /// Everything that is served, once it has applied `min_lsn`.
    async fn served_at(&self, min_lsn: Lsn) -> Result<Arc<Served>, Error> {
        'changed: loop {
            let served = self.shared.replicas.served();
            for replica in served.iter() {
                match self.reach(replica, min_lsn).await {
                    Err(Error::WrongPartition) => continue 'changed,
                    reached => reached?,
                };
            }
            return Ok(served);
        }
    }

    async fn reach(&self, replica: &Replica, min_lsn: Lsn) -> Result<Applied, Error> {
        let gone = || if self.is_closed() { Error::Closed } else { Error::WrongPartition };
        replica.frontier.wait(min_lsn).await.ok_or_else(gone)
    }
}

fn stats(replica: &Replica) -> PartitionStats {
    let (watchers, slow_watchers) = replica.hub.watchers();
    PartitionStats { watchers, slow_watchers, ..replica.partition.stats() }
}
