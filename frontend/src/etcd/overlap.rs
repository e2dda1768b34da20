//! Whether a branch of a transaction would write a key twice.
//!
//! etcd refuses two puts of a key, and a put of a key that the same branch deletes, before any compare is
//! looked at. Each nested transaction counts with both of its branches, of which only one can happen, so a key
//! may be put in both.
//!
//! Two of its ways are kept since clients can see them: a deletion of every key from one on is not counted, and
//! a nested put is only held against deletions of its own level, above it, and in the nested transactions before.

use std::collections::{BTreeMap, HashSet};

use journal::KeyRange;

use crate::error::Error;
use crate::operation::{Op, Txn};

/// # Errors
/// `DuplicateKey`.
pub(crate) fn check(ops: &[Op]) -> Result<(), Error> {
    // One write at most is the common case, and cannot meet another.
    let writes = ops.iter().filter(|op| !matches!(op, Op::Range(_))).count();
    if writes <= 1 && !ops.iter().any(|op| matches!(op, Op::Txn(_))) {
        return Ok(());
    }
    Written::by(ops).map(|_| ())
}

/// What a branch writes.
#[derive(Default)]
struct Written<'a> {
    puts: HashSet<&'a [u8]>,
    deletions: Deletions<'a>,
}

impl<'a> Written<'a> {
    fn by(ops: &'a [Op]) -> Result<Written<'a>, Error> {
        let mut written = Written::default();
        for op in ops {
            if let Op::DeleteRange(delete) = op {
                written.deletions.add(&delete.keys);
            }
        }
        for op in ops {
            if let Op::Txn(txn) = op {
                written.nest(txn)?;
            }
        }
        for op in ops {
            if let Op::Put(put) = op {
                written.put(&put.key)?;
            }
        }
        Ok(written)
    }

    fn nest(&mut self, txn: &'a Txn) -> Result<(), Error> {
        let success = Written::by(&txn.success)?;
        let failure = Written::by(&txn.failure)?;
        for key in &success.puts {
            self.put(key)?;
        }
        for key in failure.puts.difference(&success.puts) {
            self.put(key)?;
        }
        self.deletions.union(success.deletions);
        self.deletions.union(failure.deletions);
        Ok(())
    }

    fn put(&mut self, key: &'a [u8]) -> Result<(), Error> {
        if self.deletions.contain(key) || !self.puts.insert(key) {
            return Err(Error::DuplicateKey);
        }
        Ok(())
    }
}

/// Keys that are deleted: intervals that do not touch, each start with its end, so that thousands of operations
/// are checked in no more than n log n.
#[derive(Default)]
struct Deletions<'a>(BTreeMap<&'a [u8], End<'a>>);

/// The first position behind an interval.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End<'a> {
    /// `key` is outside.
    Before(&'a [u8]),
    /// `key` is inside and the last.
    After(&'a [u8]),
}

impl End<'_> {
    fn is_behind(self, key: &[u8]) -> bool {
        match self {
            End::Before(end) => key < end,
            End::After(last) => key <= last,
        }
    }

    /// `After(key)` is `Before` the least key that follows `key`.
    fn max(self, other: Self) -> Self {
        let (End::Before(mine) | End::After(mine)) = self;
        let (End::Before(others) | End::After(others)) = other;
        match mine.cmp(others) {
            std::cmp::Ordering::Less => other,
            std::cmp::Ordering::Greater => self,
            std::cmp::Ordering::Equal if matches!(self, End::After(_)) => self,
            std::cmp::Ordering::Equal => other,
        }
    }
}

impl<'a> Deletions<'a> {
    fn add(&mut self, keys: &'a KeyRange) {
        match keys {
            KeyRange::Single(key) => self.insert(key, End::After(key)),
            KeyRange::Range { start, end } if start < end => self.insert(start, End::Before(end)),
            KeyRange::Range { .. } | KeyRange::From(_) => {}
        }
    }

    fn insert(&mut self, mut start: &'a [u8], mut end: End<'a>) {
        if let Some((&before, &before_end)) = self.0.range(..=start).next_back()
            && before_end.is_behind(start)
        {
            start = before;
            end = end.max(before_end);
        }
        while let Some((&inside, &inside_end)) = self.0.range(start..).next()
            && end.is_behind(inside)
        {
            end = end.max(inside_end);
            self.0.remove(inside);
        }
        self.0.insert(start, end);
    }

    fn union(&mut self, other: Deletions<'a>) {
        for (start, end) in other.0 {
            self.insert(start, end);
        }
    }

    fn contain(&self, key: &[u8]) -> bool {
        self.0.range(..=key).next_back().is_some_and(|(_, end)| end.is_behind(key))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::operation::{DeleteRange, Put};

    fn put(key: &'static str) -> Op {
        Op::Put(Put { key: key.into(), ..Put::default() })
    }

    fn delete(key: &'static str, end: &'static str) -> Op {
        let keys = KeyRange::from_wire(key.into(), end.into());
        Op::DeleteRange(DeleteRange { keys, prev_kv: false })
    }

    fn nested(success: Vec<Op>, failure: Vec<Op>) -> Op {
        Op::Txn(Txn { compares: vec![], success, failure })
    }

    fn accepted(ops: &[Op]) -> bool {
        check(ops).is_ok()
    }

    #[test]
    fn two_puts_of_a_key_are_refused() {
        assert!(!accepted(&[put("a"), put("a")]));
        assert!(accepted(&[put("a"), put("b")]));
    }

    #[test]
    fn a_put_of_a_deleted_key_is_refused_in_any_order() {
        assert!(!accepted(&[put("b"), delete("a", "c")]));
        assert!(!accepted(&[delete("a", "c"), put("b")]));
        assert!(!accepted(&[delete("b", ""), put("b")]));
        assert!(accepted(&[delete("a", "c"), put("c")]));
        assert!(accepted(&[delete("c", "a"), put("b")]));
    }

    #[test]
    fn a_key_may_be_deleted_twice() {
        assert!(accepted(&[delete("a", "c"), delete("b", "")]));
    }

    #[test]
    fn a_deletion_of_all_keys_from_one_on_is_not_seen() {
        assert!(accepted(&[delete("a", "\0"), put("b")]));
    }

    #[test]
    fn a_key_may_be_put_in_both_branches_of_a_nested_txn() {
        assert!(accepted(&[nested(vec![put("a")], vec![put("a")])]));
        assert!(!accepted(&[nested(vec![put("a")], vec![put("a")]), put("a")]));
        assert!(!accepted(&[nested(vec![put("a")], vec![]), nested(vec![], vec![put("a")])]));
    }

    #[test]
    fn a_nested_put_is_held_against_deletions_above_and_before_but_not_behind() {
        assert!(!accepted(&[nested(vec![put("b")], vec![]), delete("a", "c")]));
        assert!(!accepted(&[nested(vec![delete("b", "")], vec![]), put("b")]));
        assert!(!accepted(&[nested(vec![delete("b", "")], vec![]), nested(vec![put("b")], vec![])]));
        assert!(accepted(&[nested(vec![put("b")], vec![]), nested(vec![delete("b", "")], vec![])]));
        assert!(accepted(&[nested(vec![put("b")], vec![delete("b", "")])]));
    }

    proptest! {
        #[test]
        fn merged_intervals_hold_what_their_parts_hold(
            parts in proptest::collection::vec(("[a-f]{1,2}", "[a-f]{0,2}"), 0..12),
            probes in proptest::collection::vec("[a-f]{1,3}", 20),
        ) {
            let ranges: Vec<_> = parts
                .into_iter()
                .map(|(start, end)| KeyRange::from_wire(Bytes::from(start), Bytes::from(end)))
                .collect();
            let mut deletions = Deletions::default();
            ranges.iter().for_each(|range| deletions.add(range));
            for probe in probes {
                let expected = ranges.iter().any(|range| range.contains(probe.as_bytes()));
                prop_assert_eq!(deletions.contain(probe.as_bytes()), expected, "{:?} {}", ranges, probe);
            }
        }
    }
}
