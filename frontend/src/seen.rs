//! The furthest that this endpoint has shown any client.
//!
//! A serializable read waits for it, so an endpoint's answers never go back in time.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use journal::{Lsn, Revision};

use crate::answer::Position;

/// Two numbers that only grow. Each is a promise of its own, so they need not be read together.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    lsn: AtomicU64,
    revision: AtomicU64,
}

impl Seen {
    /// Remembers what a client is about to be told.
    pub(crate) fn show(&self, at: Position) {
        // Most answers show something new; those that do not need not take the line for themselves.
        for (seen, shown) in [(&self.lsn, at.lsn.0), (&self.revision, at.revision.0)] {
            if seen.load(Relaxed) < shown {
                seen.fetch_max(shown, Relaxed);
            }
        }
    }

    pub(crate) fn lsn(&self) -> Lsn {
        Lsn(self.lsn.load(Relaxed))
    }

    pub(crate) fn revision(&self) -> Revision {
        Revision(self.revision.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_never_goes_back() {
        let seen = Seen::default();
        let at = |lsn, revision| Position { lsn: Lsn(lsn), revision: Revision(revision), term: 1 };
        seen.show(at(5, 9));
        seen.show(at(7, 3));
        assert_eq!((seen.lsn(), seen.revision()), (Lsn(7), Revision(9)));
    }
}
