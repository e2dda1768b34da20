//! A memstore that is asked to leave: it says so, its watchers go, and what is under way is answered.

use journal::{KeyRange, Revision, SystemClock};

use super::world::{World, reached};
use crate::query::Query;
use crate::remote::Health;
use crate::watch::{Update, WatchLimits, WatchSpec, WatchStream, WatcherKey};

fn watch(stream: &mut WatchStream, world: &World, from: Revision) -> WatcherKey {
    let (partition, keys) = (world.there.partitions()[0].id, KeyRange::all());
    stream
        .add(WatchSpec { partition, keys, from, prev_kv: false, puts: true, deletes: true })
        .expect("it is there")
}

#[tokio::test]
async fn watchers_move_and_questions_are_answered() {
    let world = World::start(&[], WatchLimits::default()).await;
    let id = world.there.partitions()[0].id;
    let mut stream = world.there.watch();
    let key = watch(&mut stream, &world, Revision(2));
    let lsn = world.put("a", "1");
    assert!(matches!(stream.next().await, Update::Events { upto, .. } if upto == Revision(2)));
    reached(&world.there, lsn).await;

    let clock = SystemClock::default();
    let farewell = world.node.farewell();
    let asked = world.there.wait(id, lsn.next());
    let (left, asked, ()) = tokio::join!(farewell.leave(&clock), asked, async {
        let mut seen = world.there.serves();
        while seen.health == Health::Up {
            seen = world.there.other_than(&seen).await;
        }
        assert_eq!(seen.health, Health::Leaving);
        let Update::Moved { watcher, upto } = stream.next().await else { panic!("it leaves") };
        assert_eq!((watcher, upto), (key, Revision(2)));
        // Who asks nevertheless is answered, and the wait that was under way, too.
        let found = world.there.range(id, Query::latest(KeyRange::all())).await;
        assert_eq!(found.expect("it is there").count, 1);
        world.put("b", "1");
    });
    assert_eq!(asked.expect("it was applied").revision, Revision(3));
    assert!(left, "nobody asks any more");
    assert_eq!(world.here.stats().total.watchers, 0);
    world.close().await;
}

/// Such as a frontend that does not understand the reports.
#[tokio::test]
async fn a_watcher_that_stays_is_served_to_the_end() {
    let world = World::start(&[], WatchLimits::default()).await;
    let mut stream = world.there.watch();
    watch(&mut stream, &world, Revision(2));
    world.put("a", "1");
    assert!(matches!(stream.next().await, Update::Events { upto, .. } if upto == Revision(2)));
    let clock = SystemClock::default();
    let farewell = world.node.farewell();
    let (left, ()) = tokio::join!(farewell.leave(&clock), async {
        let Update::Moved { upto, .. } = stream.next().await else { panic!("it leaves") };
        watch(&mut stream, &world, upto.next());
        for revision in 3..6 {
            world.put("a", "2");
            let Update::Events { upto, .. } = stream.next().await else { panic!("it is told") };
            assert_eq!(upto, Revision(revision));
        }
    });
    assert!(!left, "it stays no longer than it must");
    let World { node, .. } = world;
    let (closed, update) = tokio::join!(node.close(), stream.next());
    assert_eq!(closed, Ok(()));
    assert!(matches!(update, Update::Closed));
}
