//! A key as of one revision, with all that etcd tells of it, and its place in the order of all changes.

use bytes::Bytes;
use journal::{LeaseId, Revision};
use proto::mvccpb;

/// One key at one revision. The bytes are shared with the store: cloning copies none of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyValue {
    pub key: Bytes,
    /// Empty also where only keys were asked for.
    pub value: Bytes,
    /// Of the put that brought the key to life.
    pub create_revision: Revision,
    /// Of the last change.
    pub mod_revision: Revision,
    /// Puts since the creation: 1 for a new key, 0 for a deleted one.
    pub version: u64,
    pub lease: LeaseId,
}

impl KeyValue {
    /// What remains of a deleted key: its name, and when it was deleted.
    #[must_use]
    pub fn deleted(key: Bytes, revision: Revision) -> KeyValue {
        KeyValue { key, mod_revision: revision, ..KeyValue::default() }
    }

    /// Whether this is a deletion. Every put counts, so only a deletion has no version.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.version == 0
    }
}

/// A state of a key with its place in the order of all changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The write's place in its record; the revision is `kv.mod_revision`.
    pub sub: u32,
    /// Of a deletion: `KeyValue::deleted`.
    pub kv: KeyValue,
}

impl Version {
    /// Where it stands among all changes of the store.
    #[must_use]
    pub fn position(&self) -> (Revision, u32) {
        (self.kv.mod_revision, self.sub)
    }
}

/// What cannot be, below zero, is read as zero.
impl From<mvccpb::KeyValue> for KeyValue {
    fn from(kv: mvccpb::KeyValue) -> KeyValue {
        let unsigned = |number: i64| u64::try_from(number).unwrap_or(0);
        KeyValue {
            key: kv.key,
            value: kv.value,
            create_revision: Revision(unsigned(kv.create_revision)),
            mod_revision: Revision(unsigned(kv.mod_revision)),
            version: unsigned(kv.version),
            lease: LeaseId(kv.lease),
        }
    }
}

impl From<KeyValue> for mvccpb::KeyValue {
    fn from(kv: KeyValue) -> mvccpb::KeyValue {
        mvccpb::KeyValue {
            key: kv.key,
            create_revision: kv.create_revision.to_wire(),
            mod_revision: kv.mod_revision.to_wire(),
            version: i64::try_from(kv.version).unwrap_or(i64::MAX),
            value: kv.value,
            lease: kv.lease.0,
        }
    }
}
