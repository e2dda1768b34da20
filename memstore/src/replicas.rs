//! What a memstore serves: its replicas, by their keys and by name.
//!
//!     keys    [········ 3 ········)[·· 7 ··)[····· 4 ·····         looked at as a whole, and changed as a whole
//!
//! Whoever looks gets a snapshot that stays as it is. A replica that is no longer served lives for as long as
//! somebody reads it.

use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::error::Error;
use crate::partition_id::{PartitionId, PartitionRange};
use crate::replica::Replica;

/// All replicas of this process that are served.
pub(crate) struct Replicas {
    served: watch::Sender<Arc<Served>>,
    /// Held by whoever frees or copies what is kept: one at a time.
    upkeep: tokio::sync::Mutex<()>,
    /// How often each was thrown away.
    thrown: Mutex<HashMap<PartitionId, u64>>,
}

/// What is served at a moment.
#[derive(Default)]
pub(crate) struct Served {
    /// In the order of their keys, without overlap.
    ranges: Arc<[PartitionRange]>,
    /// In the same order.
    replicas: Vec<Arc<Replica>>,
    places: HashMap<PartitionId, usize>,
}

impl Replicas {
    pub(crate) fn new(replicas: Vec<Arc<Replica>>) -> Replicas {
        let served = watch::Sender::new(Arc::new(Served::new(replicas)));
        Replicas { served, upkeep: tokio::sync::Mutex::default(), thrown: Mutex::default() }
    }

    /// Serves these from now on.
    pub(crate) fn serve(&self, replicas: Vec<Arc<Replica>>) {
        self.served.send_replace(Arc::new(Served::new(replicas)));
    }

    /// While it is held, nothing is freed that was kept when it was taken, and no replica becomes another.
    pub(crate) async fn upkeep(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.upkeep.lock().await
    }

    /// It is thrown away once more.
    pub(crate) fn throw_away(&self, id: PartitionId) {
        *self.thrown.lock().entry(id).or_default() += 1;
    }

    /// How often it was thrown away.
    pub(crate) fn thrown(&self, id: PartitionId) -> u64 {
        self.thrown.lock().get(&id).copied().unwrap_or_default()
    }

    pub(crate) fn served(&self) -> Arc<Served> {
        self.served.borrow().clone()
    }

    pub(crate) fn ranges(&self) -> Arc<[PartitionRange]> {
        self.served.borrow().ranges.clone()
    }

    /// # Errors
    /// `WrongPartition` where there is no such partition, or no longer.
    pub(crate) fn get(&self, id: PartitionId) -> Result<Arc<Replica>, Error> {
        self.served.borrow().get(id).cloned().ok_or(Error::WrongPartition)
    }

    /// Waits until something else is served than `ranges`, which were looked at before.
    pub(crate) async fn other(&self, ranges: &Arc<[PartitionRange]>) -> Arc<[PartitionRange]> {
        let mut served = self.served.subscribe();
        let changed = served.wait_for(|served| !Arc::ptr_eq(&served.ranges, ranges)).await;
        changed.expect("its sender is here").ranges.clone()
    }
}

impl Served {
    fn new(mut replicas: Vec<Arc<Replica>>) -> Served {
        replicas.sort_by(|one, other| one.partition.range().start.cmp(&other.partition.range().start));
        let ranges: Arc<[_]> = replicas.iter().map(|replica| replica.partition.range().clone()).collect();
        let apart = |pair: &[PartitionRange]| pair[0].end.as_ref().is_some_and(|end| *end <= pair[1].start);
        assert!(ranges.windows(2).all(apart), "no key is served twice");
        let places = ranges.iter().zip(0..).map(|(range, place)| (range.id, place)).collect();
        Served { ranges, replicas, places }
    }

    pub(crate) fn get(&self, id: PartitionId) -> Option<&Arc<Replica>> {
        Some(&self.replicas[*self.places.get(&id)?])
    }
}

impl std::ops::Deref for Served {
    type Target = [Arc<Replica>];

    fn deref(&self) -> &[Arc<Replica>] {
        &self.replicas
    }
}
