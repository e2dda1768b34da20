//! Memstores that are asked to leave under load, one after the other, as a rollout does it.

use tokio::sync::oneshot;

use super::*;

/// Writes, reads and watches while one memstore leaves, and is gone then.
#[tokio::test]
async fn who_leaves_is_not_missed() {
    let world = World::start(&[FIVE, &["k"], FIVE]).await;
    let mut watching = tokio::task::JoinSet::new();
    const LAST: u64 = 900;
    let middle = KeyRange::Range { start: "c".into(), end: "u".into() };
    for keys in [KeyRange::all(), middle, KeyRange::Single("h1".into()), KeyRange::all()] {
        for _ in 0..3 {
            let mut session = Session::new(world.store.clone());
            session.create(create(keys.clone(), Some(Revision(2))));
            watching.spawn(watch_until(session, keys.clone(), 2, LAST));
        }
    }
    let [one, other, _] = &world.served.sites[..] else { panic!("there are three") };
    let ((ask_one, one_asked), (ask_other, other_asked)) = (oneshot::channel(), oneshot::channel());
    let leave = async |site: &served::Site, asked: oneshot::Receiver<()>| {
        asked.await.expect("the load goes on");
        assert!(site.leave().await, "nobody asks it any more");
        assert_eq!(site.there.health(), Health::Leaving);
        assert_eq!(site.here().stats().total.watchers, 0, "they are told elsewhere");
        site.kill();
    };
    let leaving = async {
        leave(one, one_asked).await;
        leave(other, other_asked).await;
    };
    let load = async {
        let (mut ask_one, mut ask_other) = (Some(ask_one), Some(ask_other));
        let mut seen = Revision::ZERO;
        for number in 2..=LAST {
            assert_eq!(world.put(&key_at(number), &number.to_string()).await, Revision(number));
            let ask = match number {
                200 => ask_one.take(),
                400 => ask_other.take(),
                _ => None,
            };
            if let Some(ask) = ask {
                ask.send(()).expect("it waits for that");
            }
            let range = Range {
                serializable: number % 3 == 0,
                ..Range::all(KeyRange::Single(key_at(number).into()))
            };
            let read = world.store.range(&range).await.expect("somebody serves it");
            assert!(seen <= read.at.revision, "a header's revision never goes back");
            seen = read.at.revision;
            assert_eq!(read.answer.kvs[0].value, number.to_string(), "what was acknowledged is read");
        }
    };
    tokio::join!(load, leaving);
    while let Some(watched) = watching.join_next().await {
        watched.expect("nothing is lost, nothing comes twice");
    }
    world.close().await;
}
