//! Keys in use. One that was used enough is never used again, so that a checker's work has a bound.

use std::collections::BTreeMap;

use rand::RngExt;
use rand::rngs::StdRng;

#[derive(Debug)]
pub struct Keys {
    active: Vec<i64>,
    next: i64,
    uses_max: u32,
    /// Of every key there was.
    uses: BTreeMap<i64, u32>,
}

impl Keys {
    /// So many at a time, each used so often.
    pub fn new(active: i64, uses_max: u32) -> Self {
        Self {
            active: (0..active).collect(),
            next: active,
            uses_max,
            uses: (0..active).map(|key| (key, 0)).collect(),
        }
    }

    pub fn draw(&self, random: &mut StdRng) -> i64 {
        self.active[random.random_range(0..self.active.len())]
    }

    /// Counts what is spent of a key.
    pub fn spend(&mut self, key: i64, uses: u32) {
        let spent = self.uses.entry(key).or_default();
        *spent += uses;
        if *spent < self.uses_max {
            return;
        }
        if let Some(active) = self.active.iter_mut().find(|active| **active == key) {
            *active = self.next;
            self.uses.insert(self.next, 0);
            self.next += 1;
        }
    }

    pub fn used(&self) -> Vec<i64> {
        self.uses.keys().copied().collect()
    }
}

#[test]
fn a_key_that_was_used_enough_makes_room_for_another() {
    let mut keys = Keys::new(2, 3);
    (0..3).for_each(|_| keys.spend(0, 1));
    keys.spend(1, 2);
    assert_eq!((keys.active.clone(), keys.used()), (vec![2, 1], vec![0, 1, 2]));
}
