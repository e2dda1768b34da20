//! Which memstores hold which keys: one journaled value, changed by naming the version that follows.

use super::record::KeyRange;

/// A memstore's number; none is used twice.
pub(crate) type MemstoreId = usize;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Partition {
    pub(crate) keys: KeyRange,
    pub(crate) replicas: Vec<MemstoreId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Routes {
    pub(crate) version: usize,
    /// One after the other, over all keys.
    pub(crate) partitions: Vec<Partition>,
}

impl Routes {
    pub(crate) fn names(&self, memstore: MemstoreId) -> bool {
        self.partitions.iter().any(|partition| partition.replicas.contains(&memstore))
    }

    /// The partitions that hold some of the keys.
    pub(crate) fn of(&self, keys: KeyRange) -> impl Iterator<Item = &Partition> {
        self.partitions.iter().filter(move |partition| partition.keys.overlaps(keys))
    }
}
