//! Forgetting old versions: at once for readers, bit by bit in memory.
//!
//!              swept          next        target = compacted, or lower while a read is under way there
//!     ───────────┼──────────────┼────────────┼──────────────►  revisions
//!      freed      being freed                 kept
//!
//! Reads below the compacted revision are refused from the moment it is applied. What they could have seen is
//! freed in steps: each looks at a few changes in the order of the history and forgets what those have
//! superseded. So no step is long, whatever was written since the last compaction.

use journal::Revision;

use crate::error::Error;
use crate::history::{Entry, Position};
use crate::store::Store;

/// Versions of one key forgotten for each change looked at. More than one, to catch up with a key whose
/// versions are many; and every change is looked at, so none is left in the end.
const VERSIONS_MAX: usize = 16;

/// How a compaction stands after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Swept {
    /// The next step goes on.
    Partly,
    /// A read that is under way still sees what comes next.
    UpToRead,
    All,
}

#[derive(Default)]
pub(crate) struct Compaction {
    compacted: Revision,
    /// Memory is free up to here.
    swept: Revision,
    running: Option<Sweep>,
}

#[derive(Clone, Copy)]
struct Sweep {
    target: Revision,
    next: Position,
}

impl Compaction {
    /// Of a store that was restored: what it holds is all there is to keep.
    pub(crate) fn swept(compacted: Revision) -> Compaction {
        Compaction { compacted, swept: compacted, running: None }
    }

    /// Of a store out of several sources, of which one holds all that a compaction at `swept` leaves, and another
    /// is compacted at `compacted`.
    pub(crate) fn gathered(swept: Revision, compacted: Revision) -> Compaction {
        Compaction { compacted, ..Compaction::swept(swept) }
    }

    /// Reads below are refused.
    pub(crate) fn compacted(&self) -> Revision {
        self.compacted
    }

    /// Whether memory is still to be freed.
    pub(crate) fn is_behind(&self) -> bool {
        self.swept < self.compacted
    }

    /// Refuses reads below `at` from now on.
    pub(crate) fn compact(&mut self, at: Revision) {
        self.compacted = self.compacted.max(at);
    }

    /// Whether `at` may be read.
    pub(crate) fn check(&self, at: Revision) -> Result<(), Error> {
        if at < self.compacted { Err(Error::Compacted { compacted: self.compacted }) } else { Ok(()) }
    }

    /// Whether a read that began at `at` when that was allowed can still go on.
    pub(crate) fn check_pinned(&self, at: Revision) -> Result<(), Error> {
        let target = self.running.map_or(self.swept, |sweep| sweep.target);
        if at < target { Err(Error::Compacted { compacted: self.compacted }) } else { Ok(()) }
    }

    /// What to sweep now, without touching what a read at `floor` sees.
    fn sweep(&self, floor: Option<Revision>) -> Option<Sweep> {
        let target = floor.map_or(self.compacted, |floor| floor.min(self.compacted));
        // From `swept` itself: deletions exactly there were left standing.
        let sweep = Sweep { target, next: (self.swept, 0) };
        self.running.or((self.swept < target).then_some(sweep))
    }
}

impl Store {
    /// Looks at changes and forgets what they have superseded, except what a read at `floor` still sees, until so many
    /// were looked at or forgotten.
    pub(crate) fn compact_step(&mut self, floor: Option<Revision>, budget: usize) -> Swept {
        let Some(sweep) = self.compaction.sweep(floor) else {
            return if self.compaction.is_behind() { Swept::UpToRead } else { Swept::All };
        };
        let changes = self.history.from(sweep.next).take_while(|entry| entry.revision <= sweep.target);
        let changes: Vec<Entry> = changes.take(budget).collect();
        let (mut looked, mut forgotten) = (0, 0);
        while looked < changes.len() && forgotten < budget {
            forgotten += self.prune(changes[looked].slot, sweep.target, VERSIONS_MAX);
            looked += 1;
        }
        let is_last = looked == changes.len() && looked < budget;
        self.went_on(sweep, looked.checked_sub(1).map(|last| &changes[last]).filter(|_| !is_last));
        if self.compaction.is_behind() { Swept::Partly } else { Swept::All }
    }

    fn went_on(&mut self, sweep: Sweep, last: Option<&Entry>) {
        match last.map(Entry::position) {
            Some((revision, sub)) => {
                self.compaction.running = Some(Sweep { next: (revision, sub + 1), ..sweep });
            }
            None => {
                self.compaction.swept = sweep.target;
                self.compaction.running = None;
            }
        }
    }
}
