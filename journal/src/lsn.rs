//! Where something stands in the journal.
//!
//!     lsn    1    2    3    4    5          Raft's index: votes' no-ops and memberships count too,
//!          [no-op|batch|batch|member|batch  so not every position carries records
//!
//! Waits and barriers are on positions and not on revisions, since some records have no revision.

use std::fmt;

/// A position in the journal. The first entry stands at 1; 0 is before everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// Before the first entry.
    pub const ZERO: Lsn = Lsn(0);

    /// The position behind this one.
    #[must_use]
    pub fn next(self) -> Lsn {
        Lsn(self.0 + 1)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
