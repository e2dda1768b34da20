//! Replicas on their way to one position, out of snapshots that stand at several.
//!
//!     keys     [ snapshot at 70 )[ at 40 )[ at 90 )
//!     tail          from 71 on     from 41   from 91        all stand together behind 90

use journal::Lsn;

use crate::building::Building;
use crate::error::Error;
use crate::feed::Entries;
use crate::frontier::Applied;
use crate::partition::Partition;
use crate::partition_id::PartitionRange;

/// What shall take the places of replicas that have fallen behind the journal.
pub(super) struct Rising {
    /// By the order of the replicas.
    buildings: Vec<Building>,
}

impl Rising {
    /// There is at least one.
    pub(super) fn new(buildings: Vec<Building>) -> Rising {
        Rising { buildings }
    }

    /// The lowest of them: behind it the journal is needed.
    pub(super) fn applied(&self) -> Lsn {
        self.buildings.iter().map(|building| building.applied().lsn).min().unwrap_or_default()
    }

    /// The keys for which a journal that begins at `first` is not enough.
    pub(super) fn lacking(&self, first: Lsn) -> Vec<PartitionRange> {
        self.buildings.iter().flat_map(|building| building.lacking(first)).collect()
    }

    /// Reads on, behind the lowest, until they stand together.
    ///
    /// # Errors
    /// The journal's.
    pub(super) async fn rise(&mut self, entries: &mut Entries) -> Result<(), journal::Error> {
        while self.together().is_none() {
            let entries = entries.next().await?;
            let mut risen = Vec::with_capacity(self.buildings.len());
            for building in std::mem::take(&mut self.buildings) {
                risen.push(building.go_on(&entries).await.map_err(|_| journal::Error::Closed)?);
            }
            self.buildings = risen;
        }
        Ok(())
    }

    /// # Errors
    /// `Closed`: they do not stand together.
    pub(super) fn into_partitions(self) -> Result<(Applied, Vec<Partition>), Error> {
        let applied = self.together().ok_or(Error::Closed)?;
        Ok((applied, self.buildings.into_iter().map(Building::into_partition).collect()))
    }

    fn together(&self) -> Option<Applied> {
        let applied = self.buildings.first()?.applied();
        let there = |building: &Building| building.is_whole() && building.applied() == applied;
        self.buildings.iter().all(there).then_some(applied)
    }
}
