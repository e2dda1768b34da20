//! What can be read, while the writer is behind.
//!
//!      purged     on disk, in spans            in memory
//!     [ · · · )[ 5  6  7  8  9 10 11 )[ 12 13 14 15 16 )
//!                                       written ─┘  └─ not yet durable, never forgotten
//!
//! The callers are ahead of the writer, and entries that were truncated and appended again may be on disk in their
//! old form. So an entry leaves memory only when the very step that appended it was written.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::writer::{Change, Written};
use crate::block::LogEntry;
use crate::segment::Segment;
use crate::spans::{Span, Spans, Terms};

/// Counts the steps, in the order in which they were asked for.
pub(super) type Ticket = u64;

struct Cached {
    ticket: Ticket,
    entry: LogEntry,
}

/// Where one part of a read comes from.
pub(super) enum Source {
    Memory(Vec<LogEntry>),
    Disk {
        segment: Arc<Segment>,
        span: Span,
    },
    /// There is nothing at this index.
    None,
}

pub(super) struct View {
    /// As the callers asked.
    pub(super) next: u64,
    pub(super) purged: Option<(u64, u64)>,
    pub(super) vote: Option<Bytes>,
    terms: Terms,
    recent: VecDeque<Cached>,
    recent_bytes: usize,
    recent_bytes_max: usize,
    /// As the writer has written.
    spans: Spans,
    segments: BTreeMap<u64, Arc<Segment>>,
    written: Ticket,
}

impl View {
    pub(super) fn new(
        next: u64,
        purged: Option<(u64, u64)>,
        vote: Option<Bytes>,
        (spans, terms): (Spans, Terms),
        segments: BTreeMap<u64, Arc<Segment>>,
        recent_bytes_max: usize,
    ) -> View {
        let (recent, recent_bytes) = (VecDeque::new(), 0);
        View {
            next,
            purged,
            vote,
            terms,
            recent,
            recent_bytes,
            recent_bytes_max,
            spans,
            segments,
            written: 0,
        }
    }

    /// The first index that can be read.
    pub(super) fn first(&self) -> u64 {
        self.purged.map_or(0, |(index, _)| index + 1)
    }

    /// Index and term of the last entry that is not purged.
    pub(super) fn last(&self) -> Option<(u64, u64)> {
        let last = self.next.checked_sub(1).filter(|&last| self.first() <= last)?;
        Some((last, self.terms.of(last).expect("every entry has its term")))
    }

    pub(super) fn append(&mut self, entries: &[LogEntry], ticket: Ticket) {
        for entry in entries {
            assert_eq!(entry.index, self.next, "entries are appended in order");
            self.next += 1;
            self.terms.push(entry.index, entry.term);
            self.recent_bytes += weight(entry);
            self.recent.push_back(Cached { ticket, entry: entry.clone() });
        }
    }

    pub(super) fn truncate(&mut self, from: u64) {
        assert!(self.first() <= from, "what was purged is not truncated");
        self.next = from;
        self.terms.truncate(from);
        while let Some(last) = self.recent.pop_back_if(|last| from <= last.entry.index) {
            self.recent_bytes -= weight(&last.entry);
        }
    }

    pub(super) fn purge(&mut self, end: u64, term: u64) {
        self.purged = Some((end - 1, term));
        self.next = self.next.max(end);
        self.terms.purge(end);
        while let Some(first) = self.recent.pop_front_if(|first| first.entry.index < end) {
            self.recent_bytes -= weight(&first.entry);
        }
    }

    /// Takes over what the steps up to `ticket` left on disk; answers the segments that hold nothing any more.
    pub(super) fn publish(&mut self, written: Written, ticket: Ticket) -> Vec<Arc<Segment>> {
        for segment in written.segments {
            self.segments.insert(segment.header.segment, segment);
        }
        let mut purged = false;
        for change in written.changes {
            match change {
                Change::Span(span) => self.spans.push(span),
                Change::Truncate(from) => self.spans.truncate(from),
                Change::Purge(end) => {
                    self.spans.purge(end);
                    purged = true;
                }
            }
        }
        self.written = ticket;
        self.forget();
        if purged { self.drop_segments() } else { Vec::new() }
    }

    /// Memory beyond its bound that can be read from disk as well.
    fn forget(&mut self) {
        let written = self.written;
        while self.recent_bytes_max < self.recent_bytes
            && let Some(first) = self.recent.pop_front_if(|first| first.ticket <= written)
        {
            self.recent_bytes -= weight(&first.entry);
        }
    }

    fn drop_segments(&mut self) -> Vec<Arc<Segment>> {
        let active = self.segments.keys().next_back().copied().unwrap_or(0);
        let needed = self.spans.first().map_or(active, |span| span.segment);
        let kept = self.segments.split_off(&needed);
        std::mem::replace(&mut self.segments, kept).into_values().collect()
    }

    /// Where to read entries from `from` below `to`.
    pub(super) fn source(&self, from: u64, to: u64, bytes_max: usize) -> Source {
        if from < self.first() || self.next <= from || to <= from {
            return Source::None;
        }
        match self.recent.front().map(|first| first.entry.index) {
            Some(first) if first <= from => Source::Memory(self.remembered(from - first, to, bytes_max)),
            first => {
                let mut span = self.spans.find(from).expect("what is not in memory is on disk");
                span.first = from;
                span.end = span.end.min(to).min(first.unwrap_or(self.next));
                let segment = Arc::clone(&self.segments[&span.segment]);
                Source::Disk { segment, span }
            }
        }
    }

    fn remembered(&self, skip: u64, to: u64, bytes_max: usize) -> Vec<LogEntry> {
        let skip = usize::try_from(skip).expect("it is the place of something in memory");
        let mut bytes = 0;
        let within = |cached: &&Cached| {
            let fits = bytes == 0 || bytes + weight(&cached.entry) <= bytes_max;
            bytes += weight(&cached.entry);
            fits && cached.entry.index < to
        };
        self.recent.iter().skip(skip).take_while(within).map(|cached| cached.entry.clone()).collect()
    }
}

pub(super) fn weight(entry: &LogEntry) -> usize {
    entry.payload.len() + size_of::<Cached>()
}
