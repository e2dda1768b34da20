//! Where a partition is best cut in two: at a key with about half of its bytes before it, or half of its writes.
//!
//!     lock ─ 512 keys ─ unlock   lock ─ 512 keys ─ unlock   …   half of the bytes: this key
//!
//! Writes go on between two steps, so the middle is that of a moment or another; nobody needs it more exactly.
//! Where most of it belongs to one key, a cut gains nothing, and there is no middle.

use std::ops::ControlFlow;

use bytes::Bytes;

use crate::partition::Partition;
use crate::reading::CHUNK;
use crate::store::{Lower, Store};

/// Of what the middle is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MiddleOf {
    /// Everything that is kept, older versions, too.
    Bytes,
    /// The last few hundred writes.
    Writes,
}

/// How many of the last writes are looked at, and how few say nothing.
const WRITES: usize = 1_024;
const WRITES_MIN: usize = 64;
/// A part that is smaller is not worth a cut: one in so many.
const PARTS: u64 = 8;

/// The search for it.
pub(crate) struct Middle {
    of: MiddleOf,
    /// The last key looked at, and the bytes of those before it.
    last: Option<(Bytes, u64)>,
    /// The bytes up to and with that one.
    upto: u64,
}

/// What a step found.
pub(crate) enum Found {
    Nothing,
    Key(Bytes),
}

impl Middle {
    pub(crate) fn new(of: MiddleOf) -> Middle {
        Middle { of, last: None, upto: 0 }
    }

    /// Looks at the next part. `None`: there is more to look at.
    pub(crate) fn step(&mut self, partition: &Partition) -> Option<Found> {
        match self.of {
            MiddleOf::Bytes => self.of_bytes(&partition.store()),
            MiddleOf::Writes => {
                let written = partition.store().last_written(WRITES);
                Some(of_writes(written).map_or(Found::Nothing, Found::Key))
            }
        }
    }

    fn of_bytes(&mut self, store: &Store) -> Option<Found> {
        let total = store.weight();
        let Middle { last, upto, .. } = self;
        let from = last.as_ref().map(|(key, _)| key.clone());
        let lower = from.as_deref().map_or(Lower::At(&[]), Lower::Behind);
        let (mut looked, mut behind) = (0, None);
        store.walk(lower, |chain| {
            let key = chain.head().key_bytes();
            if total / 2 <= *upto {
                behind = Some((key, *upto));
                return ControlFlow::Break(());
            }
            *last = Some((key, *upto));
            *upto += chain.weight();
            looked += 1;
            if looked < CHUNK { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        if looked == CHUNK {
            return None;
        }
        // The key that has the middle in it goes to where less is.
        let least = |before: u64| before.min(total.saturating_sub(before));
        let cuts = last.take().into_iter().chain(behind);
        let best = cuts.map(|(key, before)| (least(before), key)).max_by_key(|(least, _)| *least);
        let worth = best.filter(|(least, _)| 0 < *least && total / PARTS <= *least);
        Some(worth.map_or(Found::Nothing, |(_, key)| Found::Key(key)))
    }
}

fn of_writes(mut written: Vec<Bytes>) -> Option<Bytes> {
    if written.len() < WRITES_MIN {
        return None;
    }
    written.sort_unstable();
    let middle = &written[written.len() / 2];
    // All writes of the key in the middle fall on one side: that which makes the parts more alike.
    let (from, to) =
        (written.partition_point(|key| key < middle), written.partition_point(|key| key <= middle));
    let least = |cut: usize| cut.min(written.len() - cut);
    let cut = if least(from) < least(to) { to } else { from };
    let parts = usize::try_from(PARTS).expect("it is small");
    (written.len() / parts <= least(cut)).then(|| written[cut].clone())
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use journal::{Batch, LeaseId, Origin, Record, Revision, Write};

    use super::*;
    use crate::partition_id::PartitionRange;

    /// Each key is put with so many bytes.
    fn partition(puts: impl IntoIterator<Item = (String, usize)>) -> Partition {
        let partition = Partition::new(PartitionRange::split(&[]).remove(0));
        for (revision, (key, bytes)) in (2..).zip(puts) {
            let write = Write::Put { key: key.into(), value: vec![b'v'; bytes].into(), lease: LeaseId::NONE };
            let record = Record { origin: Origin::default(), writes: vec![write], sysop: None };
            let base_revision = Revision(revision);
            partition.apply(
                &Batch { term: 1, base_revision, wall_clock_ms: 0, records: vec![record] },
                &mut |_| {},
            );
        }
        partition
    }

    fn middle(of: MiddleOf, partition: &Partition) -> Option<Bytes> {
        let mut middle = Middle::new(of);
        loop {
            match middle.step(partition) {
                None => {}
                Some(Found::Nothing) => return None,
                Some(Found::Key(key)) => return Some(key),
            }
        }
    }

    fn puts(of: &[(&str, usize)]) -> Vec<(String, usize)> {
        of.iter().map(|(key, bytes)| ((*key).to_owned(), *bytes)).collect()
    }

    #[track_caller]
    fn check(of: MiddleOf, all: Vec<(String, usize)>, expected: Expect) {
        expected.assert_eq(&format!("{:?}", middle(of, &partition(all))));
    }

    #[test]
    fn as_many_bytes_are_before_it_as_behind() {
        let even = |count: u32| (0..count).map(|key| (format!("{key:05}"), 100)).collect();
        check(MiddleOf::Bytes, even(10), expect![[r#"Some(b"00005")"#]]);
        check(MiddleOf::Bytes, even(4_000), expect![[r#"Some(b"02000")"#]]);
        check(MiddleOf::Bytes, even(2), expect![[r#"Some(b"00001")"#]]);
        let large_first = puts(&[("a", 9_000), ("b", 3_000), ("c", 3_000), ("d", 2_000)]);
        check(MiddleOf::Bytes, large_first, expect![[r#"Some(b"b")"#]]);
        let large_last = puts(&[("a", 3_000), ("b", 3_000), ("c", 3_000), ("d", 9_000)]);
        check(MiddleOf::Bytes, large_last, expect![[r#"Some(b"d")"#]]);
        let large_within = puts(&[("a", 5_000), ("b", 5_000), ("c", 6_000), ("d", 1_000)]);
        check(MiddleOf::Bytes, large_within, expect![[r#"Some(b"c")"#]]);
    }

    #[test]
    fn older_versions_count() {
        let again = (0..30).map(|_| ("c".to_owned(), 100));
        let first = ["a", "b", "c", "d"].map(|key| (key.to_owned(), 100));
        check(MiddleOf::Bytes, first.into_iter().chain(again).collect(), expect!["None"]);
        let again = (0..3).map(|_| ("c".to_owned(), 100));
        let first = ["a", "b", "c", "d"].map(|key| (key.to_owned(), 100));
        check(MiddleOf::Bytes, first.into_iter().chain(again).collect(), expect![[r#"Some(b"c")"#]]);
    }

    #[test]
    fn what_one_key_has_cannot_be_cut() {
        check(MiddleOf::Bytes, puts(&[]), expect!["None"]);
        check(MiddleOf::Bytes, puts(&[("a", 10)]), expect!["None"]);
        check(MiddleOf::Bytes, puts(&[("a", 10), ("b", 9_000), ("c", 10)]), expect!["None"]);
        check(MiddleOf::Bytes, puts(&[("a", 10), ("b", 9_000)]), expect!["None"]);
        check(MiddleOf::Bytes, puts(&[("b", 9_000), ("c", 10)]), expect!["None"]);
    }

    #[test]
    fn of_the_last_writes_half_fall_on_either_side() {
        let old = || (0..9_000).map(|key| (format!("a{key:05}"), 1));
        let new = (0..1_024).map(|key| (format!("b{key:05}"), 1));
        check(MiddleOf::Writes, old().chain(new).collect(), expect![[r#"Some(b"b00512")"#]]);
        let hot = |other: u32| {
            (0..1_024_u32).map(move |at| (format!("b{}", if at % 4 < other { at } else { 9_999 }), 1))
        };
        check(MiddleOf::Writes, old().chain(hot(1)).collect(), expect![[r#"Some(b"b9999")"#]]);
        check(MiddleOf::Writes, old().chain(hot(0)).collect(), expect!["None"]);
        check(MiddleOf::Writes, old().take(63).collect(), expect!["None"]);
    }
}
