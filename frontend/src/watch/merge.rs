//! One order out of several partitions.
//!
//!     partition a   3   5        told 6
//!     partition b     4     7    told 7
//!                   └─────┘
//!                   whole up to 6, the smallest told: emit 3 4 5, hold 7 back
//!
//! A partition that was told up to a revision sends nothing at or below it any more, so what the
//! smallest of them covers is complete, and whole revisions come out.

use std::collections::VecDeque;
use std::sync::Arc;

use journal::Revision;
use memstore::Event;

struct Part {
    held: VecDeque<Arc<Event>>,
    told: Revision,
}

/// Merges the events of one watcher's partitions by (revision, sub-revision).
pub(crate) struct Merge {
    parts: Vec<Part>,
    /// Where they begin.
    from: Revision,
}

impl Merge {
    /// Nothing is told yet of anything at or after `from`.
    pub(crate) fn new(parts: usize, from: Revision) -> Merge {
        let told = before(from);
        Merge { parts: (0..parts).map(|_| Part { held: VecDeque::new(), told }).collect(), from }
    }

    /// Takes what a partition sent: whole revisions in order, everything up to `told`.
    pub(crate) fn push(&mut self, part: usize, events: Vec<Arc<Event>>, told: Revision) {
        let part = &mut self.parts[part];
        assert!(events.first().is_none_or(|event| event.revision > part.told), "no event comes twice");
        part.held.extend(events);
        part.told = part.told.max(told);
    }

    /// Everything up to here came out of `take`, or will with its next call.
    pub(crate) fn told(&self) -> Revision {
        self.parts.iter().map(|part| part.told).min().unwrap_or(before(self.from))
    }

    /// The first revision that did not, nor will.
    pub(crate) fn next(&self) -> Revision {
        self.told().next().max(self.from)
    }

    /// Everything up to here came from this part.
    pub(crate) fn told_by(&self, part: usize) -> Revision {
        self.parts[part].told
    }

    /// The last of the events that wait for other partitions; `None` where none does.
    pub(crate) fn held_upto(&self) -> Option<Revision> {
        self.parts.iter().filter_map(|part| Some(part.held.back()?.revision)).max()
    }

    /// What is complete, in order.
    pub(crate) fn take(&mut self) -> Vec<Arc<Event>> {
        let told = self.told();
        let mut events = Vec::new();
        let mut sources = 0;
        for part in &mut self.parts {
            let ready = part.held.partition_point(|event| event.revision <= told);
            sources += usize::from(ready > 0);
            events.extend(part.held.drain(..ready));
        }
        if sources > 1 {
            events.sort_unstable_by_key(|event| (event.revision, event.sub));
        }
        events
    }
}

fn before(revision: Revision) -> Revision {
    Revision(revision.0.saturating_sub(1))
}
