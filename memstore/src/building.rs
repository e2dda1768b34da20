//! A replica on its way: gathered from what there is, and not yet as far as the others.
//!
//!     keys      [ own replica at 70 )[ snapshot at 40 )
//!     applies        from 71 on          from 41 on        the floors are 70 and 40
//!
//! Its sources may stand at different positions. It replays the journal from behind the smallest, and skips what
//! a source has already: each source covers its keys up to its floor. Behind the highest floor all is of one
//! revision, and it is a partition like any other.

use std::sync::Arc;

use bytes::Bytes;
use journal::{Batch, Entry, Lsn, Revision};
use tokio_util::sync::CancellationToken;

use crate::aside::aside;
use crate::compaction::Compaction;
use crate::error::Error;
use crate::frontier::Applied;
use crate::partition::Partition;
use crate::partition_id::PartitionRange;
use crate::pause::{STEP_WRITES, Turns, writes};

/// Versions copied at once, under the source's read lock.
const CHUNK_VERSIONS: usize = 512;

/// What a part of a replica is copied from.
pub(crate) struct Source {
    /// The keys to take from it.
    pub(crate) range: PartitionRange,
    pub(crate) partition: Arc<Partition>,
    /// Where it stood when it was chosen. What it applies later is left out.
    pub(crate) applied: Applied,
    /// What it was compacted at then.
    pub(crate) compacted: Revision,
}

impl Source {
    /// A partition that nobody else has.
    pub(crate) fn all_of(partition: Partition, applied: Applied) -> Source {
        let (range, compacted) = (partition.range().clone(), partition.compacted());
        Source { range, partition: Arc::new(partition), applied, compacted }
    }
}

/// The replica.
pub(crate) struct Building {
    partition: Partition,
    floors: Vec<Floor>,
    applied: Applied,
    /// What was gathered has yet to be put in order.
    unsettled: bool,
}

/// Writes of these keys up to and including this position are in it.
struct Floor {
    range: PartitionRange,
    lsn: Lsn,
}

impl Building {
    /// A partition that stands at one position already.
    pub(crate) fn whole(partition: Partition, applied: Applied) -> Building {
        Building { partition, floors: Vec::new(), applied, unsettled: false }
    }

    /// Out of what was read from snapshots, which covers `range` and which nobody else has. `None` where that was given up.
    pub(crate) fn restored(
        range: PartitionRange,
        mut sources: Vec<Source>,
        given_up: &CancellationToken,
    ) -> Option<Building> {
        if sources.len() > 1 {
            return Building::gather(range, sources, given_up);
        }
        let Source { partition, applied, .. } = sources.pop()?;
        Some(Building::whole(Arc::into_inner(partition)?, applied))
    }

    /// Copies the sources, which cover `range`. Nothing may free what they held when they were chosen. `None` where
    /// that was given up.
    pub(crate) fn gather(
        range: PartitionRange,
        sources: Vec<Source>,
        given_up: &CancellationToken,
    ) -> Option<Building> {
        let all = || sources.iter();
        let applied = all().map(|source| source.applied).min_by_key(|applied| applied.lsn)?;
        let swept = all().map(|source| source.compacted).min()?;
        let compacted = all().map(|source| source.compacted).max()?;
        let compaction = Compaction::gathered(swept, compacted);
        let mut partition = Partition::gathering(range, applied.revision, compaction);
        for source in &sources {
            copy(source, &mut partition, given_up)?;
        }
        let floor = |source: Source| Floor { range: source.range, lsn: source.applied.lsn };
        let floors = sources.into_iter().map(floor).collect();
        let mut building = Building { partition, floors, applied, unsettled: true };
        building.rise();
        if building.floors.is_empty() {
            building.settle();
        }
        Some(building)
    }

    pub(crate) fn applied(&self) -> Applied {
        self.applied
    }

    pub(crate) fn range(&self) -> &PartitionRange {
        self.partition.range()
    }

    /// Whether it is of one revision, and can be read.
    pub(crate) fn is_whole(&self) -> bool {
        self.floors.is_empty() && !self.unsettled
    }

    /// The keys for which a journal that begins at `first` is not enough.
    pub(crate) fn lacking(&self, first: Lsn) -> Vec<PartitionRange> {
        if first <= self.applied.lsn.next() {
            return Vec::new();
        }
        let enough = self.floors.iter().filter(|floor| first <= floor.lsn.next());
        let mut enough: Vec<_> = enough.map(|floor| floor.range.clone()).collect();
        enough.sort_by(|one, other| one.start.cmp(&other.start));
        self.range().without(&enough)
    }

    /// Applies the entries that it lacks, with room for others in between. What that makes whole is put in order on another
    /// thread, since it takes as long as there is much of it.
    ///
    /// # Errors
    /// `Closed`.
    pub(crate) async fn go_on(mut self, entries: &[Entry]) -> Result<Building, Error> {
        let (applied, mut turns) = (self.applied.lsn, Turns::default());
        for entry in entries.iter().filter(|entry| applied < entry.lsn) {
            let effects = entry.effects(self.applied.revision);
            if let Some(batch) = effects.filter(|_| STEP_WRITES < writes(entry)) {
                let lsn = entry.lsn;
                while self.stage(batch, lsn) {
                    turns.took(STEP_WRITES).await;
                }
            }
            self.apply(entry);
            turns.took(writes(entry).min(STEP_WRITES)).await;
        }
        if self.unsettled && self.floors.is_empty() {
            self = aside(move |_| {
                self.settle();
                self
            })
            .await?;
        }
        Ok(self)
    }

    /// Nothing may be left out of a batch that is staged, so one that a source has in part is applied at once.
    fn stage(&self, batch: &Batch, lsn: Lsn) -> bool {
        let is_free = self.floors.iter().all(|floor| floor.lsn < lsn);
        is_free && self.partition.stage(batch, STEP_WRITES, &mut |_| ())
    }

    fn apply(&mut self, entry: &Entry) {
        assert_eq!(entry.lsn, self.applied.lsn.next(), "entries are applied in order");
        self.applied.lsn = entry.lsn;
        if let Some(batch) = entry.effects(self.applied.revision) {
            self.applied.revision = batch.last_revision();
            let floors = &self.floors;
            let has = |key: &Bytes| floors.iter().any(|floor| floor.has(key, entry.lsn));
            self.partition.apply_to(batch, |key| !has(key), &mut |_| ());
        }
        self.rise();
    }

    pub(crate) fn into_partition(self) -> Partition {
        assert!(self.is_whole(), "what is half of one revision and half of another is not shown");
        self.partition
    }

    /// Forgets the floors that it has come to.
    fn rise(&mut self) {
        self.floors.retain(|floor| self.applied.lsn < floor.lsn);
    }

    fn settle(&mut self) {
        self.partition.settle();
        self.unsettled = false;
    }
}

impl Floor {
    fn has(&self, key: &[u8], lsn: Lsn) -> bool {
        lsn <= self.lsn && self.range.contains(key)
    }
}

fn copy(source: &Source, partition: &mut Partition, given_up: &CancellationToken) -> Option<()> {
    let mut after = (Revision::ZERO, 0);
    loop {
        let upto = source.applied.revision;
        let mut versions = source.partition.versions(upto, source.compacted, after, CHUNK_VERSIONS);
        let Some(last) = versions.last() else { return Some(()) };
        after = last.position();
        versions.retain(|version| source.range.contains(&version.kv.key));
        partition.gather(&versions);
        if given_up.is_cancelled() {
            return None;
        }
    }
}
