//! The partitions against the model: random records and compactions, every question at every revision.

use bytes::Bytes;
use journal::{Batch, KeyRange, LeaseId, Origin, Record, Revision, SysOp, Write};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::compaction::Swept;
use crate::error::Error;
use crate::event::Change;
use crate::hash_kv::{HashKv, Hashed};
use crate::key_value::{KeyValue, Version};
use crate::model::Model;
use crate::partition::Partition;
use crate::partition_id::PartitionRange;
use crate::query::{At, Bounds, Projection, Query};

/// A store as the follower drives it.
struct World {
    model: Model,
    partitions: Vec<Partition>,
    told: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<Vec<Write>>),
    /// At so many hundredths of the way from the compacted revision to the last.
    Compact(u64),
    /// Free some memory, looking at so many changes.
    Sweep(usize),
}

fn key() -> impl Strategy<Value = Bytes> {
    "[a-d]{1,2}".prop_map(Bytes::from)
}

fn write() -> impl Strategy<Value = Write> {
    let put = (key(), ".{0,3}", prop_oneof![Just(0), 1..3_i64]);
    prop_oneof![
        3 => put.prop_map(|(key, value, lease)| Write::Put { key, value: value.into(), lease: LeaseId(lease) }),
        2 => key().prop_map(|key| Write::Delete { key }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => vec(vec(write(), 0..4), 1..4).prop_map(Step::Write),
        1 => (0..=100_u64).prop_map(Step::Compact),
        2 => (1..9_usize).prop_map(Step::Sweep),
    ]
}

fn batch(revision: Revision, records: Vec<(Vec<Write>, Option<SysOp>)>) -> Batch {
    let record = |(writes, sysop)| Record { origin: Origin::default(), writes, sysop };
    let records = records.into_iter().map(record).collect();
    Batch { term: 1, base_revision: revision.next(), wall_clock_ms: 0, records }
}

impl World {
    fn new(split_keys: &[&'static str]) -> World {
        let keys: Vec<_> = split_keys.iter().copied().map(Bytes::from).collect();
        let partitions = PartitionRange::split(&keys).into_iter().map(Partition::new).collect();
        World { model: Model::new(), partitions, told: Vec::new() }
    }

    fn go(&mut self, step: Step) {
        match step {
            Step::Write(records) => self.append(records.into_iter().map(|writes| (writes, None)).collect()),
            Step::Compact(hundredths) => {
                let Model { compacted, revision, .. } = self.model;
                let at = compacted.0 + (revision.0 - compacted.0) * hundredths / 100;
                self.append(vec![(vec![], Some(SysOp::Compact { revision: Revision(at) }))]);
            }
            Step::Sweep(budget) => {
                self.partitions.iter().for_each(|partition| {
                    partition.compact_step(budget);
                });
            }
        }
    }

    fn append(&mut self, records: Vec<(Vec<Write>, Option<SysOp>)>) {
        let batch = batch(self.model.revision, records);
        self.model.apply(&batch);
        let mut told = Vec::new();
        self.partitions.iter().for_each(|partition| partition.apply(&batch, &mut |change| told.push(change)));
        told.sort_by_key(|change| (change.revision, change.sub));
        self.told.extend(told);
    }

    /// As a frontend reads: each partition its part, at one revision.
    fn range(&self, query: &Query) -> Result<(Vec<KeyValue>, u64, bool), Error> {
        let (mut kvs, mut count, mut more) = (Vec::new(), 0, false);
        for partition in &self.partitions {
            let Some(keys) = partition.range().clip(&query.keys) else { continue };
            let answer = partition.range_at_once(&Query { keys, ..query.clone() })?;
            kvs.extend(answer.kvs);
            count += answer.count;
            more |= answer.more;
        }
        let limit = if query.limit == 0 { kvs.len() } else { query.limit };
        more |= kvs.len() > limit;
        kvs.truncate(limit);
        Ok((kvs, count, more))
    }

    fn versions(&self, max: usize) -> Vec<Version> {
        let mut all = Vec::new();
        for partition in &self.partitions {
            let mut after = (Revision::ZERO, 0);
            loop {
                let part = partition.versions(self.model.revision, partition.compacted(), after, max);
                let Some(last) = part.last() else { break };
                after = last.position();
                all.extend(part);
            }
        }
        all.sort_by_key(Version::position);
        all
    }

    fn history(&self, from: Revision, keys: &KeyRange, budget: usize) -> Result<Vec<Change>, Error> {
        let upto = self.model.revision;
        let mut changes = Vec::new();
        for partition in &self.partitions {
            let mut next = from;
            while next <= upto {
                let part = partition.history(next, upto, keys, budget, usize::MAX)?;
                assert!(next < part.next, "it gets somewhere");
                assert!(
                    part.changes.iter().all(|change| next <= change.revision && change.revision < part.next)
                );
                changes.extend(part.changes);
                next = part.next;
            }
        }
        changes.sort_by_key(|change| (change.revision, change.sub));
        Ok(changes)
    }

    fn hash(&self, upto: Revision) -> u32 {
        let hashed = |partition: &Partition| {
            partition.hashed(upto, self.model.compacted, (Revision::ZERO, 0), usize::MAX).unwrap()
        };
        let mut all: Vec<_> = self.partitions.iter().flat_map(hashed).collect();
        all.sort_by_key(Hashed::position);
        let mut hash = HashKv::default();
        all.iter().for_each(|hashed| hash.feed(hashed));
        hash.finish()
    }

    fn restored(&self) -> Vec<Partition> {
        let restore = |partition: &Partition| {
            let mut versions = partition
                .versions(self.model.revision, partition.compacted(), (Revision::ZERO, 0), usize::MAX)
                .into_iter();
            let (compacted, revision) = (partition.compacted(), partition.revision());
            Partition::restore(partition.range().clone(), compacted, revision, || Ok(versions.next()))
                .unwrap()
        };
        self.partitions.iter().map(restore).collect()
    }

    fn check(&self, queries: &[Query]) {
        let Model { revision, compacted, .. } = self.model;
        assert_eq!(self.told, self.told_by_model());
        for at in (0..=revision.0 + 1).map(Revision) {
            for query in queries {
                let query = Query { at: At::Revision(at), ..query.clone() };
                let expected = if at > revision {
                    Err(Error::FutureRevision { current: revision })
                } else if at < compacted {
                    Err(Error::Compacted { compacted })
                } else {
                    Ok(self.model.range(&query, at))
                };
                assert_eq!(self.range(&query), expected, "{query:?}");
            }
            self.check_history(at, &queries[0].keys);
            if compacted <= at && at <= revision {
                assert_eq!(self.hash(at), self.model.hash(at), "hash at {at}");
            }
        }
        for lease in (0..3).map(LeaseId).skip(1) {
            let mut keys: Vec<_> =
                self.partitions.iter().flat_map(|partition| partition.lease_keys(lease).1).collect();
            keys.sort();
            assert_eq!(keys, self.model.lease_keys(lease));
        }
        assert_eq!(self.versions(3), self.model.kept());
    }

    fn check_history(&self, from: Revision, keys: &KeyRange) {
        let Model { revision, compacted, .. } = self.model;
        if revision < from {
            return;
        }
        let expected = self.model.changes(from, revision, keys);
        let expected = if from < compacted { Err(Error::Compacted { compacted }) } else { Ok(expected) };
        for budget in [1, 3, usize::MAX] {
            assert_eq!(self.history(from, keys, budget), expected, "from {from}");
        }
    }

    /// The changes with what was before them, whatever was compacted since.
    fn told_by_model(&self) -> Vec<Change> {
        let whole = Model { compacted: Revision::ZERO, ..self.model.clone() };
        whole.changes(Revision::ZERO, self.model.revision, &KeyRange::all())
    }

    /// Nothing is in memory but what is kept.
    fn check_swept(&self) {
        for partition in &self.partitions {
            while partition.compact_step(2) != Swept::All {}
        }
        let kept = self.model.kept();
        let sums = self.partitions.iter().map(Partition::stats);
        let (versions, keys, bytes) = sums.fold((0, 0, 0), |sum, stats| {
            (sum.0 + stats.versions, sum.1 + stats.keys, sum.2 + stats.bytes_in_use)
        });
        assert_eq!(versions, u64::try_from(kept.len()).unwrap());
        assert_eq!(keys, u64::try_from(self.model.state(self.model.revision).len()).unwrap());
        let restored = self.restored().iter().map(|partition| partition.stats().bytes_in_use).sum::<u64>();
        assert_eq!(bytes, restored, "what was added and taken away adds up");
    }
}

fn query() -> impl Strategy<Value = Query> {
    let end = prop_oneof![2 => key(), 1 => Just(Bytes::new()), 2 => Just(Bytes::from_static(b"\0"))];
    let revisions = || proptest::option::weighted(0.2, (0..30_u64).prop_map(Revision));
    let bounds = (revisions(), revisions(), revisions(), revisions());
    let projection = prop_oneof![
        3 => Just(Projection::Full),
        1 => Just(Projection::KeysOnly),
        1 => Just(Projection::CountOnly)
    ];
    // A range without keys reaches no partition.
    let keys = (key(), end).prop_map(|(key, end)| KeyRange::from_wire(key, end));
    let keys = keys.prop_filter("some key", |keys| !keys.is_empty());
    (keys, 0..5_usize, projection, bounds).prop_map(|(keys, limit, projection, bounds)| {
        let (min_mod, max_mod, min_create, max_create) = bounds;
        let bounds = Bounds { min_mod, max_mod, min_create, max_create };
        Query { limit, projection, bounds, ..Query::latest(keys) }
    })
}

fn run(split_keys: &[&'static str], steps: Vec<Step>, queries: &[Query]) {
    let mut world = World::new(split_keys);
    steps.into_iter().for_each(|step| world.go(step));
    world.check(queries);
    for partition in &world.partitions {
        while partition.compact_step(3) != Swept::All {}
    }
    world.check(queries);
    world.check_swept();
    // A restored store is the same one, and goes on as such.
    world.partitions = world.restored();
    world.check(queries);
    world.go(Step::Write(vec![vec![Write::Put {
        key: "b".into(),
        value: "again".into(),
        lease: LeaseId(1),
    }]]));
    world.go(Step::Compact(70));
    world.check(queries);
    world.check_swept();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn one_partition_answers_as_the_model(steps in vec(step(), 1..25), queries in vec(query(), 1..6)) {
        run(&[], steps, &queries);
    }

    #[test]
    fn several_partitions_answer_as_one(steps in vec(step(), 1..25), queries in vec(query(), 1..6)) {
        run(&["b", "ba", "c"], steps, &queries);
    }
}
