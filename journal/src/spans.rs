//! Where entries are on disk: one span a block, in order of index.
//!
//!     span     [ 10 11 12 )[ 13 )[ 14 15 )       each in one block of one segment
//!
//! Kept by block and not by entry, so that many small entries cost little memory. Rebuilt when a log is opened.

use std::collections::VecDeque;

/// The entries `first .. end` are in the block at `offset` of `segment`. A block may hold more than them: what was
/// truncated or purged stays where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first: u64,
    pub(crate) end: u64,
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    /// Of the block, without padding.
    pub(crate) length: u32,
}

/// All spans. Consecutive ones touch.
#[derive(Debug, Default)]
pub(crate) struct Spans(VecDeque<Span>);

impl Spans {
    pub(crate) fn push(&mut self, span: Span) {
        assert!(self.0.back().is_none_or(|last| last.end == span.first), "entries are appended in order");
        self.0.push_back(span);
    }

    /// Forgets everything from `from` on.
    pub(crate) fn truncate(&mut self, from: u64) {
        while self.0.pop_back_if(|last| from <= last.first).is_some() {}
        if let Some(last) = self.0.back_mut() {
            last.end = last.end.min(from);
        }
    }

    /// Forgets everything below `end`.
    pub(crate) fn purge(&mut self, end: u64) {
        while self.0.pop_front_if(|first| first.end <= end).is_some() {}
        if let Some(first) = self.0.front_mut() {
            first.first = first.first.max(end);
        }
    }

    /// The span that holds `index`.
    pub(crate) fn find(&self, index: u64) -> Option<Span> {
        let place = self.0.partition_point(|span| span.end <= index);
        self.0.get(place).copied().filter(|span| span.first <= index)
    }

    pub(crate) fn first(&self) -> Option<&Span> {
        self.0.front()
    }
}

/// The term of every entry, as the places where it changes.
#[derive(Debug, Default)]
pub(crate) struct Terms(VecDeque<(u64, u64)>);

impl Terms {
    pub(crate) fn push(&mut self, index: u64, term: u64) {
        if self.0.back().is_none_or(|&(_, last)| last != term) {
            self.0.push_back((index, term));
        }
    }

    pub(crate) fn truncate(&mut self, from: u64) {
        while self.0.pop_back_if(|&mut (first, _)| from <= first).is_some() {}
    }

    pub(crate) fn purge(&mut self, end: u64) {
        while self.0.get(1).is_some_and(|&(second, _)| second <= end) {
            self.0.pop_front();
        }
    }

    /// The term of an entry that is in the log.
    pub(crate) fn of(&self, index: u64) -> Option<u64> {
        let place = self.0.partition_point(|&(first, _)| first <= index);
        place.checked_sub(1).map(|place| self.0[place].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(first: u64, end: u64) -> Span {
        Span { first, end, segment: 1, offset: first * 4_096, length: 100 }
    }

    #[test]
    fn an_entry_is_found_until_it_is_truncated_or_purged() {
        let mut spans = Spans::default();
        spans.push(span(10, 13));
        spans.push(span(13, 14));
        spans.push(span(14, 16));
        assert_eq!(spans.find(13), Some(span(13, 14)));
        spans.truncate(15);
        assert_eq!(spans.find(15), None);
        assert_eq!(spans.find(14).map(|span| span.end), Some(15));
        spans.purge(12);
        assert_eq!(spans.find(11), None);
        assert_eq!(spans.find(12).map(|span| span.offset), Some(10 * 4_096));
    }

    #[test]
    fn terms_follow_truncation_and_purge() {
        let mut terms = Terms::default();
        for (index, term) in [(0, 1), (1, 1), (2, 3), (3, 3), (4, 5)] {
            terms.push(index, term);
        }
        terms.truncate(4);
        terms.push(4, 6);
        terms.purge(3);
        assert_eq!([3, 4].map(|index| terms.of(index)), [Some(3), Some(6)]);
    }
}
