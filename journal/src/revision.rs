//! etcd's counter of changes: one for the whole store, dense over all partitions.

use std::fmt;

/// A revision of the store. An empty store is at 1, because etcd's is; the first change makes 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl Revision {
    /// Before every change, also before the empty store: "never".
    pub const ZERO: Revision = Revision(0);
    /// Of a store that nothing was written to.
    pub const EMPTY_STORE: Revision = Revision(1);

    /// The revision after this one.
    #[must_use]
    pub fn next(self) -> Revision {
        Revision(self.0 + 1)
    }

    /// As etcd's wire has it. Revisions end far below 2^63: a million a second lasts 290,000 years.
    #[must_use]
    pub fn to_wire(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
