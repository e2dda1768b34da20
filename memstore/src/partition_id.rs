//! Which partition, and which keys are its own.

use bytes::Bytes;
use journal::KeyRange;

/// Names a partition. No two of a cluster ever have the same name, also one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId(pub u64);

/// A partition's keys: `start <= key < end`, or without end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionRange {
    pub id: PartitionId,
    pub start: Bytes,
    pub end: Option<Bytes>,
}

impl PartitionRange {
    /// Cuts all keys at `split_keys`, in whichever order and however often they are named.
    #[must_use]
    pub fn split(split_keys: &[Bytes]) -> Vec<PartitionRange> {
        let mut starts = vec![Bytes::new()];
        starts.extend(split_keys.iter().cloned());
        starts.sort();
        starts.dedup();
        let ends = starts.iter().skip(1).cloned().map(Some).chain([None]);
        let bounds = starts.iter().cloned().zip(ends);
        (0..)
            .map(PartitionId)
            .zip(bounds)
            .map(|(id, (start, end))| PartitionRange { id, start, end })
            .collect()
    }

    /// All keys.
    pub(crate) fn all() -> PartitionRange {
        PartitionRange { id: PartitionId(0), start: Bytes::new(), end: None }
    }

    /// Whether there are keys of both.
    #[must_use]
    pub fn overlaps(&self, other: &PartitionRange) -> bool {
        let begins =
            |one: &PartitionRange, two: &PartitionRange| two.end.as_ref().is_none_or(|end| one.start < *end);
        begins(self, other) && begins(other, self)
    }

    /// Whether there can be a key of its own.
    pub(crate) fn holds_any(&self) -> bool {
        self.end.as_ref().is_none_or(|end| self.start < *end)
    }

    /// Whether it has the same keys.
    pub(crate) fn same_keys(&self, other: &PartitionRange) -> bool {
        (&self.start, &self.end) == (&other.start, &other.end)
    }

    /// What is left of it between those of `others`, which are in the order of their keys.
    pub(crate) fn without(&self, others: &[PartitionRange]) -> Vec<PartitionRange> {
        let mut left = Vec::new();
        let mut start = Some(self.start.clone());
        for other in others.iter().filter(|other| self.overlaps(other)) {
            let from = start.take().expect("only the last partition has no end");
            if from < other.start {
                left.push(PartitionRange { id: self.id, start: from, end: Some(other.start.clone()) });
            }
            start.clone_from(&other.end);
        }
        let ended = |from: &Bytes| self.end.as_ref().is_some_and(|end| end <= from);
        if let Some(start) = start.filter(|start| !ended(start)) {
            left.push(PartitionRange { start, ..self.clone() });
        }
        left
    }

    /// Whether `key` is one of its own.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.start[..] <= *key && self.end.as_ref().is_none_or(|end| *key < end[..])
    }

    /// The part of `keys` that is its own.
    #[must_use]
    pub fn clip(&self, keys: &KeyRange) -> Option<KeyRange> {
        keys.clip(&self.start, self.end.as_ref())
    }

    /// Whether all of `keys` are its own.
    #[must_use]
    pub fn covers(&self, keys: &KeyRange) -> bool {
        keys.is_empty() || self.clip(keys).as_ref() == Some(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_keys_cut_all_keys_without_gap() {
        let keys = [Bytes::from("m"), Bytes::from("b"), Bytes::from("m"), Bytes::new()];
        let ranges = PartitionRange::split(&keys);
        let bounds: Vec<_> = ranges.iter().map(|range| (range.start.clone(), range.end.clone())).collect();
        let [none, b, m] = ["", "b", "m"].map(Bytes::from);
        assert_eq!(bounds, [(none, Some(b.clone())), (b, Some(m.clone())), (m, None)]);
        for key in ["", "a", "b", "c", "m", "z"] {
            assert_eq!(ranges.iter().filter(|range| range.contains(key.as_bytes())).count(), 1);
        }
    }

    #[test]
    fn a_range_beyond_the_end_is_not_covered() {
        let range = &PartitionRange::split(&[Bytes::from("m")])[0];
        let from =
            |start: &'static str, end: &'static str| KeyRange::Range { start: start.into(), end: end.into() };
        assert!(range.covers(&from("a", "m")));
        assert!(range.covers(&from("z", "a")), "no key at all");
        assert!(!range.covers(&from("a", "n")));
        assert!(!range.covers(&KeyRange::From("a".into())));
        assert!(!range.covers(&KeyRange::Single("m".into())));
    }
}
