//! One number for a set of versions, whatever order they come in.
//!
//!     hash(set) = sum of hash(version), mod 2^64
//!
//! Two replicas, or a snapshot and what was restored from it, hold the same versions if their numbers are the
//! same. It guards against mistakes and decay, not against an adversary. Its bytes are part of the snapshot's
//! format: docs/format.md.

use journal::{LeaseId, Revision};

use crate::key_value::Version;

/// The hash of the versions added so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SetHash(pub(crate) u64);

impl SetHash {
    pub(crate) fn add(&mut self, version: &Version) {
        self.0 = self.0.wrapping_add(hash(version));
    }
}

fn hash(version: &Version) -> u64 {
    let Version { sub, kv } = version;
    let Revision(modified) = kv.mod_revision;
    let Revision(created) = kv.create_revision;
    let LeaseId(lease) = kv.lease;
    let numbers = [modified, u64::from(*sub), created, kv.version, u64::from_le_bytes(lease.to_le_bytes())];
    let state = numbers.into_iter().fold(0, mix);
    bytes(bytes(state, &kv.key), &kv.value)
}

/// Mixes in the length and then the bytes, eight at a time, the last ones filled up with zeros.
fn bytes(state: u64, bytes: &[u8]) -> u64 {
    let length = u64::try_from(bytes.len()).expect("a length fits 64 bits");
    bytes.chunks(8).fold(mix(state, length), |state, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        mix(state, u64::from_le_bytes(word))
    })
}

/// The finish of splitmix64 over the sum; no word that is mixed in can undo another by being swapped with it.
fn mix(state: u64, word: u64) -> u64 {
    let mut mixed = (state ^ word).wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::key_value::KeyValue;

    fn version(key: &'static str, value: &'static str, sub: u32) -> Version {
        let kv = KeyValue {
            key: Bytes::from_static(key.as_bytes()),
            value: Bytes::from_static(value.as_bytes()),
            create_revision: Revision(2),
            mod_revision: Revision(3),
            version: 2,
            lease: LeaseId(-1),
        };
        Version { sub, kv }
    }

    fn set(versions: &[Version]) -> SetHash {
        let mut hash = SetHash::default();
        versions.iter().for_each(|version| hash.add(version));
        hash
    }

    #[test]
    fn the_order_does_not_matter_and_every_part_does() {
        let (a, b) = (version("a", "value of a", 0), version("b", "", 1));
        assert_eq!(set(&[a.clone(), b.clone()]), set(&[b.clone(), a.clone()]));
        let others =
            [version("a", "value of b", 0), version("av", "alue of a", 0), version("a", "value of a", 1)];
        for other in others {
            assert_ne!(set(&[other, b.clone()]), set(&[a.clone(), b.clone()]));
        }
    }

    /// A changed number would refuse every snapshot there is.
    #[test]
    fn the_number_is_for_ever() {
        assert_eq!(set(&[version("key", "a longer value", 7)]), SetHash(16_971_561_217_344_367_916));
    }
}
