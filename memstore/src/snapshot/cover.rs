//! Which pieces matter, by their keys and positions alone.
//!
//!     keys      a ─────────── m ─────── z ──►
//!     pieces    [ lsn 90     )[ lsn 70  )[ 80       a key's newest: with those the journal is needed from behind 70
//!               [ lsn 60               )[ 50        a key's second: all keys reach to 50, also should one be damaged
//!               [ lsn 40     )                      all its keys are in two that are newer: forgotten
//!
//! Between two neighbouring bounds all keys are alike, so each part stands for the keys in it. Of two pieces at one
//! position the later named counts as the newer.

use bytes::Bytes;
use journal::Lsn;

use super::Header;
use super::piece::End;
use crate::partition_id::PartitionRange;

/// How many pieces of a key are kept. The older one is for when the newest is damaged.
const KEPT: usize = 2;

/// Pieces, by the order in which they were named.
pub(crate) struct Cover<'a> {
    pieces: Vec<(&'a PartitionRange, Lsn)>,
}

impl<'a> Cover<'a> {
    pub(crate) fn of(pieces: impl IntoIterator<Item = &'a Header>) -> Cover<'a> {
        Cover { pieces: pieces.into_iter().map(|header| (&header.range, header.lsn)).collect() }
    }

    /// The parts of `range` in the order of their keys, and which piece is the newest of each.
    pub(crate) fn newest(&self, range: &PartitionRange) -> Vec<(PartitionRange, Option<usize>)> {
        let mut parts: Vec<(PartitionRange, Option<usize>)> = Vec::new();
        for (part, pieces) in self.parts(range) {
            match parts.last_mut() {
                Some((last, newest)) if *newest == pieces.first().copied() => last.end = part.end,
                _ => parts.push((part, pieces.first().copied())),
            }
        }
        parts
    }

    /// Whether each key of `range` is in some piece.
    pub(crate) fn holds(&self, range: &PartitionRange) -> bool {
        self.newest(range).iter().all(|(_, newest)| newest.is_some())
    }

    /// The pieces that are the second newest of some key of these ranges.
    pub(crate) fn second(&self, ranges: &[PartitionRange]) -> Vec<usize> {
        let parts = ranges.iter().flat_map(|range| self.parts(range));
        let mut second: Vec<_> = parts.filter_map(|(_, pieces)| pieces.get(KEPT - 1).copied()).collect();
        second.sort_unstable();
        second.dedup();
        second
    }

    /// The greatest position such that all keys are in as many pieces of it or later ones as are kept. `None` while
    /// some key is in fewer.
    pub(crate) fn reach(&self) -> Option<Lsn> {
        let second =
            |(_, pieces): (PartitionRange, Vec<usize>)| pieces.get(KEPT - 1).map(|at| self.pieces[*at].1);
        self.parts(&PartitionRange::all()).into_iter().map(second).min().flatten()
    }

    /// The pieces without which each key of these ranges is in as many of the newest as are kept.
    pub(crate) fn superfluous(&self, ranges: &[PartitionRange]) -> Vec<usize> {
        let parts = ranges.iter().flat_map(|range| self.parts(range));
        let mut kept = vec![false; self.pieces.len()];
        parts.flat_map(|(_, pieces)| pieces.into_iter().take(KEPT)).for_each(|at| kept[at] = true);
        (0..kept.len()).filter(|at| !kept[*at]).collect()
    }

    /// `range` cut wherever a piece begins or ends, each part with the pieces that have it, newest first.
    fn parts(&self, range: &PartitionRange) -> Vec<(PartitionRange, Vec<usize>)> {
        let starts = self.pieces.iter().map(|(piece, _)| &piece.start);
        let ends = self.pieces.iter().filter_map(|(piece, _)| piece.end.as_ref());
        let within = |key: &&Bytes| range.start < **key && range.contains(key);
        let mut cuts: Vec<_> = starts.chain(ends).filter(within).cloned().collect();
        cuts.sort_unstable();
        cuts.dedup();
        let starts = std::iter::once(range.start.clone()).chain(cuts.iter().cloned());
        let ends = cuts.iter().cloned().map(Some).chain([range.end.clone()]);
        let part = |(start, end): (Bytes, End)| {
            let mut pieces: Vec<_> =
                (0..self.pieces.len()).filter(|at| self.pieces[*at].0.contains(&start)).collect();
            pieces.sort_unstable_by_key(|at| std::cmp::Reverse((self.pieces[*at].1, *at)));
            (PartitionRange { id: range.id, start, end }, pieces)
        };
        starts.zip(ends).map(part).collect()
    }
}

#[cfg(test)]
mod tests {
    use journal::Revision;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::partition_id::PartitionId;

    /// Keys of one letter; `None`: the end of all keys.
    fn range(start: u8, end: Option<u8>) -> PartitionRange {
        let key = |key: u8| Bytes::copy_from_slice(&[b'a' + key]);
        // What is before all letters is as the first of them.
        let start = if start == 0 { Bytes::new() } else { key(start) };
        PartitionRange { id: PartitionId(7), start, end: end.map(key) }
    }

    fn header(range: PartitionRange, lsn: u64) -> Header {
        Header { cluster: 1, lsn: Lsn(lsn), revision: Revision(lsn), compacted: Revision::ZERO, range }
    }

    fn ranges() -> impl Strategy<Value = PartitionRange> {
        (0_u8..8, 1_u8..10).prop_map(|(start, length)| {
            let end = start + length;
            range(start, (end < 9).then_some(end))
        })
    }

    fn pieces() -> impl Strategy<Value = Vec<Header>> {
        vec((ranges(), 1_u64..9).prop_map(|(range, lsn)| header(range, lsn)), 0..10)
    }

    /// The pieces that have a key, newest first.
    fn having(pieces: &[Header], key: u8) -> Vec<usize> {
        let has = |at: &usize| pieces[*at].range.contains(&[b'a' + key]);
        let mut having: Vec<_> = (0..pieces.len()).filter(has).collect();
        having.sort_by(|one, other| (pieces[*other].lsn, other).cmp(&(pieces[*one].lsn, one)));
        having
    }

    fn keys(ranges: &[PartitionRange]) -> Vec<u8> {
        (0..10).filter(|key| ranges.iter().any(|range| range.contains(&[b'a' + key]))).collect()
    }

    proptest! {
        #[test]
        fn each_key_has_its_newest_piece(pieces in pieces(), wanted in ranges()) {
            let parts = Cover::of(&pieces).newest(&wanted);
            prop_assert_eq!(&parts[0].0.start, &wanted.start);
            prop_assert_eq!(&parts[parts.len() - 1].0.end, &wanted.end);
            prop_assert!(parts.windows(2).all(|pair| pair[0].0.end.as_ref() == Some(&pair[1].0.start)));
            prop_assert!(parts.windows(2).all(|pair| pair[0].1 != pair[1].1), "no more parts than it takes");
            for key in keys(std::slice::from_ref(&wanted)) {
                let part = parts.iter().find(|(part, _)| part.contains(&[b'a' + key])).expect("without gap");
                prop_assert_eq!(part.1, having(&pieces, key).first().copied());
            }
            let lowest = parts.iter().map(|(_, newest)| newest.map(|at| pieces[at].lsn)).min().flatten();
            let of_keys = keys(std::slice::from_ref(&wanted)).into_iter();
            let of_keys = of_keys.map(|key| having(&pieces, key).first().map(|at| pieces[*at].lsn)).min().flatten();
            prop_assert_eq!(lowest, of_keys, "from behind it a tail is needed");
            prop_assert_eq!(Cover::of(&pieces).holds(&wanted), of_keys.is_some());
        }

        #[test]
        fn all_keys_reach_as_far_as_the_one_whose_second_piece_is_the_oldest(pieces in pieces()) {
            let second = |key: u8| having(&pieces, key).get(1).map(|at| pieces[*at].lsn);
            prop_assert_eq!(Cover::of(&pieces).reach(), (0..10).map(second).min().flatten());
        }

        #[test]
        fn what_is_forgotten_is_no_keys_newest_two(pieces in pieces(), held in vec(ranges(), 0..3)) {
            let keys = keys(&held);
            let newest_two = |key: &u8| having(&pieces, *key).into_iter().take(2).collect::<Vec<_>>();
            let superfluous = Cover::of(&pieces).superfluous(&held);
            let needed = |at: &usize| keys.iter().any(|key| newest_two(key).contains(at));
            prop_assert!((0..pieces.len()).filter(|at| !needed(at)).eq(superfluous.iter().copied()));
            let mut second: Vec<_> = keys.iter().filter_map(|key| newest_two(key).get(1).copied()).collect();
            second.sort_unstable();
            second.dedup();
            prop_assert_eq!(Cover::of(&pieces).second(&held), second);

            // Nothing that is asked of the pieces changes by it.
            let left: Vec<_> = (0..pieces.len()).filter(|at| !superfluous.contains(at)).collect();
            let left: Vec<_> = left.into_iter().map(|at| pieces[at].clone()).collect();
            for key in keys {
                let of = |pieces: &[Header]| {
                    let having = having(pieces, key).into_iter().take(2);
                    having.map(|at| pieces[at].clone()).collect::<Vec<_>>()
                };
                prop_assert_eq!(of(&left), of(&pieces));
            }
        }

        /// However they come and are forgotten, the reach never goes back.
        #[test]
        fn how_far_all_keys_reach_only_grows(pieces in pieces()) {
            let (mut kept, mut reach) = (Vec::<Header>::new(), None);
            for piece in pieces {
                kept.push(piece);
                let superfluous = Cover::of(&kept).superfluous(&[PartitionRange::all()]);
                let mut at = 0..;
                kept.retain(|_| !superfluous.contains(&at.next().expect("endless")));
                let now = Cover::of(&kept).reach();
                prop_assert!(reach <= now);
                reach = now;
            }
        }
    }

    #[test]
    fn the_pieces_of_the_picture() {
        let pieces = [
            (0, Some(5), 90),
            (5, Some(8), 70),
            (8, None, 80),
            (0, Some(8), 60),
            (8, None, 50),
            (0, Some(5), 40),
        ];
        let pieces: Vec<_> =
            pieces.into_iter().map(|(start, end, lsn)| header(range(start, end), lsn)).collect();
        let (cover, all) = (Cover::of(&pieces), PartitionRange::all());
        assert_eq!(
            cover.newest(&all).into_iter().map(|(_, newest)| newest).collect::<Vec<_>>(),
            [Some(0), Some(1), Some(2)]
        );
        assert_eq!(cover.reach(), Some(Lsn(50)));
        assert_eq!(cover.superfluous(std::slice::from_ref(&all)), [5]);
        assert_eq!(cover.second(&[all]), [3, 4]);
        assert_eq!(Cover::of(&pieces[..4]).reach(), None, "the last keys are in one only");
    }
}
