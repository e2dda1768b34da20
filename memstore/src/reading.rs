//! A read of a range under way: chunk by chunk, all at one revision.
//!
//!     lock ─ 512 keys ─ unlock   lock ─ 512 keys ─ unlock   lock ─ count ─ unlock
//!       at is fixed, and pinned from here ───────────────────────────────► the end
//!
//! Between two chunks writes go on and change nothing at `at`; the pin keeps a compaction from it. Most reads
//! are over after one chunk and pin nothing.

use std::ops::ControlFlow;

use bytes::Bytes;
use journal::Revision;

use crate::counting::Counting;
use crate::error::Error;
use crate::frontier::Applied;
use crate::key_value::KeyValue;
use crate::partition::{Partition, Pin};
use crate::query::{Answer, At, Projection, Query};
use crate::store::{Lower, Store, Stored};

/// Keys looked at in one step.
pub(crate) const CHUNK: usize = 512;

pub(crate) struct Reading<'a> {
    query: &'a Query,
    /// Known from the first step on.
    at: Option<Revision>,
    /// Kept from the end of the first step on.
    pin: Option<Pin<'a>>,
    /// The last key looked at.
    behind: Option<Bytes>,
    kvs: Vec<KeyValue>,
    /// Keys seen, also those that the bounds leave out.
    seen: u64,
    more: bool,
    stage: Stage,
}

enum Stage {
    Keys,
    Count(Counting),
}

impl<'a> Reading<'a> {
    pub(crate) fn new(query: &'a Query) -> Reading<'a> {
        let (at, pin, behind, kvs, seen, more, stage) = (None, None, None, Vec::new(), 0, false, Stage::Keys);
        Reading { query, at, pin, behind, kvs, seen, more, stage }
    }

    /// Number of keys that were read so far and are to be answered.
    pub(crate) fn keys_read(&self) -> usize {
        self.kvs.len()
    }

    /// Reads the next part, and answers once there is nothing left to read.
    ///
    /// # Errors
    /// `Compacted`, `FutureRevision` and `WrongPartition`.
    pub(crate) fn step(&mut self, partition: &'a Partition) -> Result<Option<Answer>, Error> {
        let store = partition.store();
        let at = self.begin(partition, &store)?;
        let Some(count) = self.read(&store, at) else {
            // Taken while the store is locked, so that no compaction comes in between.
            self.pin.get_or_insert_with(|| partition.pin(at));
            return Ok(None);
        };
        let applied = Applied { revision: store.revision, ..Applied::default() };
        let kvs = std::mem::take(&mut self.kvs);
        Ok(Some(Answer { kvs, count, more: self.more, at, applied }))
    }

    fn begin(&mut self, partition: &Partition, store: &Store) -> Result<Revision, Error> {
        if let Some(at) = self.at {
            store.compaction.check_pinned(at)?;
            return Ok(at);
        }
        if !partition.range().covers(&self.query.keys) {
            return Err(Error::WrongPartition);
        }
        let at = revision(store, self.query.at)?;
        if self.query.projection == Projection::CountOnly {
            self.stage = Stage::Count(Counting::new(at));
        }
        self.at = Some(at);
        Ok(at)
    }

    /// The next part; answers the count when all is read.
    fn read(&mut self, store: &Store, at: Revision) -> Option<u64> {
        if let Stage::Keys = self.stage {
            self.behind = self.keys(store, at);
            if !self.more {
                return self.behind.is_none().then_some(self.seen);
            }
            // The rest is not read, only counted.
            self.stage = Stage::Count(Counting::new(at));
        }
        match &mut self.stage {
            Stage::Keys => unreachable!("there is a count to make"),
            Stage::Count(counting) => counting.step(store, &self.query.keys),
        }
    }

    fn keys(&mut self, store: &Store, at: Revision) -> Option<Bytes> {
        let Reading { query, behind, kvs, seen, more, .. } = self;
        let lower = behind.as_deref().map_or(Lower::At(query.keys.start()), Lower::Behind);
        store.scan(&query.keys, lower, at, CHUNK, |version| {
            *seen += 1;
            if !query.bounds.admit(version.revision, version.create_revision) {
                return ControlFlow::Continue(());
            }
            if query.limit != 0 && kvs.len() == query.limit {
                *more = true;
                return ControlFlow::Break(());
            }
            kvs.push(project(version, query.projection));
            ControlFlow::Continue(())
        })
    }
}

fn project(version: &Stored, projection: Projection) -> KeyValue {
    match projection {
        Projection::Full => version.key_value(),
        Projection::KeysOnly | Projection::CountOnly => version.without_value(),
    }
}

/// The revision that is meant, if it can be read.
pub(crate) fn revision(store: &Store, at: At) -> Result<Revision, Error> {
    let at = match at {
        At::Latest => store.revision,
        At::Revision(at) if store.revision < at => {
            return Err(Error::FutureRevision { current: store.revision });
        }
        At::Revision(at) => at,
    };
    store.compaction.check(at)?;
    Ok(at)
}

#[cfg(test)]
mod tests {
    use journal::{Batch, KeyRange, LeaseId, Origin, Record, SysOp, Write};

    use super::*;
    use crate::compaction::Swept;
    use crate::partition_id::PartitionRange;

    const KEYS: u64 = 2_000;

    fn partition() -> Partition {
        let range = PartitionRange::split(&[]).remove(0);
        let partition = Partition::new(range);
        append(&partition, (0..KEYS).map(|number| put(number, "old")), None);
        partition
    }

    fn key(number: u64) -> Bytes {
        format!("key-{number:06}").into()
    }

    fn put(number: u64, value: &'static str) -> Write {
        Write::Put { key: key(number), value: value.into(), lease: LeaseId::NONE }
    }

    /// Each write at a revision of its own.
    fn append(partition: &Partition, writes: impl Iterator<Item = Write>, sysop: Option<SysOp>) {
        let record = |write| Record { origin: Origin::default(), writes: vec![write], sysop: None };
        let mut records: Vec<_> = writes.map(record).collect();
        records.push(Record { origin: Origin::default(), writes: vec![], sysop });
        let base_revision = partition.revision().next();
        partition.apply(&Batch { term: 1, base_revision, wall_clock_ms: 0, records }, &mut |_| ());
    }

    fn compact(partition: &Partition) -> bool {
        append(partition, std::iter::empty(), Some(SysOp::Compact { revision: partition.revision() }));
        // It ends also where a read holds it up.
        (0..KEYS).any(|_| partition.compact_step(64) == Swept::All)
    }

    #[test]
    fn a_read_under_way_outlives_writes_and_a_compaction() {
        let partition = partition();
        for limit in [0, 1_500] {
            let at = partition.revision();
            let expected = partition.range_at_once(&Query::latest(KeyRange::all())).unwrap();
            let query = Query { limit, ..Query::latest(KeyRange::all()) };
            let mut reading = Reading::new(&query);
            assert_eq!(reading.step(&partition), Ok(None));
            append(&partition, (0..KEYS).step_by(3).map(|number| Write::Delete { key: key(number) }), None);
            append(&partition, (0..KEYS + 100).step_by(2).map(|number| put(number, "new")), None);
            assert!(!compact(&partition), "the read holds it up");
            let answer = loop {
                if let Some(answer) = reading.step(&partition).unwrap() {
                    break answer;
                }
            };
            let kept = if limit == 0 { expected.kvs.len() } else { limit };
            assert_eq!(answer.kvs, expected.kvs[..kept]);
            assert_eq!((answer.count, answer.at, answer.more), (expected.count, at, limit != 0));
            drop(reading);
            assert!(compact(&partition), "nothing holds it up any more");
            let again = Query { at: At::Revision(at), ..query.clone() };
            assert!(matches!(partition.range_at_once(&again), Err(Error::Compacted { .. })));
        }
    }

    #[test]
    fn a_count_in_the_past_is_exact_whichever_way_it_is_made() {
        let partition = partition();
        let begin = partition.revision();
        let keys = KeyRange::Range { start: key(500), end: key(510) };
        // Few keys and many changes: the keys are looked at. One more life for some, none for others.
        for _ in 0..5 {
            append(&partition, (0..KEYS).map(|number| Write::Delete { key: key(number) }), None);
            append(&partition, (0..KEYS).step_by(2).map(|number| put(number, "again")), None);
            append(&partition, (0..KEYS).step_by(2).map(|number| put(number, "and again")), None);
        }
        let end = partition.revision();
        for at in (begin.0..=end.0).step_by(1_234).map(Revision) {
            for keys in [keys.clone(), KeyRange::all()] {
                let full = Query { at: At::Revision(at), ..Query::latest(keys) };
                let counted = Query { projection: Projection::CountOnly, ..full.clone() };
                let limited = Query { limit: 1, ..full.clone() };
                let expected = partition.range_at_once(&full).unwrap().kvs.len() as u64;
                assert_eq!(partition.range_at_once(&counted).unwrap().count, expected);
                assert_eq!(partition.range_at_once(&limited).unwrap().count, expected);
            }
        }
    }

    #[test]
    fn keys_of_another_partition_are_refused() {
        let partition = Partition::new(PartitionRange::split(&["m".into()]).remove(0));
        let query = Query::latest(KeyRange::all());
        assert_eq!(partition.range_at_once(&query), Err(Error::WrongPartition));
        assert_eq!(partition.get_many(&["m".into()], At::Latest), Err(Error::WrongPartition));
    }
}
