//! etcd's HashKV: one number for all that a store keeps up to a revision, bit for bit etcd's.
//!
//!     crc32c("key", then of each version in the order of (revision, sub):
//!            revision 8B │ '_' │ sub 8B │ 't' if a deletion │ mvccpb.KeyValue)            numbers big endian
//!
//! What counts: every version above the compacted revision, and at or below it those that are still visible at
//! the hashed revision. Where nothing at all is visible there, etcd leaves that second rule out.

use prost::Message;
use proto::mvccpb;

use journal::Revision;

use crate::history::Position;
use crate::key_value::Version;
use crate::store::{Chain, Stored};

/// A version that may count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hashed {
    pub version: Version,
    /// The key is what this version says when read at the hashed revision.
    pub visible: bool,
    /// At or below the compacted revision.
    pub below: bool,
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

/// The hash under way. It is fed every version of every partition in the order of (revision, sub).
pub struct HashKv {
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
    pub fn feed(&mut self, hashed: &Hashed) {
        self.encode(&hashed.version);
        self.any_visible |= hashed.visible;
        if hashed.visible || !hashed.below {
            self.strict = crc32c::crc32c_append(self.strict, &self.bytes);
        }
        if !self.any_visible {
            self.lenient = crc32c::crc32c_append(self.lenient, &self.bytes);
        }
    }

    #[must_use]
    pub fn finish(self) -> u32 {
        if self.any_visible { self.strict } else { self.lenient }
    }

    fn encode(&mut self, Version { sub, kv }: &Version) {
        self.bytes.clear();
        self.bytes.extend(kv.mod_revision.0.to_be_bytes());
        self.bytes.push(b'_');
        self.bytes.extend(u64::from(*sub).to_be_bytes());
        let value = if kv.is_deleted() {
            self.bytes.push(b't');
            mvccpb::KeyValue { key: kv.key.clone(), ..mvccpb::KeyValue::default() }
        } else {
            mvccpb::KeyValue::from(kv.clone())
        };
        value.encode(&mut self.bytes).expect("a vector grows as needed");
    }
}
