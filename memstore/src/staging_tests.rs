//! What is applied in steps cannot be seen before its end, and is the same then as what is applied at once.

use bytes::Bytes;
use journal::{Batch, KeyRange, LeaseId, Origin, Record, Revision, SysOp, Write};
use proptest::prelude::*;

use crate::partition::Partition;
use crate::partition_id::PartitionRange;
use crate::query::{Projection, Query};

const LEASES: [LeaseId; 3] = [LeaseId::NONE, LeaseId(1), LeaseId(2)];

fn any_write() -> impl Strategy<Value = Write> {
    let key = (0_u8..30).prop_map(|number| Bytes::from(vec![b'a' + number % 26, number]));
    (key, 0_usize..4, any::<u8>()).prop_map(|(key, kind, value)| match kind {
        3 => Write::Delete { key },
        lease => Write::Put { key, value: Bytes::from(vec![value]), lease: LEASES[lease] },
    })
}

fn any_records() -> impl Strategy<Value = Vec<Vec<Write>>> {
    prop::collection::vec(prop::collection::vec(any_write(), 0..12), 1..4)
}

/// All that can be asked of a partition, as of now.
fn told(partition: &Partition) -> String {
    let middle = KeyRange::Range { start: "d".into(), end: "q".into() };
    let mut told = String::new();
    for keys in [KeyRange::all(), middle].into_iter().filter_map(|keys| partition.range().clip(&keys)) {
        for (projection, limit) in [(Projection::Full, 0), (Projection::Full, 2), (Projection::CountOnly, 0)]
        {
            let query = Query { projection, limit, ..Query::latest(keys.clone()) };
            let answer = partition.range_at_once(&query).expect("it can be read");
            told += &format!("{answer:?}\n");
        }
        let upto = partition.revision();
        let happened = partition.history(partition.compacted(), upto, &keys, usize::MAX, usize::MAX);
        told += &format!("{happened:?}\n");
    }
    for lease in LEASES.into_iter().skip(1) {
        told += &format!("{:?}\n", partition.lease_keys(lease));
    }
    let (upto, compacted) = (partition.revision(), partition.compacted());
    told + &format!("{:?}", partition.versions(upto, compacted, (Revision::ZERO, 0), usize::MAX))
}

proptest! {
    #[test]
    fn a_batch_that_is_staged_is_seen_at_once(
        batches in prop::collection::vec((any_records(), prop::option::of(0_u64..4)), 1..8),
        budget in 1_usize..9,
        halves in any::<bool>(),
    ) {
        let range = PartitionRange::split(&["m".into()]).remove(usize::from(halves));
        let (staged, plain) = (Partition::new(range.clone()), Partition::new(range));
        for (records, back) in batches {
            let base_revision = plain.revision().next();
            let record = |(writes, sysop)| Record { origin: Origin::default(), writes, sysop };
            let compact = back.map(|back| SysOp::Compact { revision: Revision(base_revision.0.saturating_sub(back + 1)) });
            let records = records.into_iter().map(|writes| (writes, None)).chain(compact.map(|it| (Vec::new(), Some(it))));
            let records = records.map(record).collect();
            let batch = Batch { term: 1, base_revision, wall_clock_ms: 0, records };
            let before = told(&staged);
            let (mut of_staged, mut of_plain) = (Vec::new(), Vec::new());
            while staged.stage(&batch, budget, &mut |change| of_staged.push(format!("{change:?}"))) {
                prop_assert_eq!(&told(&staged), &before);
                staged.compact_step(3);
            }
            prop_assert_eq!(&told(&staged), &before);
            staged.apply(&batch, &mut |change| of_staged.push(format!("{change:?}")));
            plain.apply(&batch, &mut |change| of_plain.push(format!("{change:?}")));
            prop_assert_eq!(of_staged, of_plain);
            prop_assert_eq!(told(&staged), told(&plain));
        }
    }
}
