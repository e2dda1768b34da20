//! Who appended what.

use std::collections::BTreeMap;

use super::{Act, Operation};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Write {
    /// Its position in the history.
    pub(super) operation: usize,
    /// The last that its transaction appends to the key: only then is it a version that others may read.
    pub(super) last: bool,
}

/// By key and value. Generators never append a value twice.
pub(super) struct Index(BTreeMap<i64, BTreeMap<i64, Write>>);

impl Index {
    pub(super) fn of(history: &[Operation]) -> Self {
        let mut index: BTreeMap<i64, BTreeMap<i64, Write>> = BTreeMap::new();
        for (operation, called) in history.iter().enumerate() {
            let mut newest: BTreeMap<i64, i64> = BTreeMap::new();
            for act in &called.call.0 {
                let Act::Append { key, value } = act else { continue };
                let writes = index.entry(*key).or_default();
                if let Some(before) = newest.insert(*key, *value) {
                    writes.entry(before).and_modify(|write| write.last = false);
                }
                let twice = writes.insert(*value, Write { operation, last: true });
                assert!(twice.is_none(), "the generator appended {value} to key {key} twice");
            }
        }
        Self(index)
    }

    pub(super) fn writer(&self, key: i64, value: i64) -> Option<Write> {
        self.0.get(&key)?.get(&value).copied()
    }

    pub(super) fn appended(&self, key: i64) -> impl Iterator<Item = (i64, Write)> {
        self.0.get(&key).into_iter().flatten().map(|(value, write)| (*value, *write))
    }
}
