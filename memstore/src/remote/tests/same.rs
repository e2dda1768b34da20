//! Whatever is asked, and however it is watched: over a socket it is as in this process, which other tests judge.

use std::sync::Arc;

use bytes::Bytes;
use journal::{KeyRange, LeaseId, Lsn, Revision, SysOp, Write};
use proptest::prelude::*;

use super::world::{World, put, reached};
use crate::client::Memstore;
use crate::error::Error;
use crate::event::{Change, Event};
use crate::hash_over::hash_over;
use crate::middle::MiddleOf;
use crate::partition_id::PartitionId;
use crate::query::{At, Bounds, Projection, Query};
use crate::watch::{Update, WatchLimits, WatchSpec, WatchStream, WatcherKey};

type Records = Vec<(Vec<Write>, Option<SysOp>)>;

fn key() -> impl Strategy<Value = Bytes> {
    "[a-d]{1,2}".prop_map(Bytes::from)
}

fn records() -> impl Strategy<Value = Records> {
    let write = (key(), prop::option::weighted(0.7, "[x-z]{0,3}"), 0..3_i64);
    let record = prop::collection::vec(write, 1..5).prop_map(|writes| {
        let mut named: Vec<Write> = Vec::new();
        for (key, value, lease) in writes {
            if named.iter().any(|write| *write.key() == key) {
                continue;
            }
            named.push(match value {
                Some(value) => Write::Put { key, value: value.into(), lease: LeaseId(lease) },
                None => Write::Delete { key },
            });
        }
        (named, None)
    });
    prop::collection::vec(record, 1..4)
}

fn query() -> impl Strategy<Value = Query> {
    let projection = prop_oneof![
        3 => Just(Projection::Full),
        1 => Just(Projection::KeysOnly),
        1 => Just(Projection::CountOnly)
    ];
    let bound = || prop::option::weighted(0.2, (0..30_u64).prop_map(Revision));
    let bounds = (bound(), bound(), bound(), bound());
    let end = prop_oneof![2 => key(), 1 => Just(Bytes::new()), 2 => Just(Bytes::from_static(b"\0"))];
    let at = prop_oneof![1 => Just(At::Latest), 2 => (0..40_u64).prop_map(|at| At::Revision(Revision(at)))];
    (key(), end, at, 0..5_usize, projection, bounds).prop_map(|(key, end, at, limit, projection, bounds)| {
        let (min_mod, max_mod, min_create, max_create) = bounds;
        let bounds = Bounds { min_mod, max_mod, min_create, max_create };
        let keys = KeyRange::from_wire(key, end);
        Query { keys, at, min_lsn: Lsn::ZERO, limit, projection, bounds }
    })
}

/// A stream with two watchers of each partition, of which the second wants less.
struct Watching {
    stream: WatchStream,
    keys: Vec<WatcherKey>,
}

impl Watching {
    fn begin(memstore: &Memstore, from: Revision) -> Watching {
        let (mut stream, mut keys) = (memstore.watch(), Vec::new());
        for range in memstore.partitions().iter() {
            for all in [true, false] {
                let keys_of = range.clip(&KeyRange::all()).expect("it has keys");
                let spec = WatchSpec {
                    partition: range.id,
                    keys: keys_of,
                    from,
                    prev_kv: all,
                    puts: all,
                    deletes: true,
                };
                keys.push(stream.add(spec).expect("nothing is compacted"));
            }
        }
        Watching { stream, keys }
    }

    /// What each watcher is told up to `upto`.
    async fn until(mut self, upto: Revision) -> Vec<Vec<Change>> {
        let mut told = vec![Vec::new(); self.keys.len()];
        let mut left = self.keys.clone();
        self.keys.iter().for_each(|key| self.stream.ask(*key, upto));
        while !left.is_empty() {
            let (key, events, reached) = match self.stream.next().await {
                Update::Events { watcher, events, upto } => (watcher, events, upto),
                Update::Told { watcher, upto } => (watcher, Vec::new(), upto),
                other => panic!("{other:?}"),
            };
            let place = self.keys.iter().position(|one| *one == key).expect("it was added");
            // A state before that nobody asked for may be known or not.
            let prev = |event: &Arc<Event>| event.prev.clone().filter(|_| place % 2 == 0);
            let changes = events.iter().map(|event| Change { prev: prev(event), ..Change::clone(event) });
            told[place].extend(changes);
            assert!(reached <= self.stream.told(key));
            left.retain(|one| *one != key || reached < upto);
        }
        told
    }
}

async fn check_reads(world: &World, queries: &[Query], lsn: Lsn) {
    let (here, there) = (&world.here, &world.there);
    assert_eq!(here.partitions(), there.partitions());
    let last = reached(here, lsn).await;
    assert_eq!(reached(there, lsn).await, last);
    for range in here.partitions().iter() {
        let id = range.id;
        for query in queries {
            let clipped = range.clip(&query.keys).unwrap_or_else(|| query.keys.clone());
            for keys in [clipped, query.keys.clone()] {
                let query = Query { keys, min_lsn: lsn, ..query.clone() };
                assert_eq!(there.range(id, query.clone()).await, here.range(id, query.clone()).await);
            }
            let keys = [query.keys.start().clone(), range.start.clone()];
            let got = there.get_many(id, &keys, query.at, lsn).await;
            assert_eq!(got, here.get_many(id, &keys, query.at, lsn).await);
        }
        for lease in (0..4).map(LeaseId) {
            assert_eq!(there.lease_keys(id, lease, lsn).await, here.lease_keys(id, lease, lsn).await);
        }
        for of in [MiddleOf::Bytes, MiddleOf::Writes] {
            assert_eq!(there.middle(id, of).await, here.middle(id, of).await);
        }
        assert_eq!(there.reach(id, lsn, last).await, here.reach(id, lsn, last).await);
    }
    let parts = |of: &dyn Fn(usize) -> Memstore| {
        let partitions = here.partitions();
        partitions.iter().enumerate().map(|(place, range)| (of(place), range.id)).collect::<Vec<_>>()
    };
    let mixed = parts(&|place| if place % 2 == 0 { there.clone() } else { here.clone() });
    for upto in (1..=last.0 + 1).map(Revision) {
        let expected = here.hash_kv(upto, lsn).await;
        assert_eq!(there.hash_kv(upto, lsn).await, expected);
        assert_eq!(hash_over(&mixed, upto, lsn).await, expected, "of several memstores");
    }
    let unknown = PartitionId(77);
    assert_eq!(there.range(unknown, Query::latest(KeyRange::all())).await, Err(Error::WrongPartition));
    assert_eq!(there.middle(unknown, MiddleOf::Bytes).await, Err(Error::WrongPartition));
    assert_eq!(there.applied(unknown), Err(Error::WrongPartition));
}

async fn run(limits: WatchLimits, batches: Vec<Records>, from: u64, compact: u64, queries: Vec<Query>) {
    let world = World::start(&["b", "ca"], limits).await;
    let begin = |memstore: &Memstore| Watching::begin(memstore, Revision(from));
    let (here, there) = (begin(&world.here), begin(&world.there));
    let mut lsn = Lsn::ZERO;
    for batch in batches {
        lsn = world.journal.append(batch);
    }
    let upto = world.journal.revision();
    let (here, there) = tokio::join!(here.until(upto), there.until(upto));
    assert_eq!(there, here);
    let late = Watching::begin(&world.there, Revision(from));
    assert_eq!(late.until(upto).await, here, "from history");
    check_reads(&world, &queries, lsn).await;
    let revision = Revision(compact.min(upto.0));
    let lsn = world.journal.append(vec![(Vec::new(), Some(SysOp::Compact { revision }))]);
    check_reads(&world, &queries, lsn).await;
    check_compacted(&world, revision).await;
    world.close().await;
}

/// Who begins below the compacted revision is told so.
async fn check_compacted(world: &World, compacted: Revision) {
    let Some(from) = compacted.0.checked_sub(1).map(Revision) else { return };
    let range = world.there.partitions()[0].clone();
    let keys = range.clip(&KeyRange::all()).expect("it has keys");
    let spec = WatchSpec { partition: range.id, keys, from, prev_kv: false, puts: true, deletes: true };
    assert_eq!(world.here.watch().add(spec.clone()), Err(Error::Compacted { compacted }));
    let mut stream = world.there.watch();
    let key = stream.add(spec.clone()).expect("it is told later");
    match stream.next().await {
        Update::Compacted { watcher, compacted: told } => assert_eq!((watcher, told), (key, compacted)),
        other => panic!("{other:?}"),
    }
    let key = stream.add(WatchSpec { partition: PartitionId(77), ..spec }).expect("it is told later");
    match stream.next().await {
        Update::Moved { watcher, upto } => assert_eq!((watcher, upto.0), (key, from.0.saturating_sub(1))),
        other => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn over_a_socket_it_is_as_here(
        batches in prop::collection::vec(records(), 1..12),
        queries in prop::collection::vec(query(), 1..6),
        from in 1_u64..12,
        compact in 0_u64..30,
        events in 1_usize..6,
        chunk in 1_usize..5,
    ) {
        let limits = WatchLimits { events, bytes: 1 << 20, chunk };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(run(limits, batches, from, compact, queries));
    }
}

#[tokio::test]
async fn figures_are_told() {
    let world = World::start(&["m"], WatchLimits::default()).await;
    let lsn = world.put("a", "1");
    reached(&world.there, lsn).await;
    let stats = world.here.stats();
    assert_eq!(stats.total.keys, 1);
    // They are told twice a second, and nobody says when.
    while world.there.stats() != stats || world.there.reached() != world.here.reached() {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.there.bytes_in_use(), world.here.bytes_in_use());
    let id = world.there.partitions()[1].id;
    assert_eq!(world.there.partition_stats(id).expect("it is there").keys, 0);
    world.close().await;
}

#[tokio::test]
async fn an_answer_larger_than_any_message_comes_whole() {
    let world = World::start(&[], WatchLimits::default()).await;
    let value = Bytes::from(vec![7; 20 << 20]);
    let mut watching = Watching::begin(&world.there, Revision(2));
    let names = ["a", "b", "c"];
    let lsn = world.journal.append(vec![(names.map(|key| put(key, value.clone())).into(), None)]);
    let id = world.there.partitions()[0].id;
    let query = Query { min_lsn: lsn, ..Query::latest(KeyRange::all()) };
    let long = world.there.range(id, query);
    let short = world.there.wait(id, lsn.next().next());
    world.put("d", "");
    world.put("e", "");
    let (long, short) = tokio::join!(long, short);
    assert_eq!(long.expect("it is served").kvs.iter().map(|kv| kv.value.len()).sum::<usize>(), 60 << 20);
    assert!(short.is_ok());
    loop {
        if let Update::Events { watcher, events, .. } = watching.stream.next().await
            && watcher == watching.keys[0]
        {
            assert_eq!(events.len(), 3, "one revision comes whole");
            break;
        }
    }
    world.close().await;
}
