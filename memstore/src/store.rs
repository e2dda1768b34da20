//! The keys of one partition with all their versions.
//!
//!     points  key ─► slot          one key
//!     order   slots by key         ranges and counts
//!     slab    slot ─► chain        every version of a key, the newest in place
//!     history slots by revision    watches that catch up, counts in the past, hashes, snapshots
//!
//! It knows nothing of locks, of time, or of how far the journal goes. It cannot fail: what it is told has
//! happened.

mod chain;
pub(crate) mod order;
mod packed;
mod points;
pub(crate) mod slab;

use std::ops::ControlFlow;

use bytes::Bytes;
use journal::{KeyRange, LeaseId, Revision, Write};

use crate::compaction::Compaction;
use crate::event::{Change, EventKind};
use crate::history::{Entry, History, Life, Position, Recall};
use crate::key_value::{KeyValue, Version};
use crate::lease_index::LeaseIndex;
use crate::pause::work;
use crate::stats::PartitionStats;
pub(crate) use chain::{Chain, Stored};
pub(crate) use order::Lower;
use order::{Order, Sum};
use points::Points;
use slab::{Slab, Slot};

#[derive(Default)]
pub(crate) struct Store {
    slab: Slab,
    points: Points,
    order: Order,
    pub(crate) history: History,
    leases: LeaseIndex,
    /// The last revision of the whole store that this partition knows of.
    pub(crate) revision: Revision,
    pub(crate) compaction: Compaction,
    bytes: u64,
    done: Done,
    /// Writes of the next batch that have happened already, also of keys of other partitions, where the batch is so long that
    /// it is applied in steps. They lie behind `revision`, and every question is answered as of a revision, so no reader
    /// sees them.
    pub(crate) staged: usize,
}

/// What was done since the process began, counted for the operator.
#[derive(Default)]
struct Done {
    puts: u64,
    put_bytes: u64,
    deletes: u64,
    freed: u64,
}

impl Store {
    pub(crate) fn new() -> Store {
        Store { revision: Revision::EMPTY_STORE, ..Store::default() }
    }

    /// A store to be filled with all that is kept at `revision`, when it is compacted at `compacted`.
    pub(crate) fn at(revision: Revision, compacted: Revision) -> Store {
        Store { revision, compaction: Compaction::swept(compacted), ..Store::default() }
    }

    /// A store to be filled from several sources that stand at `revision` or behind it. It can be read once it
    /// `settle`s.
    pub(crate) fn gathering(revision: Revision, compaction: Compaction) -> Store {
        Store { revision, compaction, history: History::unsorted(), ..Store::default() }
    }

    /// What was gathered is all of one revision now.
    pub(crate) fn settle(&mut self) {
        self.history.sort();
    }

    /// Makes a write happen. `None` for a deletion of what is not there.
    pub(crate) fn apply(&mut self, (revision, sub): Position, write: &Write) -> Option<Change> {
        let prev = self.get(write.key(), Revision(u64::MAX)).map(Stored::key_value);
        let (kind, kv) = match write {
            Write::Put { key, value, lease } => {
                (EventKind::Put, put(key, value, *lease, revision, prev.as_ref()))
            }
            Write::Delete { .. } if prev.is_none() => return None,
            Write::Delete { key } => (EventKind::Delete, KeyValue::deleted(key.clone(), revision)),
        };
        let told =
            prev.filter(|prev| prev.mod_revision < revision).or_else(|| self.before(write.key(), revision));
        let prev = told.filter(|_| kv.version != 1);
        self.done.count(&kv, kind);
        let kv = self.insert(&Version { sub, kv });
        Some(Change { revision, sub, kind, kv, prev })
    }

    /// The key as it was before a revision. What a watcher is told to have been before a change is that, and not
    /// what an earlier write of the same record had made of the key, because etcd tells it so.
    fn before(&self, key: &Bytes, revision: Revision) -> Option<KeyValue> {
        self.get(key, Revision(revision.0 - 1)).map(Stored::key_value)
    }

    /// Adds a version and answers it as the store shares it. They come in the order of (revision, sub).
    pub(crate) fn insert(&mut self, version: &Version) -> KeyValue {
        work::did(1);
        let stored = Stored::new(version);
        let kv = stored.key_value();
        self.bytes += stored.weight();
        let (slot, was_alive) = match self.points.get(&self.slab, &kv.key) {
            Some(slot) => (slot, self.push(slot, stored)),
            None => (self.add(stored), false),
        };
        let life = match (was_alive, kv.is_deleted()) {
            (false, false) => Life::Born,
            (true, true) => Life::Died,
            (true, false) | (false, true) => Life::Lives,
        };
        self.history.push(Entry::new(version.position(), life, slot));
        kv
    }

    /// Adds a version to a key that is known. Answers whether it was alive before.
    fn push(&mut self, slot: Slot, stored: Stored) -> bool {
        let chain = self.slab.get_mut(slot);
        let (was_alive, lease_before) = (chain.is_alive(), chain.head().lease);
        let lease = stored.lease;
        chain.push(stored);
        self.leases.attach(slot, lease_before, lease);
        let chain = self.slab.get(slot);
        if chain.is_alive() != was_alive {
            self.order.mark(&self.slab, chain.key(), !was_alive);
        }
        was_alive
    }

    fn add(&mut self, stored: Stored) -> Slot {
        let (key, lease) = (stored.key_bytes(), stored.lease);
        let slot = self.slab.insert(Chain::new(stored));
        self.points.insert(&key, slot);
        self.order.insert(&self.slab, slot);
        self.leases.attach(slot, LeaseId::NONE, lease);
        slot
    }

    /// The key as it was at `at`.
    pub(crate) fn get(&self, key: &[u8], at: Revision) -> Option<&Stored> {
        self.slab.get(self.points.get(&self.slab, key)?).alive(at)
    }

    pub(crate) fn chain(&self, slot: Slot) -> &Chain {
        self.slab.get(slot)
    }

    /// Visits the keys of the range that were there at `at`, in order, and looks at no more than `budget` keys.
    /// Answers the last key looked at when there may be more behind it.
    pub(crate) fn scan(
        &self,
        keys: &KeyRange,
        lower: Lower<'_>,
        at: Revision,
        budget: usize,
        mut visit: impl FnMut(&Stored) -> ControlFlow<()>,
    ) -> Option<Bytes> {
        let mut looked = 0;
        let mut last = None;
        self.order.walk(&self.slab, lower, |slot| {
            let chain = self.slab.get(slot);
            if !keys.contains(chain.key()) {
                return ControlFlow::Break(());
            }
            if let Some(version) = chain.alive(at) {
                visit(version)?;
            }
            looked += 1;
            if looked < budget {
                return ControlFlow::Continue(());
            }
            last = Some(chain.head().key_bytes());
            ControlFlow::Break(())
        });
        last
    }

    /// Visits all versions of each key from `lower` on, in order, until told to stop.
    pub(crate) fn walk(&self, lower: Lower<'_>, mut visit: impl FnMut(&Chain) -> ControlFlow<()>) {
        self.order.walk(&self.slab, lower, |slot| visit(self.slab.get(slot)));
    }

    /// The keys of the last `max` changes.
    pub(crate) fn last_written(&self, max: usize) -> Vec<Bytes> {
        let last = self.history.last().take(max);
        last.map(|entry| self.chain(entry.slot).head().key_bytes()).collect()
    }

    /// How many keys of the range there are now.
    pub(crate) fn sum(&self, keys: &KeyRange) -> Sum {
        let before = |key: &[u8]| self.order.before(&self.slab, key);
        match keys {
            _ if keys.is_empty() => Sum::default(),
            KeyRange::Single(key) => {
                let slot = self.points.get(&self.slab, key);
                slot.map_or(Sum::default(), |slot| Sum { all: 1, alive: self.chain(slot).is_alive().into() })
            }
            KeyRange::Range { start, end } => before(end).minus(before(start)),
            KeyRange::From(start) => self.order.sum().minus(before(start)),
        }
    }

    /// The keys attached to `lease` at `revision`, in no order.
    pub(crate) fn lease_keys(&self, lease: LeaseId) -> Vec<Bytes> {
        let at = self.revision;
        let held = |slot: Slot| self.chain(slot).alive(at).filter(|version| version.lease == lease);
        let mut slots: Vec<Slot> = self.leases.slots(lease).collect();
        if self.staged > 0 {
            // What is attached otherwise by then.
            slots.extend(self.history.from((at.next(), 0)).map(|entry| entry.slot));
            slots.sort_unstable();
            slots.dedup();
        }
        slots.into_iter().filter_map(held).map(Stored::key_bytes).collect()
    }

    /// Looks at the next `budget` changes up to the revision `upto`, and keeps those of `keys`. `None`: the last revision goes
    /// on. Otherwise the first revision not looked at: none after `budget` changes, or `bytes` of those that are kept. What
    /// is recalled must not be below the compacted revision.
    pub(crate) fn recall(
        &self,
        recall: &mut Recall,
        upto: Revision,
        keys: &KeyRange,
        budget: usize,
        bytes: usize,
    ) -> Option<Revision> {
        for (looked, entry) in self.history.from(recall.next).enumerate() {
            if upto < entry.revision {
                break;
            }
            if (budget <= recall.looked || bytes <= recall.bytes) && recall.last < entry.revision {
                return Some(entry.revision);
            }
            if budget <= looked && 0 < looked {
                recall.next = entry.position();
                return None;
            }
            recall.looked += 1;
            recall.last = entry.revision;
            if keys.contains(self.chain(entry.slot).key()) {
                let change = self.change(&entry);
                recall.bytes += change.as_ref().map_or(0, Change::weight);
                recall.changes.extend(change);
            }
        }
        Some(upto.next().max(recall.from()))
    }

    fn change(&self, entry: &Entry) -> Option<Change> {
        let (position, compacted) = (entry.position(), self.compaction.compacted());
        let chain = self.chain(entry.slot);
        if !chain.survives(position, compacted) {
            return None;
        }
        let version = chain.find(position).expect("the history names what is kept");
        let kv = version.key_value();
        let before = chain.newest(Revision(position.0.0 - 1));
        // What was before the compacted revision is forgotten, whether or not its memory is already free.
        let told = compacted < position.0 && kv.version != 1;
        let before = before.filter(|before| told && !before.is_deleted());
        let kind = if version.is_deleted() { EventKind::Delete } else { EventKind::Put };
        let (revision, sub) = position;
        Some(Change { revision, sub, kind, kv, prev: before.map(Stored::key_value) })
    }

    /// The versions behind `after` up to the revision `upto` that survive a compaction at `compacted`, in order.
    pub(crate) fn versions(
        &self,
        upto: Revision,
        compacted: Revision,
        (revision, sub): Position,
    ) -> impl Iterator<Item = (&Chain, &Stored)> {
        let entries = self.history.from((revision, sub + 1)).take_while(move |entry| entry.revision <= upto);
        entries.filter_map(move |entry| {
            let chain = self.chain(entry.slot);
            let version = chain.find(entry.position()).expect("the history names what is kept");
            chain.survives(entry.position(), compacted).then_some((chain, version))
        })
    }

    /// Forgets versions of one key that a compaction at `at` does not leave, `max` and its newest at most. Answers how many.
    pub(crate) fn prune(&mut self, slot: Slot, at: Revision, max: usize) -> usize {
        let (history, bytes, freed) = (&mut self.history, &mut self.bytes, &mut self.done.freed);
        // A key may be forgotten before the last of its changes is looked at.
        let Some(chain) = self.slab.find_mut(slot) else { return 0 };
        let mut count = 0;
        let left = chain.prune(at, max, |version| {
            count += 1;
            history.forget(version.position());
            *bytes -= version.weight();
            *freed += 1;
            work::did(1);
        });
        if !left {
            let key = self.slab.get(slot).head().key_bytes();
            self.order.remove(&self.slab, &key);
            self.points.remove(&key, slot);
            self.slab.remove(slot);
        }
        count
    }

    /// What is in use, and room kept for keys to come. Counted, not measured.
    fn bytes_total(&self) -> u64 {
        self.bytes_in_use() + self.slab.spare_bytes()
    }

    /// What its versions take.
    pub(crate) fn weight(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn bytes_in_use(&self) -> u64 {
        self.bytes + number(self.order.sum().all * KEY_BYTES + size_of::<Store>())
    }

    pub(crate) fn stats(&self) -> PartitionStats {
        let Sum { alive, .. } = self.order.sum();
        let compacted = self.compaction.compacted();
        PartitionStats {
            keys: number(alive),
            versions: number(self.history.len()),
            events: number(self.history.about_after((compacted, 0))),
            bytes_total: self.bytes_total(),
            bytes_in_use: self.bytes_in_use(),
            leased_keys: number(self.leases.keys()),
            puts: self.done.puts,
            put_bytes: self.done.put_bytes,
            deletes: self.done.deletes,
            freed: self.done.freed,
            compacted,
            ..PartitionStats::default()
        }
    }
}

/// About what a key needs beside its versions: its entries in `points` and `order`.
const KEY_BYTES: usize = 24;

impl Done {
    fn count(&mut self, kv: &KeyValue, kind: EventKind) {
        match kind {
            EventKind::Put => {
                self.puts += 1;
                self.put_bytes += number(kv.key.len() + kv.value.len());
            }
            EventKind::Delete => self.deletes += 1,
        }
    }
}

fn number(length: usize) -> u64 {
    u64::try_from(length).expect("a length fits 64 bits")
}

fn put(key: &Bytes, value: &Bytes, lease: LeaseId, revision: Revision, prev: Option<&KeyValue>) -> KeyValue {
    KeyValue {
        key: key.clone(),
        value: value.clone(),
        create_revision: prev.map_or(revision, |prev| prev.create_revision),
        mod_revision: revision,
        version: prev.map_or(1, |prev| prev.version + 1),
        lease,
    }
}
