//! etcd's HashKV: one number for all that a store keeps up to a revision, bit for bit etcd's.
//!
//!     crc32c("key", then of each version in the order of (revision, sub):
//!            revision 8B │ '_' │ sub 8B │ 't' if a deletion │ mvccpb.KeyValue)            numbers big endian
//!
//! What counts: every version above the compacted revision, and at or below it those that are still visible at
//! the hashed revision. Where nothing at all is visible there, etcd leaves that second rule out.
//!
//! One thing is not etcd's: at a revision that was compacted, etcd goes on answering, from a list of the last ten,
//! what its compaction had computed against the one before. Here that hash is made anew, like every other.

use prost::Message;
use proto::mvccpb;

use journal::Revision;

use crate::history::Position;
use crate::key_value::Version;
use crate::store::{Chain, Stored};

/// A version that may count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hashed {
    pub(crate) version: Version,
    /// The key is what this version says when read at the hashed revision.
    pub(crate) visible: bool,
    /// At or below the compacted revision.
    pub(crate) below: bool,
}

impl Hashed {
    /// `None` for what a compaction at `compacted` leaves out, and for a deletion exactly there: some of etcd's
    /// releases keep that one and others do not, so none of them hashes it.
    pub(crate) fn new(
        chain: &Chain,
        version: &Stored,
        upto: Revision,
        compacted: Revision,
    ) -> Option<Hashed> {
        let position = version.position();
        let below = position.0 <= compacted;
        if below && (version.is_deleted() || !chain.survives(position, compacted)) {
            return None;
        }
        let newest = chain.newest(upto).map(Stored::position);
        let visible = newest == Some(position) && !version.is_deleted();
        Some(Hashed { version: version.to_version(), visible, below })
    }

    pub(crate) fn position(&self) -> Position {
        self.version.position()
    }
}

/// The same without its bytes: their CRC stands for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HashedBytes {
    pub(crate) position: Position,
    pub(crate) crc: u32,
    pub(crate) bytes: u64,
    pub(crate) visible: bool,
    pub(crate) below: bool,
}

impl Hashed {
    /// `buffer` is room to work in.
    pub(crate) fn to_bytes(&self, buffer: &mut Vec<u8>) -> HashedBytes {
        encode(&self.version, buffer);
        let bytes = u64::try_from(buffer.len()).expect("a length fits 64 bits");
        let (position, crc) = (self.position(), crc32c::crc32c(buffer));
        HashedBytes { position, crc, bytes, visible: self.visible, below: self.below }
    }
}

/// The hash under way. It is fed every version of every partition in the order of (revision, sub).
pub(crate) struct HashKv {
    /// Of what counts if anything is visible.
    strict: u32,
    /// Of what counts if nothing is.
    lenient: u32,
    any_visible: bool,
    bytes: Vec<u8>,
}

impl Default for HashKv {
    fn default() -> HashKv {
        // The name of the bucket that etcd keeps them in.
        let name = crc32c::crc32c(b"key");
        HashKv { strict: name, lenient: name, any_visible: false, bytes: Vec::new() }
    }
}

impl HashKv {
    pub(crate) fn feed(&mut self, hashed: &Hashed) {
        encode(&hashed.version, &mut self.bytes);
        self.any_visible |= hashed.visible;
        if hashed.visible || !hashed.below {
            self.strict = crc32c::crc32c_append(self.strict, &self.bytes);
        }
        if !self.any_visible {
            self.lenient = crc32c::crc32c_append(self.lenient, &self.bytes);
        }
    }

    /// As `feed`, of a version whose bytes are elsewhere.
    pub(crate) fn join(&mut self, hashed: &HashedBytes) {
        let length = usize::try_from(hashed.bytes).unwrap_or(usize::MAX);
        self.any_visible |= hashed.visible;
        if hashed.visible || !hashed.below {
            self.strict = crc32c::crc32c_combine(self.strict, hashed.crc, length);
        }
        if !self.any_visible {
            self.lenient = crc32c::crc32c_combine(self.lenient, hashed.crc, length);
        }
    }

    pub(crate) fn finish(self) -> u32 {
        if self.any_visible { self.strict } else { self.lenient }
    }
}

fn encode(Version { sub, kv }: &Version, bytes: &mut Vec<u8>) {
    bytes.clear();
    bytes.extend(kv.mod_revision.0.to_be_bytes());
    bytes.push(b'_');
    bytes.extend(u64::from(*sub).to_be_bytes());
    let value = if kv.is_deleted() {
        bytes.push(b't');
        mvccpb::KeyValue { key: kv.key.clone(), ..mvccpb::KeyValue::default() }
    } else {
        mvccpb::KeyValue::from(kv.clone())
    };
    value.encode(bytes).expect("a vector grows as needed");
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use journal::{Batch, LeaseId, Origin, Record, SysOp, Write};

    use super::*;
    use crate::compaction::Swept;
    use crate::hashing::Hashing;
    use crate::partition::Partition;
    use crate::partition_id::PartitionRange;

    fn put(key: &'static str, value: &'static str, lease: i64) -> Write {
        Write::Put { key: key.into(), value: value.into(), lease: LeaseId(lease) }
    }

    fn delete(key: &'static str) -> Write {
        Write::Delete { key: key.into() }
    }

    struct Store(Vec<Partition>);

    impl Store {
        fn new(split_keys: &[&'static str]) -> Store {
            let keys: Vec<_> = split_keys.iter().copied().map(Bytes::from).collect();
            Store(PartitionRange::split(&keys).into_iter().map(Partition::new).collect())
        }

        fn append(&self, writes: Vec<Write>, sysop: Option<SysOp>) {
            let records = vec![Record { origin: Origin::default(), writes, sysop }];
            let batch =
                Batch { term: 1, base_revision: self.0[0].revision().next(), wall_clock_ms: 0, records };
            self.0.iter().for_each(|partition| partition.apply(&batch, &mut |_| ()));
        }

        fn compact(&self, at: u64) {
            self.append(vec![], Some(SysOp::Compact { revision: Revision(at) }));
        }

        fn sweep(&self) {
            for partition in &self.0 {
                while partition.compact_step(1) != Swept::All {}
            }
        }

        fn hash(&self, upto: u64) -> u32 {
            let partitions: Vec<_> = self.0.iter().collect();
            let mut hashing = Hashing::new(Revision(upto), &partitions).unwrap();
            loop {
                if let Some(hash) = hashing.step(&partitions).unwrap() {
                    return hash.hash;
                }
            }
        }

        /// Whether or not the memory of what is compacted is free makes no difference.
        fn check(&self, hashes: &[(u64, u32)]) {
            for swept in [false, true] {
                for (upto, hash) in hashes {
                    assert_eq!(self.hash(*upto), *hash, "at {upto}, swept: {swept}");
                }
                self.sweep();
            }
        }
    }

    /// At revision 7. The figures below are what etcd 3.6.16 answered after the same writes and compactions.
    fn written(split_keys: &[&'static str]) -> Store {
        let store = Store::new(split_keys);
        store.append(vec![put("a", "1", 0)], None);
        store.append(vec![put("b", "", 0)], None);
        store.append(vec![put("a", "2", 0), delete("b"), put("c", "x", 0)], None);
        store.append(vec![delete("a")], None);
        store.append(vec![put("a", "3", 0)], None);
        store.append(vec![put("e", "3", 0)], None);
        store
    }

    #[test]
    fn the_hash_is_etcds() {
        for split_keys in [&[][..], &["b", "c", "x"][..]] {
            let store = written(split_keys);
            store.check(&[(1, 1_084_519_789), (2, 2_587_454_935), (3, 2_496_657_716), (4, 1_948_944_384)]);
            store.check(&[(5, 2_456_978_870), (6, 444_913_401), (7, 111_282_920)]);
        }
    }

    #[test]
    fn a_compaction_changes_the_hash_as_it_does_etcds() {
        for split_keys in [&[][..], &["b", "c", "x"][..]] {
            let store = written(split_keys);
            store.compact(4);
            store.check(&[(5, 1_280_618_332), (6, 1_559_607_122), (7, 3_814_872_949)]);
            store.compact(5);
            store.check(&[(6, 3_882_540_179), (7, 1_837_849_107)]);
        }
    }

    #[test]
    fn deletions_and_leases_change_the_hash_as_they_do_etcds() {
        for split_keys in [&[][..], &["b", "c", "x"][..]] {
            let store = written(split_keys);
            store.append(vec![delete("a"), delete("c"), delete("e")], None);
            store.append(vec![put("x", "v", 7)], None);
            store.append(vec![put("x", "w", 0)], None);
            store.check(&[(8, 1_881_032_872), (9, 4_080_568_401), (10, 1_154_202_406)]);
            store.compact(8);
            store.check(&[(9, 1_668_572_524), (10, 63_152_293)]);
            store.append(vec![delete("x")], None);
            store.compact(9);
            // At 11 nothing is left to be seen, so what is below 9 counts as well.
            store.check(&[(10, 2_381_732_835), (11, 1_107_639_134)]);
            store.compact(11);
            store.append(vec![put("z", "1", 0)], None);
            store.check(&[(12, 3_615_936_642)]);
        }
    }
}
