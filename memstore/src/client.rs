//! The handle on a memstore: reads, waits and watches over all its partitions.
//!
//! Cheap to clone, and the only way in for frontends. It promises the same whether the memstore lives in this
//! process or in another. Reads run on the thread of whoever asks.

use std::sync::Arc;

use bytes::Bytes;
use journal::{LeaseId, Lsn, Revision};
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::frontier::Applied;
use crate::hashing::{Hash, Hashing};
use crate::key_value::KeyValue;
use crate::metrics::ApplyMetrics;
use crate::partition_id::{PartitionId, PartitionRange};
use crate::query::{Answer, At, Query};
use crate::reading::Reading;
use crate::replica::Replica;
use crate::stats::{PartitionStats, Stats};
use crate::watch::WatchStream;

/// The handle.
#[derive(Clone)]
pub struct Memstore {
    shared: Arc<Shared>,
}

struct Shared {
    replicas: Arc<[Replica]>,
    ranges: Vec<PartitionRange>,
    metrics: Arc<ApplyMetrics>,
    closed: CancellationToken,
}

impl Memstore {
    /// `replicas` are in the order of their partitions' ids. Watches end after `closed`.
    pub(crate) fn new(
        replicas: Arc<[Replica]>,
        metrics: Arc<ApplyMetrics>,
        closed: CancellationToken,
    ) -> Memstore {
        let ranges = replicas.iter().map(|replica| replica.partition.range().clone()).collect();
        Memstore { shared: Arc::new(Shared { replicas, ranges, metrics, closed }) }
    }

    /// In the order of their keys; together they cover all.
    #[must_use]
    pub fn partitions(&self) -> &[PartitionRange] {
        &self.shared.ranges
    }

    /// What a partition has applied.
    ///
    /// # Panics
    /// When the id is not one of `partitions`.
    #[must_use]
    pub fn applied(&self, partition: PartitionId) -> Applied {
        self.replica(partition).expect("the id is one of `partitions`").frontier.applied()
    }

    /// Waits until a partition has applied everything up to and including `min_lsn`.
    ///
    /// # Errors
    /// `Closed` and `WrongPartition`.
    pub async fn wait(&self, partition: PartitionId, min_lsn: Lsn) -> Result<Applied, Error> {
        self.replica(partition)?.frontier.wait(min_lsn).await.ok_or(Error::Closed)
    }

    /// Reads a range of one partition at one revision, once it has applied what the query asks for.
    ///
    /// # Errors
    /// `Compacted`, `FutureRevision`, `WrongPartition` and `Closed`.
    pub async fn range(&self, partition: PartitionId, query: Query) -> Result<Answer, Error> {
        let Applied { lsn, .. } = self.wait(partition, query.min_lsn).await?;
        let partition = &self.replica(partition)?.partition;
        let mut reading = Reading::new(&query);
        loop {
            if let Some(answer) = reading.step(partition)? {
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
    pub async fn get_many(
        &self,
        partition: PartitionId,
        keys: &[Bytes],
        at: At,
        min_lsn: Lsn,
    ) -> Result<(Revision, Vec<Option<KeyValue>>), Error> {
        self.wait(partition, min_lsn).await?;
        self.replica(partition)?.partition.get_many(keys, at)
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
        self.wait(partition, min_lsn).await?;
        Ok(self.replica(partition)?.partition.lease_keys(lease))
    }

    /// etcd's HashKV of all partitions together, up to `upto`, once they have applied `min_lsn`.
    ///
    /// # Errors
    /// `Compacted` and `FutureRevision` where `upto` cannot be read, or no longer can; `Closed`.
    pub async fn hash_kv(&self, upto: Revision, min_lsn: Lsn) -> Result<Hash, Error> {
        for range in self.partitions() {
            self.wait(range.id, min_lsn).await?;
        }
        let partitions: Vec<_> = self.shared.replicas.iter().map(|replica| &*replica.partition).collect();
        let mut hashing = Hashing::new(upto, &partitions)?;
        loop {
            if let Some(hash) = hashing.step(&partitions)? {
                return Ok(hash);
            }
            tokio::task::yield_now().await;
        }
    }

    /// A stream for one client, to watch with.
    #[must_use]
    pub fn watch(&self) -> WatchStream {
        let hubs = self.shared.replicas.iter().map(|replica| replica.hub.clone()).collect();
        WatchStream::new(hubs, self.shared.closed.clone())
    }

    /// Sizes, by partition and in total.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let stats = |replica: &Replica| {
            let (watchers, slow_watchers) = replica.hub.watchers();
            PartitionStats { watchers, slow_watchers, ..replica.partition.stats() }
        };
        Stats::sum(self.shared.replicas.iter().map(stats).collect())
    }

    /// What all partitions hold, as `stats` has it, without a lock: cheap enough to ask at each write.
    #[must_use]
    pub fn bytes_in_use(&self) -> u64 {
        self.shared.replicas.iter().map(|replica| replica.partition.bytes_in_use()).sum()
    }

    /// What applying takes.
    #[must_use]
    pub fn apply_metrics(&self) -> Arc<ApplyMetrics> {
        self.shared.metrics.clone()
    }

    fn replica(&self, partition: PartitionId) -> Result<&Replica, Error> {
        let place = usize::try_from(partition.0).ok();
        place.and_then(|place| self.shared.replicas.get(place)).ok_or(Error::WrongPartition)
    }
}
