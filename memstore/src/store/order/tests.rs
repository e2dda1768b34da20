//! The order of keys against a sorted list of them.

use std::collections::BTreeMap;

use bytes::Bytes;
use journal::Revision;
use proptest::prelude::*;

use super::*;
use crate::key_value::{KeyValue, Version};
use crate::store::{Chain, Stored};

/// The tree beside a map that knows the same.
#[derive(Default)]
struct Both {
    slab: Slab,
    order: Order,
    map: BTreeMap<Bytes, (Slot, bool)>,
    revision: u64,
}

impl Both {
    fn version(&mut self, key: &Bytes, alive: bool) -> Stored {
        self.revision += 1;
        let deleted = KeyValue::deleted(key.clone(), Revision(self.revision));
        Stored::new(&Version { sub: 0, kv: KeyValue { version: alive.into(), ..deleted } })
    }

    fn put(&mut self, key: &Bytes, alive: bool) {
        let version = self.version(key, alive);
        match self.map.get_mut(key) {
            Some((slot, was_alive)) => {
                self.slab.get_mut(*slot).push(version);
                *was_alive = alive;
                self.order.mark(&self.slab, key, alive);
            }
            None => {
                let slot = self.slab.insert(Chain::new(version));
                self.order.insert(&self.slab, slot);
                self.map.insert(key.clone(), (slot, alive));
            }
        }
    }

    fn remove(&mut self, key: &Bytes) {
        if let Some((slot, _)) = self.map.remove(key) {
            self.order.remove(&self.slab, key);
            self.slab.remove(slot);
        }
    }

    fn check(&self) {
        let mut sum = Sum::default();
        for (key, (_, alive)) in &self.map {
            assert_eq!(self.order.before(&self.slab, key), sum, "before {key:?}");
            sum = sum.plus(Sum { all: 1, alive: (*alive).into() });
        }
        assert_eq!(self.order.sum(), sum);
        for lower in [Lower::At(b""), Lower::At(b"5"), Lower::Behind(b"5"), Lower::Behind(b"500")] {
            let mut walked = Vec::new();
            self.order.walk(&self.slab, lower, |slot| {
                walked.push(slot);
                ControlFlow::Continue(())
            });
            let behind = self.map.iter().filter(|(key, _)| !lower.excludes(key));
            assert_eq!(walked, behind.map(|(_, (slot, _))| *slot).collect::<Vec<_>>());
        }
    }
}

fn key(number: u32) -> Bytes {
    number.to_string().into()
}

#[test]
fn ascending_keys_leave_full_leaves() {
    let mut both = Both::default();
    (10_000..20_000).for_each(|number| both.put(&key(number), true));
    both.check();
    let Node::Inner(children) = &both.order.root.node else { panic!("one leaf holds so many?") };
    assert_eq!(children[0].node.len_max(), children[0].node.len());
}

#[test]
fn a_tree_that_empties_shrinks() {
    let mut both = Both::default();
    (0..20_000).for_each(|number| both.put(&key(number * 7_919 % 20_000), number % 3 != 0));
    both.check();
    for number in 0..20_000_u32 {
        both.remove(&key(number * 6_151 % 20_000));
        if number % 4_999 == 0 {
            both.check();
        }
    }
    assert!(matches!(&both.order.root.node, Node::Leaf(entries) if entries.is_empty()));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn it_agrees_with_a_map(steps in proptest::collection::vec((0..3_000_u32, 0..400_u32, 0..5_u8), 1..60)) {
        let mut both = Both::default();
        for (from, length, act) in steps {
            for number in from..from + length {
                match act {
                    0 | 1 => both.put(&key(number), true),
                    2 => both.put(&key(number), false),
                    _ => both.remove(&key(number)),
                }
            }
        }
        both.check();
    }
}
