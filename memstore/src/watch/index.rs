//! Which live watchers want a change of a key.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;
use journal::{KeyRange, Revision};

use super::range_index::{End, RangeIndex};
use super::shared::Shared;
use super::{WatchSpec, WatcherKey};
use crate::event::Change;

/// A live watcher as its hub sees it.
pub(super) struct Target {
    pub(super) stream: Arc<Shared>,
    pub(super) watcher: WatcherKey,
    pub(super) spec: WatchSpec,
    /// At least the specification's: what was before is told.
    pub(super) from: Revision,
}

impl Target {
    fn wants(&self, change: &Change) -> bool {
        self.from <= change.revision && self.spec.wants(change)
    }
}

/// Watchers with the same keys, by the names that the hub gave them.
type Group = BTreeMap<u64, Target>;

/// Watchers of one key are found by hash, watchers of ranges in a tree: the cost of a change is that of
/// telling those who want it, and hardly depends on how many others there are.
pub(super) struct Index {
    single: HashMap<Bytes, Group>,
    ranges: RangeIndex<Group>,
    len: usize,
}

impl Index {
    pub(super) fn new() -> Index {
        Index { single: HashMap::new(), ranges: RangeIndex::new(), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn insert(&mut self, name: u64, target: Target) {
        let group = match bounds(&target.spec.keys) {
            None => self.single.entry(target.spec.keys.start().clone()).or_default(),
            Some((start, end)) => self.ranges.entry(&start, &end, Group::new),
        };
        group.insert(name, target);
        self.len += 1;
    }

    /// Takes one out. `None` where it is not there.
    pub(super) fn remove(&mut self, name: u64, keys: &KeyRange) -> Option<Target> {
        let removed = match bounds(keys) {
            None => self.remove_single(name, keys.start()),
            Some((start, end)) => self.remove_range(name, &start, &end),
        }?;
        self.len -= 1;
        Some(removed)
    }

    /// Visits everyone who wants the change.
    pub(super) fn wanting(&self, change: &Change, mut visit: impl FnMut(u64, &Target)) {
        let key = &change.kv.key[..];
        let mut group = |group: &Group| {
            let wanting = group.iter().filter(|(_, target)| target.wants(change));
            wanting.for_each(|(name, target)| visit(*name, target));
        };
        if let Some(single) = self.single.get(key) {
            group(single);
        }
        self.ranges.at(key, &mut group);
    }

    /// Takes everyone out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Target> {
        let Index { single, ranges, .. } = std::mem::replace(self, Index::new());
        single.into_values().chain(ranges.into_values()).flat_map(BTreeMap::into_values)
    }

    fn remove_single(&mut self, name: u64, key: &Bytes) -> Option<Target> {
        let group = self.single.get_mut(key)?;
        let removed = group.remove(&name);
        if group.is_empty() {
            self.single.remove(key);
        }
        removed
    }

    fn remove_range(&mut self, name: u64, start: &Bytes, end: &End) -> Option<Target> {
        let group = self.ranges.get_mut(start, end)?;
        let removed = group.remove(&name);
        if group.is_empty() {
            self.ranges.remove(start, end);
        }
        removed
    }
}

/// Start and end of a range; `None` for a single key.
fn bounds(keys: &KeyRange) -> Option<(Bytes, End)> {
    match keys {
        KeyRange::Single(_) => None,
        KeyRange::Range { start, end } => Some((start.clone(), End::Before(end.clone()))),
        KeyRange::From(start) => Some((start.clone(), End::Never)),
    }
}
