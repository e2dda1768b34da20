//! A serial etcd for tests, simple enough to trust: a list of all versions, looked through from the start for
//! every question.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use journal::{Batch, KeyRange, LeaseId, Revision, SysOp, Write};

use crate::event::{Change, EventKind};
use crate::hash_kv::{HashKv, Hashed};
use crate::key_value::{KeyValue, Version};
use crate::query::{Bounds, Projection, Query};

#[derive(Clone, Default)]
pub(crate) struct Model {
    /// Everything that ever happened, in order.
    pub(crate) versions: Vec<Version>,
    pub(crate) revision: Revision,
    pub(crate) compacted: Revision,
}

impl Model {
    pub(crate) fn new() -> Model {
        Model { revision: Revision::EMPTY_STORE, ..Model::default() }
    }

    pub(crate) fn apply(&mut self, batch: &Batch) {
        for (revision, record) in batch.revisions() {
            for (sub, write) in (0..).zip(&record.writes) {
                let prev = self.last(write.key()).filter(|kv| !kv.is_deleted());
                let kv = match write {
                    Write::Delete { .. } if prev.is_none() => continue,
                    Write::Delete { key } => KeyValue::deleted(key.clone(), revision),
                    Write::Put { key, value, lease } => KeyValue {
                        key: key.clone(),
                        value: value.clone(),
                        lease: *lease,
                        mod_revision: revision,
                        create_revision: prev.as_ref().map_or(revision, |prev| prev.create_revision),
                        version: prev.map_or(0, |prev| prev.version) + 1,
                    },
                };
                self.versions.push(Version { sub, kv });
            }
            if let Some(SysOp::Compact { revision }) = record.sysop {
                self.compacted = revision;
            }
        }
        self.revision = batch.last_revision();
    }

    fn last(&self, key: &Bytes) -> Option<KeyValue> {
        self.versions.iter().rev().find(|version| version.kv.key == *key).map(|version| version.kv.clone())
    }

    /// Every key that was there at `at`.
    pub(crate) fn state(&self, at: Revision) -> BTreeMap<Bytes, Version> {
        let mut state = BTreeMap::new();
        for version in self.versions.iter().filter(|version| version.kv.mod_revision <= at) {
            state.insert(version.kv.key.clone(), version.clone());
        }
        state.retain(|_, version| !version.kv.is_deleted());
        state
    }

    /// The keys, the count and whether there are more.
    pub(crate) fn range(&self, query: &Query, at: Revision) -> (Vec<KeyValue>, u64, bool) {
        let state = self.state(at);
        let there: Vec<_> = state.values().filter(|version| query.keys.contains(&version.kv.key)).collect();
        let Bounds { min_mod, max_mod, min_create, max_create } = query.bounds;
        let mut kvs: Vec<_> = there.iter().map(|version| version.kv.clone()).collect();
        kvs.retain(|kv| min_mod.is_none_or(|min| kv.mod_revision >= min));
        kvs.retain(|kv| max_mod.is_none_or(|max| kv.mod_revision <= max));
        kvs.retain(|kv| min_create.is_none_or(|min| kv.create_revision >= min));
        kvs.retain(|kv| max_create.is_none_or(|max| kv.create_revision <= max));
        let more = query.limit != 0 && kvs.len() > query.limit && query.projection != Projection::CountOnly;
        kvs.truncate(if query.limit == 0 { kvs.len() } else { query.limit });
        match query.projection {
            Projection::Full => {}
            Projection::KeysOnly => kvs.iter_mut().for_each(|kv| kv.value = Bytes::new()),
            Projection::CountOnly => kvs.clear(),
        }
        (kvs, u64::try_from(there.len()).unwrap(), more)
    }

    pub(crate) fn lease_keys(&self, lease: LeaseId) -> Vec<Bytes> {
        let state = self.state(self.revision);
        state
            .into_values()
            .filter(|version| version.kv.lease == lease)
            .map(|version| version.kv.key)
            .collect()
    }

    /// What etcd keeps: all above the compacted revision, the newest of each key at or below it, and of the
    /// deletions below none.
    pub(crate) fn kept(&self) -> Vec<Version> {
        let newest: BTreeMap<Bytes, _> = self
            .versions
            .iter()
            .filter(|version| version.kv.mod_revision <= self.compacted)
            .map(|version| (version.kv.key.clone(), version.position()))
            .collect();
        let kept = |version: &&Version| {
            let (revision, _) = version.position();
            let newest = newest.get(&version.kv.key) == Some(&version.position());
            revision > self.compacted || newest && (!version.kv.is_deleted() || revision == self.compacted)
        };
        self.versions.iter().filter(kept).cloned().collect()
    }

    /// What a watch of `keys` from `from` is told.
    pub(crate) fn changes(&self, from: Revision, upto: Revision, keys: &KeyRange) -> Vec<Change> {
        let told = self.kept().into_iter().filter(|version| {
            let (revision, _) = version.position();
            from <= revision && revision <= upto && keys.contains(&version.kv.key)
        });
        told.map(|Version { sub, kv }| {
            let revision = kv.mod_revision;
            let before = self.versions.iter().rev().find(|other| {
                other.kv.key == kv.key && other.kv.mod_revision < revision && self.compacted < revision
            });
            // Of a creation etcd tells nothing from before, also where the same transaction had deleted the key.
            let prev = before
                .map(|before| before.kv.clone())
                .filter(|before| !before.is_deleted() && kv.version != 1);
            let kind = if kv.is_deleted() { EventKind::Delete } else { EventKind::Put };
            Change { revision, sub, kind, kv, prev }
        })
        .collect()
    }

    pub(crate) fn hash(&self, upto: Revision) -> u32 {
        let visible: BTreeSet<_> = self.state(upto).values().map(Version::position).collect();
        let mut hash = HashKv::default();
        for version in self.kept().into_iter().filter(|version| version.kv.mod_revision <= upto) {
            let below = version.kv.mod_revision <= self.compacted;
            if below && version.kv.is_deleted() {
                continue;
            }
            let visible = visible.contains(&version.position());
            hash.feed(&Hashed { version, visible, below });
        }
        hash.finish()
    }
}
