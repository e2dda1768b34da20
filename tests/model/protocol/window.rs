//! Recent writes, by which the sequencer sees whether a footprint has changed: hashed slots for single keys, a ring
//! for ranges, a floor below which nothing is known.
//!
//! The slots are so few that nearly every key shares one. That costs retries, and must never miss a change.

use std::collections::VecDeque;

use super::broken::Broken;
use super::record::{Key, KeyRange, LeaseId, Read, Revision, Write};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    Fresh,
    Changed { newest: Revision },
    Unknowable { readable: Revision },
}

#[derive(Debug)]
pub(crate) struct Window {
    floor: Revision,
    last: Revision,
    slots: Vec<Revision>,
    ring: VecDeque<(Key, Revision)>,
    ring_keys_max: usize,
    /// Below it the ring has forgotten something.
    ring_floor: Revision,
    broken: Option<Broken>,
}

impl Window {
    pub(crate) fn new(last: Revision, slots: usize, ring_keys_max: usize, broken: Option<Broken>) -> Window {
        let floor = if broken == Some(Broken::FloorForgotten) { 0 } else { last };
        let ring = VecDeque::with_capacity(ring_keys_max + 1);
        Window { floor, last, slots: vec![0; slots], ring, ring_keys_max, ring_floor: floor, broken }
    }

    fn key_slot(&self, key: Key) -> usize {
        (key * 7 + 3) % self.slots.len()
    }

    fn lease_slot(&self, lease: LeaseId) -> usize {
        (lease * 5 + 1) % self.slots.len()
    }

    pub(crate) fn note(&mut self, writes: &[Write], revision: Revision) {
        self.last = revision;
        for write in writes {
            let slot = self.key_slot(write.key());
            self.slots[slot] = revision;
            if let Some(lease) = write.lease() {
                let slot = self.lease_slot(lease);
                self.slots[slot] = revision;
            }
            self.ring.push_back((write.key(), revision));
            if self.ring.len() > self.ring_keys_max {
                let (_, forgotten) = self.ring.pop_front().expect("it is not empty");
                self.ring_floor = forgotten;
            }
        }
    }

    /// Whether anything that was read has changed since.
    pub(crate) fn check(&self, reads: &[Read]) -> Freshness {
        let mut worst = Freshness::Fresh;
        for read in reads {
            match (self.check_read(*read), worst) {
                (Freshness::Fresh, _) => {}
                (unknowable @ Freshness::Unknowable { .. }, _) => return unknowable,
                (Freshness::Changed { newest: a }, Freshness::Changed { newest: b }) => {
                    worst = Freshness::Changed { newest: a.max(b) };
                }
                (changed, _) => worst = changed,
            }
        }
        worst
    }

    fn check_read(&self, read: Read) -> Freshness {
        match read {
            _ if read.at() < self.floor => Freshness::Unknowable { readable: self.floor },
            Read::Lease { lease, at } => changed_since(at, self.slots[self.lease_slot(lease)]),
            Read::Keys { keys, at } if keys.is_single() => self.check_key(keys.from, at),
            Read::Keys { keys, at } => self.check_range(keys, at),
        }
    }

    fn check_key(&self, key: Key, at: Revision) -> Freshness {
        if self.broken == Some(Broken::KeysUnchecked) {
            return Freshness::Fresh;
        }
        changed_since(at, self.slots[self.key_slot(key)])
    }

    fn check_range(&self, keys: KeyRange, at: Revision) -> Freshness {
        if self.broken == Some(Broken::RangesUnchecked) {
            return Freshness::Fresh;
        }
        if at < self.ring_floor && self.broken != Some(Broken::RingForgets) {
            return Freshness::Unknowable { readable: self.last };
        }
        let newest = self.ring.iter().rev().find(|(key, _)| keys.contains(*key));
        newest.map_or(Freshness::Fresh, |(_, newest)| changed_since(at, *newest))
    }
}

fn changed_since(at: Revision, newest: Revision) -> Freshness {
    if at < newest { Freshness::Changed { newest } } else { Freshness::Fresh }
}
