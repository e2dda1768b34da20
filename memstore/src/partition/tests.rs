//! What a partition keeps, and for how long it is locked.

use journal::{LeaseId, Origin, Record, Write};

use super::*;

fn batch(base: u64, writes: Vec<Write>, sysop: Option<SysOp>) -> Batch {
    let record = Record { origin: Origin::default(), writes, sysop };
    Batch { term: 1, base_revision: Revision(base), wall_clock_ms: 0, records: vec![record] }
}

/// A writer would wait for as long as all of it takes.
#[test]
fn a_long_revision_is_recalled_in_parts() {
    let partition = Partition::new(PartitionRange::split(&[]).remove(0));
    let put = |number: u32| {
        let (key, value) = (Bytes::from(format!("{number}")), Bytes::from_static(b"v"));
        Write::Put { key, value, lease: LeaseId::NONE }
    };
    partition.apply(&batch(2, (0..10_000).map(put).collect(), None), &mut |_| ());
    partition.apply(&batch(3, vec![put(0)], None), &mut |_| ());
    let (mut recall, mut parts) = (Recall::new(Revision(2)), 0);
    let next = loop {
        let before = recall.changes.len();
        let next = partition.store().recall(&mut recall, Revision(3), &KeyRange::all(), 1_000, usize::MAX);
        parts += 1;
        assert!(recall.changes.len() - before <= 1_000);
        if let Some(next) = next {
            break next;
        }
    };
    assert_eq!((parts, next, recall.changes.len()), (10, Revision(3), 10_000));
    let happened = partition.history(Revision(2), Revision(3), &KeyRange::all(), 1_000, usize::MAX);
    assert_eq!(happened.unwrap().changes, recall.changes);
}

/// Else a store that was full once would be full for ever.
#[test]
fn what_is_compacted_no_longer_counts() {
    let partition = Partition::new(PartitionRange::split(&[]).remove(0));
    let empty = partition.bytes_in_use();
    let key = |number: u32| Bytes::from(format!("{number}"));
    let value = Bytes::from_static(b"v");
    let put = |number| Write::Put { key: key(number), value: value.clone(), lease: LeaseId::NONE };
    let mut ignore = |_: Change| {};
    partition.apply(&batch(2, (0..10_000).map(put).collect(), None), &mut ignore);
    assert!(empty + 10_000 < partition.bytes_in_use());
    let delete = |number| Write::Delete { key: key(number) };
    partition.apply(&batch(3, (0..10_000).map(delete).collect(), None), &mut ignore);
    // Deletions at the compacted revision itself are kept.
    partition.apply(&batch(4, vec![put(10_000)], None), &mut ignore);
    let compact = SysOp::Compact { revision: Revision(4) };
    partition.apply(&batch(5, Vec::new(), Some(compact)), &mut ignore);
    while partition.compact_step(1_000) != Swept::All {}
    let other = Partition::new(PartitionRange::split(&[]).remove(0));
    other.apply(&batch(2, vec![put(10_000)], None), &mut ignore);
    assert_eq!(partition.bytes_in_use(), other.bytes_in_use());
}
