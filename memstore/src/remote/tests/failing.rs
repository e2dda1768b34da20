//! A memstore that is stopped, killed, another cluster's, or read too slowly.

use journal::{KeyRange, Lsn, Revision};

use super::world::{CLUSTER, World, connect, down, put, reached, up};
use crate::error::Error;
use crate::query::Query;
use crate::remote::Health;
use crate::watch::{Update, WatchLimits, WatchSpec, WatchStream, WatcherKey};

fn watch(world: &World, from: u64) -> (WatchStream, WatcherKey) {
    let range = world.there.partitions()[0].clone();
    let mut stream = world.there.watch();
    let (keys, from) = (KeyRange::all(), Revision(from));
    let spec = WatchSpec { partition: range.id, keys, from, prev_kv: false, puts: true, deletes: true };
    let key = stream.add(spec).expect("nothing is compacted");
    (stream, key)
}

#[tokio::test]
async fn a_stopped_one_is_left_and_comes_back() {
    let world = World::start(&[], WatchLimits::default()).await;
    let id = world.there.partitions()[0].id;
    let (mut stream, key) = watch(&world, 2);
    stream.ask(key, Revision(1));
    assert!(matches!(stream.next().await, Update::Told { .. }));
    world.flows.send_replace(false);
    let asked = world.there.range(id, Query::latest(KeyRange::all()));
    let (asked, update) = tokio::join!(asked, stream.next());
    assert_eq!(asked, Err(Error::Unreachable), "it was asked before anyone knew");
    assert!(matches!(update, Update::Closed));
    assert_eq!(world.there.health(), Health::Down);
    let at_once = world.there.range(id, Query::latest(KeyRange::all())).await;
    assert_eq!(at_once, Err(Error::Unreachable));
    let lsn = world.put("a", "1");
    world.flows.send_replace(true);
    up(&world.there).await;
    reached(&world.there, lsn).await;
    let (mut stream, _) = watch(&world, 2);
    assert!(matches!(stream.next().await, Update::Events { events, .. } if events.len() == 1));
    world.close().await;
}

#[tokio::test]
async fn a_killed_one_is_found_out() {
    let world = World::start(&[], WatchLimits::default()).await;
    let id = world.there.partitions()[0].id;
    let (mut stream, key) = watch(&world, 2);
    stream.ask(key, Revision(1));
    assert!(matches!(stream.next().await, Update::Told { .. }));
    let asked = world.there.wait(id, Lsn(1_000));
    world.kill();
    assert_eq!(asked.await, Err(Error::Unreachable));
    assert!(matches!(stream.next().await, Update::Closed));
    down(&world.there).await;
    world.close().await;
}

#[tokio::test]
async fn one_that_closes_says_so() {
    let world = World::start(&[], WatchLimits::default()).await;
    let id = world.there.partitions()[0].id;
    let (mut stream, _) = watch(&world, 2);
    let World { node, there, .. } = world;
    let asked = there.wait(id, Lsn(1_000));
    let (closed, asked, update) = tokio::join!(node.close(), asked, stream.next());
    assert_eq!(closed, Ok(()));
    assert!(matches!(asked, Err(Error::Closed | Error::Unreachable)), "{asked:?}");
    assert!(matches!(update, Update::Closed));
    down(&there).await;
}

#[tokio::test]
async fn another_clusters_is_left_alone_and_refuses() {
    let world = World::start(&[], WatchLimits::default()).await;
    let channel = journal::Dialer::plain().channel(&world.url).expect("an address");
    let mut client = proto::memstore::memstore_client::MemstoreClient::new(channel);
    let request = proto::memstore::FollowRequest { cluster: CLUSTER + 1 };
    let refused = client.follow(request).await.expect_err("another cluster is meant");
    assert!(refused.message().contains("belongs to cluster c1, and you asked for c2"), "{refused}");
    let stranger = connect(&world.url, CLUSTER + 1);
    let id = world.there.partitions()[0].id;
    assert_eq!(stranger.wait(id, Lsn::ZERO).await, Err(Error::WrongPartition), "it serves nothing");
    assert_eq!(stranger.range(id, Query::latest(KeyRange::all())).await, Err(Error::Unreachable));
    world.close().await;
}

#[tokio::test]
async fn a_wait_that_was_given_up_is_forgotten_there() {
    let world = World::start(&[], WatchLimits::default()).await;
    let id = world.there.partitions()[0].id;
    let replica = world.node.replicas()[0].clone();
    let waiting = tokio::spawn({
        let there = world.there.clone();
        async move { there.wait(id, Lsn(1_000_000)).await }
    });
    // The reports wait there, too, for what comes next.
    while replica.frontier.waiting_for(Lsn(1_000_000)) < 1 {
        tokio::task::yield_now().await;
    }
    waiting.abort();
    while replica.frontier.waiting_for(Lsn(1_000_000)) > 0 {
        tokio::task::yield_now().await;
    }
    world.close().await;
}

/// A client that does not read keeps nobody else from being told, and is told everything in the end.
#[tokio::test]
async fn a_slow_reader_is_served_from_history() {
    let world = World::start(&[], WatchLimits { events: 16, ..WatchLimits::default() }).await;
    let (mut slow, _) = watch(&world, 2);
    let (mut fast, _) = watch(&world, 2);
    let value = vec![7; 64 << 10];
    let mut last = Revision::ZERO;
    // So much that no window on the way holds it.
    for _ in 0..400 {
        world.put("a", value.clone());
        last = world.journal.revision();
        if last.0 == 2 {
            assert!(matches!(slow.next().await, Update::Events { .. }), "it is being told");
        }
        while !matches!(fast.next().await, Update::Events { upto, .. } if upto >= last) {}
    }
    assert!(world.here.stats().total.slow_watchers >= 1, "its watcher has fallen back");
    let mut next = 3;
    while next <= last.0 {
        let Update::Events { events, .. } = slow.next().await else { panic!("there is more") };
        for event in events {
            assert_eq!(event.revision.0, next);
            next += 1;
        }
    }
    world.close().await;
}

#[tokio::test]
async fn watchers_come_and_go() {
    let world = World::start(&[], WatchLimits::default()).await;
    let (mut stream, first) = watch(&world, 2);
    let range = world.there.partitions()[0].clone();
    let keys = KeyRange::Single("b".into());
    let from = Revision(2);
    let spec = WatchSpec { partition: range.id, keys, from, prev_kv: false, puts: true, deletes: true };
    let second = stream.add(spec.clone()).expect("nothing is compacted");
    let third = stream.add(spec).expect("nothing is compacted");
    stream.remove(third);
    world.journal.append(vec![(vec![put("b", "1")], None)]);
    let mut told = Vec::new();
    while told.len() < 2 {
        let Update::Events { watcher, .. } = stream.next().await else { panic!("both are told") };
        told.push(watcher);
    }
    told.sort();
    assert_eq!(told, [first, second]);
    stream.remove(first);
    let lsn = world.put("a", "2");
    reached(&world.there, lsn).await;
    stream.ask(second, Revision(3));
    assert!(matches!(stream.next().await, Update::Told { watcher, .. } if watcher == second));
    assert_eq!(world.here.stats().total.watchers, 1);
    drop(stream);
    while world.here.stats().total.watchers > 0 {
        tokio::task::yield_now().await;
    }
    world.close().await;
}

/// So that whoever goes on elsewhere does not begin with what is compacted by then.
#[tokio::test]
async fn those_to_whom_nothing_happens_learn_how_far_they_were_told() {
    let world = World::start(&["m"], WatchLimits::default()).await;
    let mut stream = world.there.watch();
    let partitions = world.there.partitions();
    let specs = partitions.iter().map(|range| WatchSpec {
        partition: range.id,
        keys: range.clip(&KeyRange::all()).expect("it has keys"),
        from: Revision(2),
        prev_kv: false,
        puts: false,
        deletes: true,
    });
    let keys: Vec<_> = specs.map(|spec| stream.add(spec).expect("nothing is compacted")).collect();
    world.put("a", "1");
    world.put("z", "1");
    let last = world.journal.revision();
    let quiet = async {
        loop {
            tokio::select! {
                biased;
                update = stream.next() => panic!("nothing has happened: {update:?}"),
                () = tokio::task::yield_now() => {}
            }
            if keys.iter().all(|key| stream.told(*key) == last) {
                return;
            }
        }
    };
    quiet.await;
    world.close().await;
}
