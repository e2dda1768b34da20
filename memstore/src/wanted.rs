//! Which partitions a memstore shall hold, and how what it serves becomes that.
//!
//!     served   [ ────── 1 ────── )[ ── 2 ── )      [ 6 )
//!     wanted   [ ── 3 ── )[ ──── 4 ──── )[ 5 )           3, 4 and 5 take the places of 1 and 2, all at once;
//!                                                        nobody takes the place of 6, which goes at once

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use crate::partition_id::PartitionRange;

/// Who says which partitions there are.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// All keys, cut here. They may be cut otherwise than at the last start.
    Split(Vec<Bytes>),
    /// Somebody else, who may say otherwise at any time. Ranges that overlap are not heeded.
    Told(watch::Receiver<Arc<[PartitionRange]>>),
}

impl Default for Wanted {
    fn default() -> Wanted {
        Wanted::Split(Vec::new())
    }
}

impl Wanted {
    /// The same as told, where it is `ranges` now.
    pub(crate) fn told(self, ranges: &[PartitionRange]) -> Wanted {
        match self {
            Wanted::Split(_) => Wanted::Told(watch::channel(ranges.into()).1),
            told @ Wanted::Told(_) => told,
        }
    }

    /// What is wanted now, in the order of the keys; `None` where that is no way to divide keys.
    pub(crate) fn ranges(&self) -> Option<Vec<PartitionRange>> {
        match self {
            Wanted::Split(keys) => Some(PartitionRange::split(keys)),
            Wanted::Told(told) => in_order(&told.borrow()),
        }
    }
}

/// The ranges in the order of their keys; `None` where some have the same keys, the same name, or no keys.
pub(crate) fn in_order(ranges: &[PartitionRange]) -> Option<Vec<PartitionRange>> {
    let mut ranges = ranges.to_vec();
    ranges.sort_by(|one, other| one.start.cmp(&other.start));
    let held = ranges.iter().all(|range| range.end.as_ref().is_none_or(|end| range.start < *end));
    let apart = ranges.windows(2).all(|pair| !pair[0].overlaps(&pair[1]));
    let mut names: Vec<_> = ranges.iter().map(|range| range.id).collect();
    names.sort_unstable();
    names.dedup();
    (held && apart && names.len() == ranges.len()).then_some(ranges)
}

/// A change of what is served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exchange {
    pub(crate) enter: Vec<PartitionRange>,
    pub(crate) leave: Vec<PartitionRange>,
}

/// What can change by now. `there` are the partitions that could be served at once. One leaves when all that is
/// wanted of its keys can take its place, so no key that stays wanted is ever without a partition.
pub(crate) fn exchange(
    served: &[PartitionRange],
    wanted: &[PartitionRange],
    there: &[PartitionRange],
) -> Exchange {
    let old: Vec<_> = served.iter().filter(|range| !wanted.contains(range)).collect();
    let new = |range: &&PartitionRange| wanted.contains(range) && !served.contains(range);
    let mut enter: Vec<_> = there.iter().filter(new).cloned().collect();
    loop {
        let waits =
            |old: &&&PartitionRange| wanted.iter().any(|range| range.overlaps(old) && !enter.contains(range));
        let waiting: Vec<_> = old.iter().filter(waits).collect();
        let free = |range: &PartitionRange| !waiting.iter().any(|old| old.overlaps(range));
        let freed: Vec<_> = enter.iter().filter(|range| free(range)).cloned().collect();
        if freed.len() == enter.len() {
            let leave = old.iter().filter(|old| !waiting.contains(old)).map(|old| (*old).clone()).collect();
            return Exchange { enter, leave };
        }
        enter = freed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition_id::PartitionId;

    /// Each named after its keys: `"am"` holds those from a to m, `"m-"` all from m on.
    fn ranges(names: &str) -> Vec<PartitionRange> {
        names.split_whitespace().map(range).collect()
    }

    fn range(name: &str) -> PartitionRange {
        let [start, end] = *name.as_bytes() else { panic!("{name} is no range") };
        let bytes = |byte| Bytes::copy_from_slice(&[byte]);
        let id = PartitionId(u64::from(start) << 8 | u64::from(end));
        PartitionRange { id, start: bytes(start), end: (end != b'-').then(|| bytes(end)) }
    }

    #[track_caller]
    fn check(served: &str, wanted: &str, there: &str, enter: &str, leave: &str) {
        let found = exchange(&ranges(served), &ranges(wanted), &ranges(there));
        assert_eq!(found, Exchange { enter: ranges(enter), leave: ranges(leave) });
    }

    #[test]
    fn a_split_waits_for_all_its_parts() {
        check("a-", "am m-", "", "", "");
        check("a-", "am m-", "am", "", "");
        check("a-", "am m-", "am m-", "am m-", "a-");
    }

    #[test]
    fn a_merge_takes_all_at_once() {
        check("am m-", "a-", "", "", "");
        check("am m-", "a-", "a-", "a-", "am m-");
    }

    #[test]
    fn what_hangs_together_changes_together_and_the_rest_by_itself() {
        check("ac ce eg gi xz", "ab bd df fi xy yz", "ab bd df xy yz", "xy yz", "xz");
        check("ac ce eg gi xz", "ab bd df fi xy yz", "ab bd df fi", "ab bd df fi", "ac ce eg gi");
    }

    #[test]
    fn what_nobody_wants_goes_and_what_is_new_comes() {
        check("am", "", "", "", "am");
        check("", "am m-", "m-", "m-", "");
        check("am mz", "am", "", "", "mz");
        check("am", "bm", "", "", "");
    }

    #[test]
    fn what_divides_no_keys_is_not_heeded() {
        assert_eq!(in_order(&ranges("m- am")), Some(ranges("am m-")));
        for wrong in ["am l-", "a- m-", "am am", "ma", "aa"] {
            assert_eq!(in_order(&ranges(wrong)), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_left_of_a_range_lies_between_the_others() {
        let left = |of: &str, others: &str| {
            let left = range(of).without(&ranges(others));
            left.into_iter().map(|left| (left.start, left.end)).collect::<Vec<_>>()
        };
        let bounds =
            |names: &str| ranges(names).into_iter().map(|range| (range.start, range.end)).collect::<Vec<_>>();
        assert_eq!(left("bx", ""), bounds("bx"));
        assert_eq!(left("bx", "ac"), bounds("cx"));
        assert_eq!(left("bx", "ac de gz"), bounds("cd eg"));
        assert_eq!(left("b-", "ac de"), bounds("cd e-"));
        assert_eq!(left("bx", "bx"), bounds(""));
        assert_eq!(left("bx", "a-"), bounds(""));
        assert_eq!(left("bx", "ab xz"), bounds("bx"));
    }
}
