//! Several memstores over sockets, of which some stop, are killed and come back while they are asked and watched.

mod lagging;
mod leaving;
mod lost;
pub(crate) mod served;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use journal::{Journal, KeyRange, Revision, SystemClock};
use memstore::{Health, Projection};
use tokio_util::sync::CancellationToken;

use self::served::Served;
use super::*;
use crate::operation::{Compare, Op, Put, Range, Relation, Subject, Txn};
use crate::store::Store;
use crate::watch::{Answer as Told, Create, Session};

const FIVE: &[&str] = &["b", "g", "m", "t"];

struct World {
    journal: journal::Node,
    served: Served,
    store: Store,
    cancel: CancellationToken,
}

impl World {
    async fn start(splits: &[&[&'static str]]) -> World {
        World::over(async |journal| Served::start(journal, splits).await).await
    }

    async fn over(serve: impl AsyncFnOnce(&Journal) -> Served) -> World {
        let clock = Arc::new(SystemClock::default());
        let config = journal::Config::single(11, 12, journal::Storage::Memory);
        let journal = journal::Node::start(config, clock).await.expect("it needs nothing");
        let handle: Journal = journal.handle();
        let leads = async { drop(handle.status().wait_for(|status| status.leader.is_some()).await) };
        leads.await;
        let served = serve(&handle).await;
        let cancel = CancellationToken::new();
        let store = Store::new(handle, served.routes.clone(), Duration::from_secs(60), cancel.clone());
        World { journal, served, store, cancel }
    }

    async fn put(&self, key: &str, value: &str) -> Revision {
        let put = Put::new(Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(value.as_bytes()));
        self.store.put(put).await.expect("there is room").at.revision
    }

    async fn close(self) {
        self.cancel.cancel();
        self.served.close().await;
        self.journal.close().await;
    }
}

/// The key that is put at a revision, in any of the partitions.
fn key_at(revision: u64) -> String {
    let first = char::from(b'a' + u8::try_from(revision * 7 % 26).expect("a letter"));
    format!("{first}{}", revision % 10)
}

fn create(keys: KeyRange, from: Option<Revision>) -> Create {
    let (puts, deletes, prev_kv) = (true, true, true);
    Create { keys, from, puts, deletes, prev_kv, progress_notify: true, id: None, fragment: false }
}

/// What a session is told up to `last`: every put of its keys, once and in order.
async fn watch_until(mut session: Session, keys: KeyRange, from: u64, last: u64) {
    let mut next = from;
    let mut progress = 0;
    session.want_progress();
    while next <= last {
        match session.next().await {
            Told::Created { .. } => {}
            Told::Events { events, revision, .. } => {
                for event in events {
                    let at = event.revision.0;
                    let missed = (next..at).find(|at| keys.contains(key_at(*at).as_bytes()));
                    assert_eq!(missed, None, "told {at} next");
                    assert!(next <= at, "{at} comes twice");
                    assert_eq!(event.kv.key, key_at(at).as_bytes());
                    assert_eq!(event.prev.is_some(), event.kv.version > 1);
                    next = at + 1;
                }
                assert!(progress <= revision.0);
                progress = revision.0;
            }
            Told::Progress { revision, .. } => {
                let missed = (next..=revision.0).find(|at| keys.contains(key_at(*at).as_bytes()));
                assert_eq!(missed, None, "everything up to {revision} was told");
                progress = revision.0;
                next = next.max(revision.0 + 1);
            }
            other => panic!("{other:?}"),
        }
        if next <= last {
            // Others have the thread meanwhile.
            tokio::time::sleep(Duration::from_millis(10)).await;
            session.want_progress();
        }
    }
}

/// Writes, reads and watches while one memstore after the other fails and comes back.
#[tokio::test]
async fn what_fails_is_not_seen() {
    const LAST: u64 = 1_200;
    let world = World::start(&[FIVE, &["k"]]).await;
    let mut watching = tokio::task::JoinSet::new();
    let middle = KeyRange::Range { start: "c".into(), end: "u".into() };
    let ranges = [KeyRange::all(), middle, KeyRange::Single("h1".into()), KeyRange::all()];
    for keys in ranges {
        for _ in 0..3 {
            let mut session = Session::new(world.store.clone());
            session.create(create(keys.clone(), Some(Revision(2))));
            watching.spawn(watch_until(session, keys.clone(), 2, LAST));
        }
    }
    let [one, other] = &world.served.sites[..] else { panic!("there are two") };
    let mut seen = Revision::ZERO;
    for number in 2..=LAST {
        assert_eq!(world.put(&key_at(number), &number.to_string()).await, Revision(number));
        match number {
            200 => one.stop(),
            400 => one.is(Health::Down).await,
            410 => one.resume(),
            420 => one.is(Health::Up).await,
            500 => other.stop(),
            600 => other.resume(),
            800 => other.kill(),
            _ => {}
        }
        let key = Bytes::from(key_at(number));
        let serializable = number % 3 == 0;
        let range = Range { serializable, ..Range::all(KeyRange::Single(key)) };
        let read = world.store.range(&range).await.expect("somebody serves it");
        assert!(seen <= read.at.revision, "a header's revision never goes back");
        seen = read.at.revision;
        assert_eq!(read.answer.kvs[0].value, number.to_string(), "what was acknowledged is read");
        if number % 50 == 0 {
            let counted = Range { projection: Projection::CountOnly, ..Range::all(KeyRange::all()) };
            let all = world.store.range(&Range { limit: 7, ..Range::all(KeyRange::all()) }).await;
            let all = all.expect("somebody serves them").answer;
            let count = world.store.range(&counted).await.expect("somebody serves them").answer.count;
            assert_eq!((all.kvs.len(), all.count), (7, count), "counts are exact");
        }
    }
    while let Some(watched) = watching.join_next().await {
        watched.expect("nothing is lost, nothing comes twice");
    }
    world.close().await;
}

#[tokio::test]
async fn replicas_count_once() {
    let world = World::start(&[FIVE, FIVE, &["k"]]).await;
    for number in 2..100 {
        world.put(&key_at(number), "value").await;
    }
    let at = world.store.barrier().await.expect("it leads");
    let here = world.served.sites[0].here();
    for range in here.partitions().iter() {
        here.wait(range.id, at.lsn).await.expect("it is open");
    }
    let routes = &world.served.routes;
    let keys = here.stats().total.keys;
    // They are told twice a second, and nobody says when.
    while routes.stats().total.keys != keys || routes.bytes_in_use() != here.bytes_in_use() {
        tokio::task::yield_now().await;
    }
    let hash = routes.hash_kv(at.revision, at.lsn).await.expect("it can be read");
    assert_eq!(Ok(hash), here.hash_kv(at.revision, at.lsn).await);
    assert_eq!(routes.never_compacted(at.lsn).await, Ok(true));
    world.close().await;
}

#[tokio::test]
async fn the_quota_holds_over_several_memstores() {
    const QUOTA_BYTES: u64 = 100_000;
    let world = World::start(&[FIVE, FIVE]).await;
    world.store.quota().limit(QUOTA_BYTES);
    let mut refusal = None;
    for number in 0..1_000 {
        let put = Put::new(Bytes::from(key_at(number)), Bytes::from(vec![7; 1_000]));
        refusal = world.store.put(put).await.err();
        if refusal.is_some() {
            break;
        }
    }
    assert!(matches!(refusal, Some(crate::error::Error::NoSpace)), "{refusal:?}");
    let at = world.store.barrier().await.expect("it leads");
    let used = world.served.routes.bytes_in_use_at(at.lsn).await.expect("they are open");
    assert!(QUOTA_BYTES / 2 < used && used < QUOTA_BYTES, "{used}");
    world.close().await;
}

#[tokio::test]
async fn who_comes_later_is_asked_beside_one_that_is_silent() {
    let world = World::start(&[FIVE, FIVE]).await;
    world.put("a", "1").await;
    let [silent, other] = [0, 1].map(|site: usize| {
        let memstore = world.served.sites[site].there.clone();
        move || Holder { id: site as u64, zone: String::new(), memstore: memstore.clone() }
    });
    world.served.routes.set_memstores(vec![silent()]);
    world.served.sites[0].stop();
    let range = Range::all(KeyRange::Single("a".into()));
    let comes = async {
        // By then the silent one was asked, and nobody else was there to be.
        tokio::time::sleep(asking::HEDGE_AFTER * 2).await;
        world.served.routes.set_memstores(vec![silent(), other()]);
    };
    let (read, ()) = tokio::join!(world.store.range(&range), comes);
    assert_eq!(read.expect("it is served").answer.kvs.len(), 1);
    assert!(world.served.sites[0].there.health() > Health::Down, "the silent one was not given up before");
    world.served.sites[0].resume();
    world.close().await;
}

/// One after the other they would outlive a reservation.
#[tokio::test]
async fn compares_of_a_transaction_are_read_together() {
    const COMPARES: u64 = 120;
    let world = World::start(&[FIVE]).await;
    world.put("a", "1").await;
    let compare = |number: u64| Compare {
        keys: KeyRange::Single(format!("{}/{number}", key_at(number)).into()),
        subject: Subject::Version(0),
        relation: Relation::Equal,
    };
    let success = vec![Op::Put(Put::new("a", "2"))];
    let txn = Txn { compares: (0..COMPARES).map(compare).collect(), success, failure: Vec::new() };
    let [site] = &world.served.sites[..] else { panic!("there is one") };
    site.stop();
    let store = world.store.clone();
    let mut answer = Box::pin(store.txn(&txn));
    for _ in 0..100 {
        tokio::select! {
            biased;
            _ = &mut answer => panic!("nobody has answered its reads"),
            () = tokio::task::yield_now() => {}
        }
    }
    assert_eq!(world.served.routes.questions_under_way() as u64, COMPARES);
    site.resume();
    assert!(answer.await.expect("it is served").answer.succeeded);
    world.close().await;
}

#[tokio::test]
async fn requests_wait_for_somebody_who_serves() {
    let world = World::start(&[FIVE]).await;
    let written = world.put("a", "1").await;
    world.served.routes.set_memstores(Vec::new());
    let mut session = Session::new(world.store.clone());
    session.create(create(KeyRange::all(), Some(written)));
    assert!(matches!(session.next().await, Told::Created { .. }));
    let range = Range::all(KeyRange::all());
    let back = async {
        tokio::task::yield_now().await;
        let memstore = world.served.sites[0].there.clone();
        world.served.routes.set_memstores(vec![Holder { id: 9, zone: String::new(), memstore }]);
    };
    let (read, told, ()) = tokio::join!(world.store.range(&range), session.next(), back);
    assert_eq!(read.expect("it is served").answer.kvs.len(), 1);
    assert!(matches!(told, Told::Events { events, .. } if events.len() == 1));
    world.close().await;
}

/// Nobody writes, so that all is told by signs of life.
#[tokio::test]
async fn one_that_is_short_of_memory_is_heard_of() {
    let world = World::start(&[FIVE, &["k"]]).await;
    let (routes, sites) = (&world.served.routes, &world.served.sites);
    assert!(!routes.is_short_of_memory());
    sites[1].memory.see(950, 600);
    routes.memory_turned_from(false).await;
    assert!(routes.is_short_of_memory());
    // One of two that are short has room again.
    sites[0].memory.see(950, 600);
    sites[0].there.memory_turned_from(false).await;
    sites[1].memory.see(700, 600);
    sites[1].there.memory_turned_from(true).await;
    assert!(routes.is_short_of_memory());
    sites[0].memory.see(700, 600);
    routes.memory_turned_from(true).await;
    assert!(!routes.is_short_of_memory());
    // Who is gone is short of nothing.
    sites[0].memory.see(950, 600);
    routes.memory_turned_from(false).await;
    sites[0].kill();
    routes.memory_turned_from(true).await;
    world.close().await;
}
