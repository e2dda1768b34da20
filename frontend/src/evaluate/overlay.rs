//! What a transaction's later operations see of its earlier ones.

use std::collections::BTreeMap;

use bytes::Bytes;
use journal::{KeyRange, LeaseId, Revision};
use memstore::KeyValue;

/// Stands for the revision that the transaction will get. Above every other, so it sorts as it will.
pub(super) const OWN: Revision = Revision(u64::MAX);

/// What the transaction did to a key so far.
struct Own {
    /// `None` once deleted.
    put: Option<(Bytes, LeaseId)>,
    /// Puts since the start of the transaction, or since its own deletion.
    puts: u64,
    /// Deleted by this transaction at least once: what was there before it is gone.
    gone: bool,
}

/// A transaction's own writes over what was there at its start.
pub(super) struct Overlay {
    /// `None` where no later operation looks.
    own: Option<BTreeMap<Bytes, Own>>,
}

impl Overlay {
    pub(super) fn new(is_read: bool) -> Overlay {
        Overlay { own: is_read.then(BTreeMap::new) }
    }

    pub(super) fn put(&mut self, key: &Bytes, value: &Bytes, lease: LeaseId) {
        if let Some(own) = &mut self.own {
            let entry = own.entry(key.clone()).or_insert(Own { put: None, puts: 0, gone: false });
            entry.put = Some((value.clone(), lease));
            entry.puts += 1;
        }
    }

    pub(super) fn delete(&mut self, key: &Bytes) {
        if let Some(own) = &mut self.own {
            own.insert(key.clone(), Own { put: None, puts: 0, gone: true });
        }
    }

    /// Whether anything in `keys` was written.
    pub(super) fn touches(&self, keys: &KeyRange) -> bool {
        self.within(keys).next().is_some()
    }

    /// `base`, the keys of `keys` at the start, as they are now.
    pub(super) fn merge(&self, keys: &KeyRange, base: Vec<KeyValue>) -> Vec<KeyValue> {
        let mut merged = Vec::with_capacity(base.len());
        let mut base = base.into_iter().peekable();
        for (key, own) in self.within(keys) {
            while let Some(kv) = base.next_if(|kv| kv.key < *key) {
                merged.push(kv);
            }
            let before = base.next_if(|kv| kv.key == *key);
            merged.extend(own.over(key, before));
        }
        merged.extend(base);
        merged
    }

    fn within(&self, keys: &KeyRange) -> impl Iterator<Item = (&Bytes, &Own)> {
        let from = self.own.iter().flat_map(|own| own.range(keys.start().clone()..));
        from.take_while(|(key, _)| keys.contains(key))
    }
}

impl Own {
    fn over(&self, key: &Bytes, before: Option<KeyValue>) -> Option<KeyValue> {
        let (value, lease) = self.put.clone()?;
        let before = before.filter(|_| !self.gone);
        let (create_revision, puts_before) = before.map_or((OWN, 0), |kv| (kv.create_revision, kv.version));
        let version = puts_before + self.puts;
        Some(KeyValue { key: key.clone(), value, create_revision, mod_revision: OWN, version, lease })
    }
}
