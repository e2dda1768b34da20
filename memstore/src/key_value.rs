//! A key as of one revision, with all that etcd tells of it.

use bytes::Bytes;
use journal::{LeaseId, Revision};
use proto::mvccpb;

/// One key, alive, at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyValue {
    pub key: Bytes,
    /// Empty also where only keys were asked for.
    pub value: Bytes,
    /// Of the put that brought the key to life.
    pub create_revision: Revision,
    /// Of the last put.
    pub mod_revision: Revision,
    /// Puts since the creation: 1 for a new key.
    pub version: u64,
    pub lease: LeaseId,
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
