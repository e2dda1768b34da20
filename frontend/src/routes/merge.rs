//! One order out of several partitions.
//!
//!     partition a   3   5        told 6
//!     partition b     4     7    told 7
//!                   └─────┘
//!                   whole up to 6, the smallest told: emit 3 4 5, hold 7 back
//!
//! A partition that was told up to a revision sends nothing at or below it any more, so what the
//! smallest of them covers is complete, and whole revisions come out. A part may be cut into several on the way:
//! they go on where it was.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use journal::Revision;
use memstore::Event;

struct Part {
    held: VecDeque<Arc<Event>>,
    held_bytes: usize,
    told: Revision,
}

impl Part {
    fn new(told: Revision) -> Part {
        Part { held: VecDeque::new(), held_bytes: 0, told }
    }
}

/// Merges the events of one watcher's parts by (revision, sub-revision).
pub(super) struct Merge {
    parts: BTreeMap<u32, Part>,
    names: u32,
}

impl Merge {
    /// One part, named 0. Nothing is told yet of anything at or after `from`.
    pub(super) fn new(from: Revision) -> Merge {
        let told = Revision(from.0.saturating_sub(1));
        Merge { parts: BTreeMap::from([(0, Part::new(told))]), names: 1 }
    }

    /// Cuts a part into so many, and answers their names.
    pub(super) fn cut(&mut self, part: u32, count: usize) -> Vec<u32> {
        let part = self.parts.remove(&part).expect("a part that is there is cut");
        let (told, mut before) = (part.told, Some(part));
        let names: Vec<u32> = (self.names..).take(count).collect();
        for name in &names {
            // What was sent before belongs to any of them.
            self.parts.insert(*name, before.take().unwrap_or_else(|| Part::new(told)));
            self.names = name + 1;
        }
        names
    }

    /// Takes what a part sent: whole revisions in order, everything up to `told`.
    pub(super) fn push(&mut self, part: u32, events: Vec<Arc<Event>>, told: Revision) {
        let part = self.parts.get_mut(&part).expect("only parts that are there send anything");
        assert!(events.first().is_none_or(|event| event.revision > part.told), "no event comes twice");
        part.held_bytes += weight(&events);
        part.held.extend(events);
        part.told = part.told.max(told);
    }

    /// Everything up to here came out of `take`, or will with its next call.
    pub(super) fn told(&self) -> Revision {
        self.parts.values().map(|part| part.told).min().unwrap_or_default()
    }

    /// Everything up to here came from this part.
    pub(super) fn told_by(&self, part: u32) -> Revision {
        self.parts.get(&part).map_or(Revision::ZERO, |part| part.told)
    }

    /// The last of the events that wait for other parts; `None` where none does.
    pub(super) fn held_upto(&self) -> Option<Revision> {
        self.parts.values().filter_map(|part| Some(part.held.back()?.revision)).max()
    }

    /// Memory that is taken by the events that wait for other parts, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        self.parts.values().map(|part| part.held_bytes).sum()
    }

    /// Names of the parts whose events wait for other parts. The part that lags most is never one of them.
    pub(super) fn ahead(&self) -> Vec<u32> {
        let ahead = self.parts.iter().filter(|(_, part)| !part.held.is_empty());
        ahead.map(|(name, _)| *name).collect()
    }

    /// What is complete, in order.
    pub(super) fn take(&mut self) -> Vec<Arc<Event>> {
        let told = self.told();
        let mut events = Vec::new();
        let mut sources = 0;
        for part in self.parts.values_mut() {
            let ready = part.held.partition_point(|event| event.revision <= told);
            sources += usize::from(ready > 0);
            let first = events.len();
            events.extend(part.held.drain(..ready));
            part.held_bytes -= weight(&events[first..]);
        }
        if sources > 1 {
            events.sort_unstable_by_key(|event| (event.revision, event.sub));
        }
        events
    }
}

fn weight(events: &[Arc<Event>]) -> usize {
    events.iter().map(|event| event.weight()).sum()
}
