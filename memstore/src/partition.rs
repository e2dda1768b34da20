//! One partition: a range of keys, their store, and the lock around it.
//!
//!     follower ── apply(batch) ──► write lock ┐
//!     keeper ──── compact_step ──► write lock ├── Store
//!     anyone ──── read ──────────► read lock  ┘
//!
//! A batch is applied under one lock, so nobody ever sees a part of a record. Nobody holds the lock for longer
//! than a batch, a chunk of 512 keys or a step of a compaction takes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use journal::{Batch, KeyRange, LeaseId, Revision, SysOp};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use tokio::sync::Notify;

use crate::compaction::{Compaction, Swept};
use crate::error::Error;
use crate::event::Change;
use crate::hash_kv::Hashed;
use crate::history::{Happened, Position, Recall};
use crate::key_value::{KeyValue, Version};
use crate::partition_id::PartitionRange;
use crate::pause::weight;
use crate::query::At;
use crate::reading::revision;
use crate::stats::PartitionStats;
use crate::store::{Store, Stored};

pub(crate) struct Partition {
    range: PartitionRange,
    store: RwLock<Store>,
    /// What the store takes, for those who ask too often to wait for its lock. Set under it.
    in_use: AtomicU64,
    /// Revisions that reads under way still need, and how many of them. Locked after the store, if both are.
    pins: Mutex<BTreeMap<Revision, usize>>,
    /// The oldest of these reads is over: a compaction that it held up goes on.
    unpinned: Notify,
}

/// Keeps a compaction from what can be seen at a revision.
pub(crate) struct Pin<'a> {
    partition: &'a Partition,
    revision: Revision,
}

impl Partition {
    /// A partition that nothing was written to.
    pub(crate) fn new(range: PartitionRange) -> Partition {
        Partition::with(range, Store::new())
    }

    fn with(range: PartitionRange, store: Store) -> Partition {
        let in_use = AtomicU64::new(store.bytes_in_use());
        Partition {
            range,
            store: RwLock::new(store),
            in_use,
            pins: Mutex::default(),
            unpinned: Notify::new(),
        }
    }

    /// A partition as a snapshot has it: at `revision`, compacted at `compacted`, with the versions that `next`
    /// yields in the order of (revision, sub).
    ///
    /// # Errors
    /// `Corrupt` where the versions do not fit that description; whatever `next` answers.
    pub(crate) fn restore(
        range: PartitionRange,
        compacted: Revision,
        revision: Revision,
        mut next: impl FnMut() -> Result<Option<Version>, Error>,
    ) -> Result<Partition, Error> {
        let mut store = Store::at(revision, compacted);
        let mut last = None;
        while let Some(version) = next()? {
            let position = version.position();
            if last >= Some(position) || revision < position.0 || !range.contains(&version.kv.key) {
                return Err(Error::Corrupt("a snapshot holds a version that does not belong there".into()));
            }
            last = Some(position);
            store.insert(&version);
        }
        Ok(Partition::with(range, store))
    }

    /// A partition to be gathered from several sources, of which the last one stands at `revision`.
    pub(crate) fn gathering(range: PartitionRange, revision: Revision, compaction: Compaction) -> Partition {
        Partition::with(range, Store::gathering(revision, compaction))
    }

    /// Takes in the versions of one source. Those of a key come from one source, in order.
    pub(crate) fn gather(&mut self, versions: &[Version]) {
        let store = self.store.get_mut();
        versions.iter().for_each(|version| {
            store.insert(version);
        });
    }

    /// All sources stand at one revision now, and it can be read.
    pub(crate) fn settle(&mut self) {
        let store = self.store.get_mut();
        store.settle();
        self.in_use.store(store.bytes_in_use(), Relaxed);
    }

    /// Becomes what `other` is, which is a partition of the same range: this one had fallen too far behind. Answers what it
    /// was, which takes its time to be freed.
    #[must_use]
    pub(crate) fn replace(&self, other: Partition) -> Store {
        assert_eq!(self.range, other.range, "a partition keeps its range");
        let other = other.store.into_inner();
        let mut store = self.store.write();
        self.in_use.store(other.bytes_in_use(), Relaxed);
        std::mem::replace(&mut *store, other)
    }

    pub(crate) fn range(&self) -> &PartitionRange {
        &self.range
    }

    /// Makes happen what of the batch concerns this partition, and tells of each change in order, except of those that
    /// `stage` has told. Everyone else sees all of it or nothing.
    pub(crate) fn apply(&self, batch: &Batch, changed: &mut dyn FnMut(Change)) {
        self.apply_to(batch, |_| true, changed);
    }

    /// Number of the next batch's writes that have happened already.
    pub(crate) fn staged(&self) -> usize {
        self.store().staged
    }

    /// Makes the next writes of a batch happen, which weigh `budget` together, and tells of their changes in order. Nobody who
    /// reads sees anything of them before `apply` has ended the batch. Answers whether there are more.
    pub(crate) fn stage(&self, batch: &Batch, budget: usize, changed: &mut dyn FnMut(Change)) -> bool {
        let mut store = self.store.write();
        let (mut from, mut left) = (store.staged, budget);
        for (revision, record) in batch.revisions() {
            let part = record.writes.get(from..).unwrap_or_default();
            for (sub, write) in (sub(from)..).zip(part) {
                if left == 0 {
                    return true;
                }
                if self.range.contains(write.key()) {
                    store.apply((revision, sub), write).into_iter().for_each(&mut *changed);
                }
                store.staged += 1;
                left = left.saturating_sub(weight(write));
            }
            from = from.saturating_sub(record.writes.len());
        }
        false
    }

    /// The same, for those of its keys only that `admits` names.
    pub(crate) fn apply_to(
        &self,
        batch: &Batch,
        admits: impl Fn(&Bytes) -> bool,
        changed: &mut dyn FnMut(Change),
    ) {
        let mut store = self.store.write();
        let mut staged = std::mem::take(&mut store.staged);
        for (revision, record) in batch.revisions() {
            let from = staged.min(record.writes.len());
            staged -= from;
            for (sub, write) in (sub(from)..).zip(&record.writes[from..]) {
                if self.range.contains(write.key()) && admits(write.key()) {
                    store.apply((revision, sub), write).into_iter().for_each(&mut *changed);
                }
            }
            if let Some(SysOp::Compact { revision }) = record.sysop {
                store.compaction.compact(revision);
            }
        }
        assert!(store.revision <= batch.last_revision(), "batches are applied in order");
        store.revision = batch.last_revision();
        self.in_use.store(store.bytes_in_use(), Relaxed);
    }

    /// Frees a part of what is compacted: so many changes are looked at, or so many versions freed.
    pub(crate) fn compact_step(&self, budget: usize) -> Swept {
        let mut store = self.store.write();
        let floor = self.pins.lock().keys().next().copied();
        let swept = store.compact_step(floor, budget);
        self.in_use.store(store.bytes_in_use(), Relaxed);
        swept
    }

    /// Waits until the oldest read that was under way at the last call is over, or was over before this call.
    pub(crate) async fn unpinned(&self) {
        self.unpinned.notified().await;
    }

    /// Reads below are refused.
    pub(crate) fn compacted(&self) -> Revision {
        self.store().compaction.compacted()
    }

    /// Reads some keys, and answers the revision at which that was, and the last one applied.
    ///
    /// # Errors
    /// `Compacted`, `FutureRevision` and `WrongPartition`.
    pub(crate) fn get_many(
        &self,
        keys: &[Bytes],
        at: At,
    ) -> Result<(Revision, Vec<Option<KeyValue>>), Error> {
        if !keys.iter().all(|key| self.range.contains(key)) {
            return Err(Error::WrongPartition);
        }
        let store = self.store();
        let at = revision(&store, at)?;
        Ok((at, keys.iter().map(|key| store.get(key, at).map(Stored::key_value)).collect()))
    }

    /// The keys attached to `lease` now, sorted, and the revision at which that is so.
    pub(crate) fn lease_keys(&self, lease: LeaseId) -> (Revision, Vec<Bytes>) {
        let (revision, mut keys) = {
            let store = self.store();
            (store.revision, store.lease_keys(lease))
        };
        keys.sort_unstable();
        (revision, keys)
    }

    /// What happened to `keys` in the revisions from `from` to `upto`. Looks at whole revisions, and at no
    /// further one after `budget` changes, or `bytes` of those that it answers. Writers have their turn after each
    /// `budget` changes of a revision that has more.
    ///
    /// # Errors
    /// `Compacted` where `from` is below the compacted revision; that revision itself is still there.
    pub(crate) fn history(
        &self,
        from: Revision,
        upto: Revision,
        keys: &KeyRange,
        budget: usize,
        bytes: usize,
    ) -> Result<Happened, Error> {
        let (mut recall, mut compacted) = (Recall::new(from), None);
        loop {
            let store = self.store();
            store.compaction.check(from)?;
            // What was before the compacted revision is not told, and so of one revision either everywhere or nowhere.
            let is_compacted = store.compaction.compacted() == from;
            if compacted.replace(is_compacted).is_some_and(|before| before != is_compacted) {
                recall = Recall::new(from);
            }
            if let Some(next) = store.recall(&mut recall, upto, keys, budget, bytes) {
                return Ok(Happened { changes: recall.changes, next });
            }
        }
    }

    /// The versions behind `after` up to the revision `upto` that a compaction at `compacted` leaves, whether or
    /// not the others are already freed; `max` of them at most, in the order of (revision, sub). What a later
    /// compaction supersedes is among them for as long as it is not freed.
    pub(crate) fn versions(
        &self,
        upto: Revision,
        compacted: Revision,
        after: Position,
        max: usize,
    ) -> Vec<Version> {
        let store = self.store();
        store.versions(upto, compacted, after).take(max).map(|(_, version)| version.to_version()).collect()
    }

    /// The versions that HashKV looks at when this store is compacted at `compacted`.
    ///
    /// # Errors
    /// `Compacted` where it is compacted further than that, `FutureRevision` where it is not yet at `upto`.
    pub(crate) fn hashed(
        &self,
        upto: Revision,
        compacted: Revision,
        after: Position,
        max: usize,
    ) -> Result<Vec<Hashed>, Error> {
        let store = self.store();
        store.compaction.check(compacted)?;
        revision(&store, At::Revision(upto))?;
        let hashed = |(chain, version)| Hashed::new(chain, version, upto, compacted);
        Ok(store.versions(upto, store.compaction.compacted(), after).filter_map(hashed).take(max).collect())
    }

    /// What its versions take, as of the last change; not the room that those which are gone have left.
    pub(crate) fn bytes_in_use(&self) -> u64 {
        self.in_use.load(Relaxed)
    }

    pub(crate) fn stats(&self) -> PartitionStats {
        self.store().stats()
    }

    pub(crate) fn store(&self) -> RwLockReadGuard<'_, Store> {
        self.store.read()
    }

    /// To be called with the store locked, after `revision` was found to be readable.
    pub(crate) fn pin(&self, revision: Revision) -> Pin<'_> {
        *self.pins.lock().entry(revision).or_default() += 1;
        Pin { partition: self, revision }
    }
}

/// A write's place in its record.
fn sub(place: usize) -> u32 {
    u32::try_from(place).expect("a record of 128 MiB has fewer writes")
}

/// What tests ask that nobody else does.
#[cfg(test)]
impl Partition {
    /// As if memory had decayed: holds what nobody wrote.
    pub(crate) fn damage(&self, write: &journal::Write) {
        let mut store = self.store.write();
        let at = (store.revision, 1_000);
        store.apply(at, write);
    }

    /// The last revision applied.
    pub(crate) fn revision(&self) -> Revision {
        self.store().revision
    }

    /// Reads a range at once. `Memstore::range` makes room for others between the steps.
    ///
    /// # Errors
    /// `Compacted`, `FutureRevision` and `WrongPartition`.
    pub(crate) fn range_at_once(&self, query: &crate::query::Query) -> Result<crate::query::Answer, Error> {
        let mut reading = crate::reading::Reading::new(query);
        loop {
            if let Some(answer) = reading.step(self)? {
                return Ok(answer);
            }
        }
    }
}

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        let mut pins = self.partition.pins.lock();
        let count = pins.get_mut(&self.revision).expect("a pin is counted until it is dropped");
        *count -= 1;
        if *count == 0 {
            let is_oldest = pins.first_key_value().is_some_and(|(oldest, _)| *oldest == self.revision);
            pins.remove(&self.revision);
            if is_oldest {
                self.partition.unpinned.notify_one();
            }
        }
    }
}

#[cfg(test)]
mod tests;
