//! Finding one key: a hash table in parts.
//!
//! Each entry keeps its hash, so that growing reads no keys, and the parts grow one at a time: a write that
//! makes a part grow moves a sixty-fourth of the entries. Nothing ever walks it, so its order reaches nobody.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::slab::{Slab, Slot};

const PARTS: usize = 64;

#[derive(Clone, Copy)]
struct Entry {
    hash: u32,
    slot: Slot,
}

pub(super) struct Points {
    parts: Vec<HashTable<Entry>>,
    hasher: DefaultHashBuilder,
}

impl Default for Points {
    fn default() -> Points {
        let parts = std::iter::repeat_with(HashTable::new).take(PARTS).collect();
        Points { parts, hasher: DefaultHashBuilder::default() }
    }
}

/// Spreads the kept half of a hash over all bits that a table looks at.
fn spread(entry: &Entry) -> u64 {
    u64::from(entry.hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

impl Points {
    pub(super) fn get(&self, slab: &Slab, key: &[u8]) -> Option<Slot> {
        let (part, entry) = self.locate(key, Slot(0));
        let same = |other: &Entry| other.hash == entry.hash && slab.get(other.slot).key() == key;
        self.parts[part].find(spread(&entry), same).map(|found| found.slot)
    }

    /// The key must not be there.
    pub(super) fn insert(&mut self, key: &[u8], slot: Slot) {
        let (part, entry) = self.locate(key, slot);
        self.parts[part].insert_unique(spread(&entry), entry, spread);
    }

    pub(super) fn remove(&mut self, key: &[u8], slot: Slot) {
        let (part, entry) = self.locate(key, slot);
        let found = self.parts[part].find_entry(spread(&entry), |other| other.slot == slot);
        found.ok().expect("a key that is forgotten was known").remove();
    }

    fn locate(&self, key: &[u8], slot: Slot) -> (usize, Entry) {
        let bytes = self.hasher.hash_one(key).to_le_bytes();
        let hash = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        (usize::from(bytes[4]) % PARTS, Entry { hash, slot })
    }
}
