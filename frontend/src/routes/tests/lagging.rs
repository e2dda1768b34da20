//! Watchers of several partitions, of which one is served by no memstore for a while.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use journal::{KeyRange, Revision, SystemClock};
use tokio_util::sync::CancellationToken;

use crate::mover::Mover;
use crate::operation::Put;
use crate::routes::{News, Watch, WatchKey, Watches};
use crate::store::Store;

/// Two partitions, [.., m) and [m, ..), in one memstore that can give the second one away.
struct World {
    journal: journal::Node,
    memstore: memstore::Node,
    mover: Mover,
    store: Store,
    cancel: CancellationToken,
}

const BOTH: u8 = 0b11;
const FIRST: u8 = 0b01;

impl World {
    async fn start() -> World {
        let clock = Arc::new(SystemClock::default());
        let config = journal::Config::single(11, 12, journal::Storage::Memory);
        let journal = journal::Node::start(config, clock.clone()).await.expect("it needs nothing");
        let cancel = CancellationToken::new();
        let (mover, wanted) = Mover::new(&["m"]);
        let config = memstore::Config { wanted, process: 7, ..memstore::Config::default() };
        let memstore = memstore::Node::start(config, journal.handle(), clock, cancel.clone());
        let memstore = memstore.expect("it starts");
        let store = Store::new(journal.handle(), memstore.handle(), Duration::from_secs(60), cancel.clone());
        let mut world = World { journal, memstore, mover, store, cancel };
        world.serve(BOTH).await;
        world
    }

    async fn serve(&mut self, held: u8) {
        self.mover.want(0b1, held);
        self.mover.settle(&self.store.memstore()).await;
    }

    async fn put(&self, key: &'static str, value_bytes: usize) -> Revision {
        let put = Put::new(key, Bytes::from(vec![b'v'; value_bytes]));
        self.store.put(put).await.expect("there is room").at.revision
    }

    async fn close(self) {
        self.cancel.cancel();
        self.memstore.close().await.expect("it closes");
        self.journal.close().await;
    }
}

fn watch(keys: KeyRange, from: Revision) -> Watch {
    Watch { keys, from, prev_kv: false, puts: true, deletes: true }
}

fn first() -> KeyRange {
    KeyRange::Range { start: "a".into(), end: "m".into() }
}

/// Reads until a watcher was told of everything up to `last`; answers the revisions that another one was told.
async fn read_until(watches: &mut Watches, until: WatchKey, last: Revision, other: WatchKey) -> Vec<u64> {
    let mut told = Vec::new();
    watches.ask(until, last);
    loop {
        match watches.next().await {
            News::Events { watcher, events, upto } => {
                if watcher == other {
                    told.extend(events.iter().map(|event| event.revision.0));
                }
                if watcher == until && last <= upto {
                    return told;
                }
            }
            News::Told { watcher, upto } if watcher == until && last <= upto => return told,
            News::Told { .. } => {}
            news => panic!("{news:?}"),
        }
    }
}

#[tokio::test]
async fn events_that_wait_for_a_lost_partition_are_bounded_in_bytes() {
    const PUTS: u64 = 100;
    const VALUE_BYTES: usize = 100_000;
    let mut world = World::start().await;
    let begin = world.put("z", 1).await;
    let mut watches = world.store.routes().watch();
    let whole = watches.add(watch(KeyRange::all(), begin.next()));
    let near = watches.add(watch(first(), begin.next()));
    world.serve(FIRST).await;
    let mut last = begin;
    for _ in 0..PUTS {
        last = world.put("a", VALUE_BYTES).await;
    }
    assert_eq!(read_until(&mut watches, near, last, whole).await, [0_u64; 0], "a partition is missing");
    // The bound is reached by one update of a megabyte at most.
    let held = watches.held_bytes();
    assert!(held < 2 << 20, "{held} bytes wait of {}", u64::try_from(VALUE_BYTES).unwrap() * PUTS);
    world.serve(BOTH).await;
    let behind = world.put("z", 1).await;
    let told = read_until(&mut watches, whole, behind, whole).await;
    assert_eq!(told, (begin.0 + 1..=behind.0).collect::<Vec<_>>(), "once and in order");
    assert_eq!(watches.held_bytes(), 0);
    drop(watches);
    world.close().await;
}

/// Updates of other watchers come all the time, which is no reason to leave a part without a memstore.
#[tokio::test]
async fn a_part_finds_its_partition_while_updates_come_without_a_pause() {
    const PUTS_MAX: usize = 20_000;
    let mut world = World::start().await;
    let begin = world.put("z", 1).await;
    world.serve(FIRST).await;
    let mut watches = world.store.routes().watch();
    let far = watches.add(watch(KeyRange::Single("z".into()), begin));
    let near = watches.add(watch(first(), begin.next()));
    read_until(&mut watches, near, world.put("a", 1).await, far).await;
    world.serve(BOTH).await;
    let mut told = None;
    let reading = async {
        loop {
            match watches.next().await {
                News::Events { watcher, .. } if watcher == far => return,
                News::Events { .. } | News::Told { .. } => {}
                news => panic!("{news:?}"),
            }
        }
    };
    let writing = async {
        for number in 0..PUTS_MAX {
            world.put("a", 1).await;
            told = Some(number);
        }
    };
    tokio::select! {
        () = reading => {}
        () = writing => panic!("the watcher of the other partition was silent over {told:?} puts"),
    }
    drop(watches);
    world.close().await;
}
