//! What is asked of a partition, and its answer. Every read is at one revision.

use journal::{KeyRange, Lsn, Revision};

use crate::frontier::Applied;
use crate::key_value::KeyValue;

/// The revision to read at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The last that the partition has applied when the read begins.
    Latest,
    Revision(Revision),
}

/// What to answer of each key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Projection {
    Full,
    /// Values are left empty.
    KeysOnly,
    /// No keys at all.
    CountOnly,
}

/// Which keys to leave out by their revisions. Both ends belong to what stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    pub min_mod: Option<Revision>,
    pub max_mod: Option<Revision>,
    pub min_create: Option<Revision>,
    pub max_create: Option<Revision>,
}

impl Bounds {
    /// Nothing is left out.
    pub const NONE: Bounds = Bounds { min_mod: None, max_mod: None, min_create: None, max_create: None };

    /// Whether a key with these revisions stays.
    #[must_use]
    pub fn admit(&self, modified: Revision, created: Revision) -> bool {
        let inside = |min: Option<Revision>, revision, max: Option<Revision>| {
            min.is_none_or(|min| min <= revision) && max.is_none_or(|max| revision <= max)
        };
        inside(self.min_mod, modified, self.max_mod) && inside(self.min_create, created, self.max_create)
    }
}

/// A read of the keys of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Clipped to the partition.
    pub keys: KeyRange,
    pub at: At,
    /// Wait until this position is applied.
    pub min_lsn: Lsn,
    /// Keys to answer at most; 0 for all.
    pub limit: usize,
    pub projection: Projection,
    pub bounds: Bounds,
}

impl Query {
    /// Every key of `keys` with its value, as the partition has it now.
    #[must_use]
    pub fn latest(keys: KeyRange) -> Query {
        Query {
            keys,
            at: At::Latest,
            min_lsn: Lsn::ZERO,
            limit: 0,
            projection: Projection::Full,
            bounds: Bounds::NONE,
        }
    }
}

/// The answer to a `Query`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// In the order of their keys.
    pub kvs: Vec<KeyValue>,
    /// Keys in the range at that revision, whatever the limit and the bounds say.
    pub count: u64,
    /// Whether the limit kept keys out.
    pub more: bool,
    /// The revision that was read.
    pub at: Revision,
    /// What the partition had applied when the read began.
    pub applied: Applied,
}
