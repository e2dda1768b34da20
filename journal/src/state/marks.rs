//! Which snapshots there are, and what of the journal they make superfluous.
//!
//!     keys     a ─────────── m ─────── z ──►
//!     marks    [ lsn 90     )[ lsn 70  )[ 80       the trim point is 70: each key is in a snapshot of
//!              [ lsn 40               )            70 or later
//!
//! Only marks that are some key's newest are kept, so their number follows the partitions'.
//! Nothing is trimmed above the trim point (I9).

use bytes::Bytes;

use crate::lsn::Lsn;
use crate::revision::Revision;

/// A verified snapshot of `[start, end)`, which holds everything up to and including `lsn`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) start: Bytes,
    /// Empty: the end of all keys.
    pub(crate) end: Bytes,
    pub(crate) lsn: Lsn,
    pub(crate) revision: Revision,
    pub(crate) set_hash: u64,
}

impl Mark {
    /// Copies the keys, so that a mark does not keep the batch it came in.
    pub(crate) fn new(start: &[u8], end: &[u8], lsn: Lsn, revision: Revision, set_hash: u64) -> Mark {
        let [start, end] = [start, end].map(Bytes::copy_from_slice);
        Mark { start, end, lsn, revision, set_hash }
    }

    fn contains(&self, key: &[u8]) -> bool {
        self.start[..] <= *key && (self.end.is_empty() || *key < self.end[..])
    }
}

/// The newest marks, by their ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    marks: Vec<Mark>,
}

impl Marks {
    /// Puts back what `iter` answered. Noting them again would not do: of two alike the later counts.
    pub(crate) fn restore(marks: Vec<Mark>) -> Marks {
        Marks { marks }
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Mark> {
        self.marks.iter()
    }

    /// Adds a mark, and drops those that are no key's newest any more.
    pub(crate) fn note(&mut self, mark: Mark) {
        self.marks.push(mark);
        let newest: Vec<Option<usize>> = self.boundaries().iter().map(|key| self.newest(key)).collect();
        let mut at = 0..self.marks.len();
        self.marks.retain(|_| newest.contains(&at.next()));
        self.marks.sort_by(|a, b| (&a.start, &a.end, a.lsn).cmp(&(&b.start, &b.end, b.lsn)));
    }

    /// The position up to which every key is in a snapshot; `None` while some key is in none.
    pub(crate) fn trim_point(&self) -> Option<Lsn> {
        let newest = |key: &Bytes| self.newest(key).map(|at| self.marks[at].lsn);
        self.boundaries().iter().map(newest).min().flatten()
    }

    /// Where what covers a key can change: between two neighbours all keys are alike.
    fn boundaries(&self) -> Vec<Bytes> {
        let ends = self.marks.iter().map(|mark| &mark.end).filter(|end| !end.is_empty());
        let mut boundaries: Vec<Bytes> =
            self.marks.iter().map(|mark| &mark.start).chain(ends).cloned().collect();
        boundaries.push(Bytes::new());
        boundaries.sort_unstable();
        boundaries.dedup();
        boundaries
    }

    /// The place of the newest mark that covers the key; of two alike, the one noted later.
    fn newest(&self, key: &[u8]) -> Option<usize> {
        let covering = self.marks.iter().enumerate().filter(|(_, mark)| mark.contains(key));
        covering.max_by_key(|(at, mark)| (mark.lsn, *at)).map(|(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn marks(ranges: &[(&str, &str, u64)]) -> Marks {
        let mut marks = Marks::default();
        for (start, end, lsn) in ranges {
            marks.note(Mark::new(start.as_bytes(), end.as_bytes(), Lsn(*lsn), Revision(1), 0));
        }
        marks
    }

    fn check(ranges: &[(&str, &str, u64)], expected: Option<u64>) {
        assert_eq!(marks(ranges).trim_point(), expected.map(Lsn), "{ranges:?}");
    }

    #[test]
    fn nothing_is_trimmed_while_a_key_is_in_no_snapshot() {
        check(&[], None);
        check(&[("", "m", 9)], None);
        check(&[("m", "", 9)], None);
        check(&[("", "m", 9), ("n", "", 9)], None);
    }

    #[test]
    fn the_oldest_of_the_newest_marks_is_the_trim_point() {
        check(&[("", "", 5)], Some(5));
        check(&[("", "m", 9), ("m", "", 7)], Some(7));
        check(&[("", "m", 9), ("m", "", 7), ("m", "", 12)], Some(9));
    }

    #[test]
    fn a_late_older_mark_takes_nothing_back() {
        check(&[("", "", 9), ("", "", 5)], Some(9));
        check(&[("", "", 9), ("", "m", 5)], Some(9));
    }

    #[test]
    fn partitions_may_be_split_and_merged() {
        check(&[("", "", 5), ("", "m", 9), ("m", "", 7)], Some(7));
        check(&[("", "m", 9), ("m", "", 7), ("", "", 12)], Some(12));
        assert_eq!(marks(&[("", "m", 9), ("m", "", 7), ("", "", 12)]).iter().len(), 1);
    }

    proptest! {
        /// I9, against every key asked one by one of all marks that ever were.
        #[test]
        fn no_key_has_all_its_snapshots_below_the_trim_point(
            noted in vec((0u8..6, 0u8..7, 1u64..20), 0..12)
        ) {
            let mut marks = Marks::default();
            let mut all = Vec::new();
            for (start, end, lsn) in noted {
                let start: &[u8] = if start == 0 { &[] } else { &[start] };
                let end: &[u8] = if end == 0 { &[] } else { &[end] };
                let mark = Mark::new(start, end, Lsn(lsn), Revision(1), 0);
                all.push(mark.clone());
                marks.note(mark);
            }
            let newest = |key: u8| all.iter().filter(|mark| mark.contains(&[key])).map(|mark| mark.lsn).max();
            prop_assert_eq!(marks.trim_point(), (0..8).map(newest).min().flatten());
        }
    }
}
