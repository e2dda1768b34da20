//! One watcher: its buffer, and whether it is live.
//!
//!     told                  published               applied
//!     ──┬──────────────────────┬───────────────────────┬──►  revisions
//!       │ in the buffer: handed│ in the buffer, but its│
//!       │ out by the next take │ revision may be half  │
//!
//! A hub fills the buffer event by event and then publishes the revision. So what is taken stops at what is
//! published, and nobody sees half a revision.

use std::collections::VecDeque;
use std::sync::Arc;

use journal::Revision;

use super::hub::Hub;
use super::{WatchLimits, WatchSpec};
use crate::event::Event;

/// A watcher's state. Its stream's lock guards it.
pub(super) struct Watcher {
    pub(super) spec: WatchSpec,
    /// Its partition's.
    pub(super) hub: Arc<Hub>,
    phase: Phase,
    /// Bounded by `WatchLimits`: when full, the watcher falls back to catching up.
    buffer: VecDeque<Arc<Event>>,
    buffered_bytes: usize,
    /// It stands in its stream's queue of those to be looked at.
    pub(super) queued: bool,
    /// The hub has put something in and will queue it.
    pub(super) touched: bool,
    /// Someone wants to know when everything up to here was told.
    pub(super) asked: Option<Revision>,
}

/// Where its events come from. `target` is its place in the hub's index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    CatchingUp { next: Revision },
    Live { target: u64 },
}

/// What became of an event that the hub offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offered {
    Kept,
    /// The buffer is full: the watcher catches up from this revision on.
    Overflowed,
    /// It is not live.
    Declined,
}

/// What a watcher hands out.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) events: Vec<Arc<Event>>,
    pub(super) upto: Revision,
}

impl Watcher {
    pub(super) fn new(spec: WatchSpec, hub: Arc<Hub>) -> Watcher {
        let phase = Phase::CatchingUp { next: spec.from };
        Watcher {
            spec,
            hub,
            phase,
            buffer: VecDeque::new(),
            buffered_bytes: 0,
            queued: false,
            touched: false,
            asked: None,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    pub(super) fn go_live(&mut self, target: u64) {
        assert!(self.buffer.is_empty(), "what was in the buffer comes before history");
        self.phase = Phase::Live { target };
    }

    /// The history has what comes from `next` on, also where some of that was offered already.
    pub(super) fn catch_up(&mut self, next: Revision) {
        while let Some(event) = self.buffer.pop_back_if(|event| next <= event.revision) {
            self.buffered_bytes -= event.weight();
        }
        self.phase = Phase::CatchingUp { next };
    }

    /// Takes an event in if there is room.
    pub(super) fn offer(&mut self, event: &Arc<Event>, limits: &WatchLimits) -> Offered {
        let Phase::Live { .. } = self.phase else { return Offered::Declined };
        let bytes = self.buffered_bytes + event.weight();
        if self.buffer.len() >= limits.events || bytes > limits.bytes {
            self.overflow(event.revision);
            return Offered::Overflowed;
        }
        self.buffered_bytes = bytes;
        self.buffer.push_back(event.clone());
        Offered::Kept
    }

    /// Takes out what is buffered up to `published`, whole revisions of about so many bytes. `None` where there is
    /// nothing.
    pub(super) fn take(&mut self, published: Revision, bytes_max: usize) -> Option<Taken> {
        let whole = self.buffer.partition_point(|event| event.revision <= published);
        if whole == 0 {
            return None;
        }
        let whole = whole.min(self.cut(bytes_max));
        let events: Vec<_> = self.buffer.drain(..whole).collect();
        self.buffered_bytes -= events.iter().map(|event| event.weight()).sum::<usize>();
        if self.buffer.is_empty() {
            // An idle watcher holds nothing.
            self.buffer = VecDeque::new();
        }
        Some(Taken { events, upto: self.told(published) })
    }

    /// Everything up to here was taken, given that the hub has published up to `published`.
    pub(super) fn told(&self, published: Revision) -> Revision {
        let waiting = self.buffer.front().map(|event| event.revision);
        let unread = match self.phase {
            Phase::CatchingUp { next } => Some(next),
            Phase::Live { .. } => None,
        };
        let first = [waiting, unread].into_iter().flatten().min();
        first.map_or(published, |first| published.min(Revision(first.0.saturating_sub(1))))
    }

    /// Whether the history is what comes next.
    pub(super) fn behind(&self) -> Option<Revision> {
        match self.phase {
            Phase::CatchingUp { next } if self.buffer.is_empty() => Some(next),
            Phase::CatchingUp { .. } | Phase::Live { .. } => None,
        }
    }

    /// Whether it is live and has been handed out all that it was told of.
    pub(super) fn is_quiet(&self) -> bool {
        self.buffer.is_empty() && matches!(self.phase, Phase::Live { .. })
    }

    #[cfg(test)]
    pub(super) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Number of events up to the first end of a revision behind so many bytes.
    fn cut(&self, bytes_max: usize) -> usize {
        let (mut bytes, mut last) = (0, None);
        let full = self.buffer.iter().position(|event| {
            let is_full = bytes >= bytes_max && last.is_some_and(|last| last < event.revision);
            bytes += event.weight();
            last = Some(event.revision);
            is_full
        });
        full.unwrap_or(self.buffer.len())
    }

    /// The history answers from the first event on that was not taken: a watcher that stands still holds nothing.
    fn overflow(&mut self, revision: Revision) {
        let next = self.buffer.front().map_or(revision, |event| event.revision);
        (self.buffer, self.buffered_bytes) = (VecDeque::new(), 0);
        self.phase = Phase::CatchingUp { next };
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use journal::KeyRange;

    use super::*;
    use crate::event::{Change, EventKind};
    use crate::key_value::KeyValue;
    use crate::partition::Partition;
    use crate::partition_id::{PartitionId, PartitionRange};

    fn event(revision: u64, sub: u32) -> Arc<Event> {
        let revision = Revision(revision);
        let kv = KeyValue::deleted(Bytes::from_static(b"k"), revision);
        Change { revision, sub, kind: EventKind::Delete, kv, prev: None }.into()
    }

    fn live() -> Watcher {
        let (partition, keys, from) = (PartitionId(0), KeyRange::all(), Revision(2));
        let spec = WatchSpec { partition, keys, from, prev_kv: false, puts: true, deletes: true };
        let range = PartitionRange::split(&[]).remove(0);
        let hub = Hub::new(&Arc::new(Partition::new(range)), Revision(1), WatchLimits::default());
        let mut watcher = Watcher::new(spec, Arc::new(hub));
        watcher.go_live(1);
        watcher
    }

    #[test]
    fn a_revision_that_is_being_told_is_not_taken() {
        let (mut watcher, limits) = (live(), WatchLimits::default());
        for event in [event(4, 0), event(5, 0)] {
            assert_eq!(watcher.offer(&event, &limits), Offered::Kept);
        }
        assert_eq!(watcher.told(Revision(4)), Revision(3));
        let taken = watcher.take(Revision(4), usize::MAX).expect("revision 4 is whole");
        assert_eq!((taken.events.len(), taken.upto), (1, Revision(4)));
        assert!(watcher.take(Revision(4), usize::MAX).is_none(), "5 is not");
        assert_eq!(watcher.told(Revision(4)), Revision(4));
        watcher.offer(&event(5, 1), &limits);
        let taken = watcher.take(Revision(5), usize::MAX).expect("revision 5 is whole now");
        assert_eq!((taken.events.len(), taken.upto), (2, Revision(5)));
    }

    #[test]
    fn what_overflows_is_not_told() {
        let (mut watcher, limits) = (live(), WatchLimits { events: 2, ..WatchLimits::default() });
        watcher.offer(&event(4, 0), &limits);
        watcher.offer(&event(5, 0), &limits);
        assert_eq!(watcher.offer(&event(5, 1), &limits), Offered::Overflowed);
        assert_eq!(watcher.offer(&event(6, 0), &limits), Offered::Declined);
        assert_eq!(watcher.told(Revision(6)), Revision(3));
        assert_eq!(watcher.behind(), Some(Revision(4)), "history has what was in the buffer");
        assert_eq!((watcher.buffered(), watcher.buffered_bytes), (0, 0));
    }

    #[test]
    fn a_full_buffer_is_handed_out_in_parts_of_whole_revisions() {
        let (mut watcher, limits) = (live(), WatchLimits::default());
        for event in [event(4, 0), event(4, 1), event(5, 0), event(6, 0)] {
            watcher.offer(&event, &limits);
        }
        let bytes = 2 * event(4, 0).weight();
        let mut taken = std::iter::from_fn(|| watcher.take(Revision(6), bytes));
        let taken: Vec<_> = taken.by_ref().map(|taken| (taken.events.len(), taken.upto)).collect();
        assert_eq!(taken, [(2, Revision(4)), (2, Revision(6))]);
        assert_eq!(watcher.buffered_bytes, 0);
    }
}
