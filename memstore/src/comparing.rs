//! Whether a replica holds what those hold that it takes the places of.
//!
//! Both have applied the same records up to some position, one from the beginning and one from a copy of the other.
//! If their sets of versions there differ, one of them is wrong: memory has decayed, or we have made a mistake. Replicas of
//! different memstores are compared by the number for each, which is made the same way.

use journal::Revision;
use tokio_util::sync::CancellationToken;

use crate::building::Source;
use crate::partition::Partition;
use crate::set_hash::SetHash;

/// Versions looked at at once, under the partition's read lock.
const CHUNK_VERSIONS: usize = 512;

/// Compares the keys that `others` have, which all stand at one position, where `partition` is or was. Nothing may be
/// freed meanwhile. `None` where that was given up.
pub(crate) fn same(partition: &Partition, others: &[Source], given_up: &CancellationToken) -> Option<bool> {
    let Some(Source { applied, compacted, .. }) = others.first() else { return Some(true) };
    let at = (applied.revision, *compacted);
    assert!(
        others.iter().all(|other| (other.applied.revision, other.compacted) == at),
        "they stand together"
    );
    let mut expected = SetHash::default();
    for other in others {
        add(&mut expected, &other.partition, at, |key| other.range.contains(key), given_up)?;
    }
    let mut found = SetHash::default();
    let has = |key: &[u8]| others.iter().any(|other| other.range.contains(key));
    add(&mut found, partition, at, has, given_up)?;
    Some(found == expected)
}

/// What the partition holds up to a revision, as a compaction leaves it, which it has not gone beyond. Nothing may be freed
/// meanwhile. `None` where that was given up.
pub(crate) fn set_hash(
    partition: &Partition,
    at: (Revision, Revision),
    given_up: &CancellationToken,
) -> Option<SetHash> {
    let mut hash = SetHash::default();
    add(&mut hash, partition, at, |_| true, given_up)?;
    Some(hash)
}

fn add(
    hash: &mut SetHash,
    partition: &Partition,
    (upto, compacted): (Revision, Revision),
    has: impl Fn(&[u8]) -> bool,
    given_up: &CancellationToken,
) -> Option<()> {
    let mut after = (Revision::ZERO, 0);
    loop {
        let versions = partition.versions(upto, compacted, after, CHUNK_VERSIONS);
        let Some(last) = versions.last() else { return Some(()) };
        after = last.position();
        versions.iter().filter(|version| has(&version.kv.key)).for_each(|version| hash.add(version));
        if given_up.is_cancelled() {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use journal::{Batch, LeaseId, Lsn, Origin, Record, SysOp, Write};

    use super::*;
    use crate::frontier::Applied;
    use crate::partition_id::PartitionRange;

    fn apply(partition: &Partition, writes: Vec<Write>, sysop: Option<SysOp>) {
        let record = Record { origin: Origin::default(), writes, sysop };
        let base_revision = partition.revision().next();
        let batch = Batch { term: 1, base_revision, wall_clock_ms: 0, records: vec![record] };
        partition.apply(&batch, &mut |_| ());
    }

    fn put(key: &'static str, value: &'static str) -> Write {
        Write::Put { key: Bytes::from(key), value: value.into(), lease: LeaseId::NONE }
    }

    fn written(range: &PartitionRange, value: &'static str) -> Partition {
        let partition = Partition::new(range.clone());
        for key in ["a", "m", "a", "z"] {
            apply(&partition, vec![put(key, value)], None);
        }
        partition
    }

    #[test]
    fn what_differs_is_noticed_and_what_comes_later_is_not_looked_at() {
        let (whole, halves) = (PartitionRange::split(&[]), PartitionRange::split(&["m".into()]));
        let applied = Applied { lsn: Lsn(4), revision: Revision(5) };
        let others = |value| {
            let source = |range| Source::all_of(written(range, value), applied);
            halves.iter().map(source).collect::<Vec<_>>()
        };
        let merged = written(&whole[0], "v");
        let check = |others: &[Source]| same(&merged, others, &CancellationToken::new());
        assert_eq!(check(&others("v")), Some(true));
        assert_eq!(check(&others("w")), Some(false));
        assert_eq!(
            check(&others("v")[1..]),
            Some(true),
            "of keys that the others do not have nothing is known"
        );
        // It is ahead.
        apply(&merged, vec![put("b", "later"), put("a", "later")], None);
        apply(&merged, vec![], Some(SysOp::Compact { revision: Revision(6) }));
        assert_eq!(check(&others("v")), Some(true));
        let lacks = others("v");
        apply(&lacks[0].partition, vec![Write::Delete { key: "a".into() }], None);
        let applied = Applied { lsn: Lsn(5), revision: Revision(6) };
        let lacks: Vec<_> = lacks.into_iter().map(|source| Source { applied, ..source }).collect();
        assert_eq!(check(&lacks), Some(false));
    }
}
