//! The last revision written per hash slot: a flat table that forgets nothing and evicts nothing.
//!
//! Two keys in one slot look like one that is written more often, which can only be too careful. The table is
//! asked of the system zeroed, so what was never touched takes no memory.

use crate::record::LeaseId;
use crate::revision::Revision;

/// Sets leases apart from keys: a lease is noted as if it were a key of its own.
const LEASES: u64 = 0x9e37_79b9_7f4a_7c15;

pub(super) struct Slots {
    revisions: Box<[u64]>,
    mask: usize,
    seed: u64,
}

impl Slots {
    /// A table of `slots`, a power of two. The seed keeps clients from choosing keys that share a slot.
    pub(super) fn new(slots: usize, seed: u64) -> Slots {
        assert!(slots.is_power_of_two(), "slots are taken by a mask");
        Slots { revisions: vec![0; slots].into_boxed_slice(), mask: slots - 1, seed }
    }

    pub(super) fn note_key(&mut self, key: &[u8], revision: Revision) {
        let slot = self.slot(self.seed, key);
        self.revisions[slot] = revision.0;
    }

    pub(super) fn note_lease(&mut self, lease: LeaseId, revision: Revision) {
        let slot = self.slot(self.seed ^ LEASES, &lease.0.to_le_bytes());
        self.revisions[slot] = revision.0;
    }

    /// A revision at or above the key's last; `Revision::ZERO` where it was not written.
    pub(super) fn key(&self, key: &[u8]) -> Revision {
        Revision(self.revisions[self.slot(self.seed, key)])
    }

    /// A revision at or above the last at which a key was attached to the lease.
    pub(super) fn lease(&self, lease: LeaseId) -> Revision {
        Revision(self.revisions[self.slot(self.seed ^ LEASES, &lease.0.to_le_bytes())])
    }

    fn slot(&self, seed: u64, bytes: &[u8]) -> usize {
        let [a, b, c, d, e, f, g, h] = hash(seed, bytes).to_le_bytes();
        let folded = u32::from_le_bytes([a, b, c, d]) ^ u32::from_le_bytes([e, f, g, h]);
        usize::try_from(folded).expect("addresses have 32 bits or more") & self.mask
    }
}

/// A keyed hash, eight bytes a step: each is mixed in by a full multiplication whose halves are folded.
fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut state = mix(seed ^ 0xa076_1d64_78bd_642f, bytes.len() as u64 ^ 0xe703_7ed1_a0b4_28db);
    for word in words {
        state = mix(state ^ u64::from_le_bytes(*word), 0x8ebc_6af0_9c88_c6e3 ^ seed);
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(state ^ u64::from_le_bytes(last), 0x5899_65cc_7537_4cc3 ^ seed.rotate_left(32))
}

fn mix(a: u64, b: u64) -> u64 {
    let (low, high) = a.carrying_mul(b, 0);
    // Without the summand, a zero would swallow everything before it.
    low ^ high ^ a.wrapping_add(b.rotate_left(17))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_was_not_written_is_at_zero() {
        let mut slots = Slots::new(1 << 16, 7);
        slots.note_key(b"a", Revision(5));
        assert_eq!(slots.key(b"a"), Revision(5));
        assert_eq!(slots.key(b"b"), Revision::ZERO);
    }

    #[test]
    fn a_lease_is_not_the_key_of_the_same_bytes() {
        let mut slots = Slots::new(1 << 16, 7);
        slots.note_lease(LeaseId(77), Revision(5));
        assert_eq!(slots.lease(LeaseId(77)), Revision(5));
        assert_eq!(slots.key(&77i64.to_le_bytes()), Revision::ZERO);
    }

    #[test]
    fn keys_spread_over_the_slots() {
        let slots = Slots::new(1 << 12, 7);
        let mut used = vec![0u32; 1 << 12];
        for n in 0..(1 << 15) {
            let key = format!("/registry/pods/default/pod-{n:08}");
            used[slots.slot(7, key.as_bytes())] += 1;
        }
        // Eight each on average; a fair spread has none above thirty.
        assert!(used.iter().all(|count| *count < 30), "at most {:?}", used.iter().max());
        assert!(used.iter().filter(|count| **count == 0).count() < 10);
    }

    #[test]
    fn the_seed_decides_who_shares_a_slot() {
        let [one, two] = [1, 2].map(|seed| Slots::new(1 << 8, seed));
        let keys: Vec<String> = (0..1000).map(|n| format!("key-{n}")).collect();
        let same = keys.iter().filter(|key| one.slot(1, key.as_bytes()) == two.slot(2, key.as_bytes()));
        assert!(same.count() < 30);
    }
}
