//! Every watcher against a list of all changes, which is simple enough to trust.

mod world;

use std::sync::Arc;

use journal::Revision;
use proptest::prelude::*;

use self::world::{Burst, KEYS_EACH, PARTITIONS, STREAMS, Step, World, keys, poll};
use super::{LocalStream, Update, WatchLimits, WatchSpec, WatcherKey};
use crate::error::Error;
use crate::partition_id::PartitionId;

fn bursts() -> impl Strategy<Value = Burst> {
    let write = (0..PARTITIONS * KEYS_EACH, prop::bool::weighted(0.7));
    prop::collection::vec(prop::collection::vec(write, 1..5), 1..4)
}

/// What clients do.
fn asked() -> impl Strategy<Value = Step> {
    let add = (
        0..STREAMS,
        0..PARTITIONS,
        0..KEYS_EACH,
        prop::option::of(0..=KEYS_EACH),
        -12_i8..6,
        prop::bool::weighted(0.8),
        prop::bool::weighted(0.8),
    );
    prop_oneof![
        3 => add.prop_map(|(stream, partition, from, to, at, puts, deletes)| {
            Step::Add { stream, partition, from, to, at, puts, deletes }
        }),
        1 => (0_usize..20).prop_map(Step::Remove),
        2 => (0_usize..20, -3_i8..6).prop_map(|(watcher, ahead)| Step::Ask { watcher, ahead }),
        9 => (0..STREAMS).prop_map(Step::Next),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    let long = (bursts(), prop::collection::vec(asked(), 0..12), prop::bool::weighted(0.9));
    prop_oneof![
        6 => bursts().prop_map(Step::Write),
        1 => bursts().prop_map(Step::Skip),
        2 => long.prop_map(|(burst, between, tell)| Step::Long { burst, between, tell }),
        1 => (0_u64..8).prop_map(|back| Step::Compact { back }),
        15 => asked(),
    ]
}

fn run(limits: WatchLimits, steps: Vec<Step>) {
    let mut world = World::new(limits);
    steps.into_iter().for_each(|step| world.step(step));
    world.finish();
}

/// So small that watchers fall behind all the time.
fn tiny() -> WatchLimits {
    WatchLimits { events: 3, bytes: 1 << 20, chunk: 2 }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn each_watcher_sees_what_it_wants_once_and_in_order(
        steps in prop::collection::vec(steps(), 1..80),
        events in 1_usize..6,
        chunk in 1_usize..5,
        bytes in prop::sample::select(vec![1_usize, 700, 1 << 20]),
    ) {
        run(WatchLimits { events, bytes, chunk }, steps);
    }
}

fn watch(from: u64) -> WatchSpec {
    let keys = keys(0, 0, Some(0));
    let from = Revision(from);
    WatchSpec { partition: PartitionId(0), keys, from, prev_kv: true, puts: true, deletes: true }
}

#[test]
fn a_revision_larger_than_the_buffer_comes_as_one() {
    let mut world = World::new(tiny());
    world.add(0, watch(2));
    assert!(!world.next(0), "now it is live");
    world.write(&vec![vec![(0, true)], vec![(0, true), (1, true), (2, true), (3, true)]], true);
    let mut revisions = Vec::new();
    while let Some(Update::Events { events, .. }) = poll(world.streams[0].next()) {
        revisions.push(events.iter().map(|event| event.revision.0).collect::<Vec<_>>());
    }
    // What was in the buffer comes from history with it.
    assert_eq!(revisions, [vec![2, 3, 3, 3, 3]]);
}

#[test]
fn an_event_is_shared_by_those_who_watch_it_live() {
    let mut world = World::new(WatchLimits::default());
    world.add(0, watch(2));
    world.add(1, watch(2));
    assert!(!world.next(0) && !world.next(1), "now they are live");
    world.write(&vec![vec![(0, true)]], true);
    let mut taken = world.streams.iter_mut().map(|stream| match poll(stream.next()) {
        Some(Update::Events { mut events, .. }) => events.pop().expect("there is one"),
        other => panic!("{other:?}"),
    });
    let (one, other) = (taken.next().expect("two streams"), taken.next().expect("two streams"));
    assert!(Arc::ptr_eq(&one, &other));
    drop((taken, other));
    assert_eq!(Arc::strong_count(&one), 1, "nobody keeps what everyone was handed");
}

#[test]
fn a_stalled_watcher_holds_no_more_than_its_buffer() {
    let limits = tiny();
    let mut world = World::new(limits);
    world.add(0, watch(2));
    assert!(!world.next(0), "now it is live");
    for _ in 0..1_000 {
        world.write(&vec![vec![(0, true), (1, true)]], true);
    }
    assert_eq!(world.hubs[0].live(), 0, "writes pass it by");
    assert!(world.streams[0].buffered() <= limits.events);
    world.finish();
}

#[test]
fn a_closed_store_ends_streams() {
    let mut world = World::new(tiny());
    world.add(0, watch(2));
    world.closed.cancel();
    assert!(matches!(poll(world.streams[0].next()), Some(Update::Closed)));
}

#[test]
fn a_watch_on_no_partition_is_refused() {
    let mut world = World::new(tiny());
    let spec = WatchSpec { partition: PartitionId(PARTITIONS.into()), ..watch(2) };
    assert_eq!(world.streams[0].add(spec), Err(Error::WrongPartition));
}

#[test]
fn who_joins_or_asks_when_it_was_just_published_is_sent_back() {
    let mut world = World::new(tiny());
    world.add(0, watch(2));
    world.write(&vec![vec![(0, true)]], true);
    let (stream, key) = (world.streams[0].shared(), world.seen[0].key);
    let hub = &world.hubs[0];
    hub.join(stream, key, Revision(2));
    assert_eq!(hub.watchers(), (1, 1), "revision 2 has to come from history");
    assert!(!hub.ask(stream, key, Revision(2)));
    assert!(hub.ask(stream, key, Revision(3)));
    world.finish();
}

/// Threads that fall behind, join and fall behind again while one writes.
#[test]
fn no_event_is_lost_or_doubled_between_threads() {
    let mut world = World::new(WatchLimits { events: 5, bytes: 1 << 20, chunk: 7 });
    let last = Revision(6_000);
    std::thread::scope(|scope| {
        for from in [2, 3_000, 5_999] {
            let mut stream = LocalStream::new(world.replicas.clone(), world.closed.clone());
            let key = stream.add(watch(from)).expect("nothing is compacted");
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
                let seen = runtime.block_on(read_until(&mut stream, key, last));
                let expected = (from..=last.0).flat_map(|revision| [(revision, 0), (revision, 1)]);
                assert!(seen.into_iter().eq(expected), "from {from}");
            });
        }
        while world.revision < last {
            world.write(&vec![vec![(0, true), (1, true)]], true);
        }
    });
}

async fn read_until(stream: &mut LocalStream, key: WatcherKey, last: Revision) -> Vec<(u64, u32)> {
    let mut seen = Vec::new();
    stream.ask(key, last);
    loop {
        match stream.next().await {
            Update::Events { events, upto, .. } => {
                seen.extend(events.iter().map(|event| (event.revision.0, event.sub)));
                if upto >= last {
                    return seen;
                }
            }
            Update::Told { .. } => return seen,
            other => panic!("{other:?}"),
        }
    }
}
