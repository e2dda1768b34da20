//! What each partition takes, also while no memstore serves it: what it took when it was last heard of.
//!
//!     keys     [ 12 MiB )[ 40 MiB     )[ 8 MiB  )
//!                 served    lost: 40     served         60 MiB in use
//!
//! A quota that forgot what is lost would let others write as much, and one that waited for it would stop them.
//!
//! Invariant: the ranges do not overlap, so there are no more of them than partitions that follow each other.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use memstore::PartitionRange;

/// Sizes by the first key of their range.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    known: BTreeMap<Bytes, Size>,
    /// When all were last heard of.
    pub(super) heard: Option<Instant>,
}

#[derive(Debug)]
struct Size {
    /// `None`: the end of all keys.
    end: Option<Bytes>,
    bytes: u64,
}

impl Sizes {
    /// Somebody who serves the partition says so. What was known of its keys is forgotten.
    pub(super) fn hear(&mut self, range: &PartitionRange, bytes: u64) {
        let PartitionRange { start, end, .. } = range;
        if let Some(size) = self.known.get_mut(start)
            && size.end == *end
        {
            size.bytes = bytes;
            return;
        }
        let reaches = |size: &Size| size.end.as_ref().is_none_or(|end| start < end);
        let begins = |other: &Bytes| end.as_ref().is_none_or(|end| other < end);
        self.known.retain(|other, size| !(begins(other) && reaches(size)));
        self.known.insert(start.clone(), Size { end: end.clone(), bytes });
    }

    pub(super) fn sum(&self) -> u64 {
        self.known.values().map(|size| size.bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use memstore::PartitionId;

    use super::*;

    #[test]
    fn what_is_not_heard_of_keeps_its_size_and_what_is_cut_otherwise_counts_once() {
        let mut sizes = Sizes::default();
        let mut hear = |start: &'static str, end: Option<&'static str>, bytes| {
            let range = PartitionRange { id: PartitionId(1), start: start.into(), end: end.map(Bytes::from) };
            sizes.hear(&range, bytes);
            sizes.sum()
        };
        assert_eq!(hear("", Some("g"), 10), 10);
        assert_eq!(hear("g", None, 50), 60);
        assert_eq!(hear("", Some("g"), 12), 62, "the other one is not heard of");
        assert_eq!(hear("g", Some("t"), 30), 42, "it was cut in two, of which one is known");
        assert_eq!(hear("t", None, 20), 62);
        assert_eq!(hear("", None, 70), 70, "all were joined");
    }
}
