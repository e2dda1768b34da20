//! One partition of several is served by no memstore any more: only what needs its keys waits, and no longer than its
//! deadline.

use journal::Revision;
use memstore::Health;

use super::*;
use crate::error::Error;
use crate::operation::{Compact, Compare, DeleteRange, Op, Relation, Subject, Txn};

/// So small that each put asks how much there is by now.
const QUOTA_BYTES: u64 = 1 << 20;

/// Three partitions in three memstores, with a key in each.
async fn world() -> World {
    let world = World::over(async |journal| Served::start_apart(journal, &["h", "p"]).await).await;
    world.store.quota().limit(QUOTA_BYTES);
    for key in ["a", "k", "z"] {
        world.put(key, "value").await;
    }
    world
}

impl World {
    async fn loses(&self, site: usize) {
        self.served.sites[site].kill();
        self.served.sites[site].is(Health::Down).await;
    }

    /// The same with requests that may take a moment only.
    fn hasty(&self) -> Store {
        let (journal, routes) = (self.store.journal().clone(), self.served.routes.clone());
        Store::new(journal, routes, Duration::from_millis(200), self.cancel.clone())
    }
}

fn get(key: &'static str, serializable: bool) -> Range {
    Range { serializable, ..Range::all(KeyRange::Single(key.into())) }
}

fn reads(ranges: Vec<Range>) -> Txn {
    let compares = ["a", "z"].map(|key| Compare {
        keys: KeyRange::Single(key.into()),
        subject: Subject::Version(1),
        relation: Relation::Equal,
    });
    let success = ranges.into_iter().map(Op::Range).collect();
    Txn { compares: compares.into(), success, failure: Vec::new() }
}

#[tokio::test]
async fn what_needs_other_keys_goes_on() {
    let world = world().await;
    let store = &world.store;
    world.loses(1).await;
    assert!(store.range(&get("a", false)).await.is_ok() && store.range(&get("z", true)).await.is_ok());
    let read = store.txn(&reads(vec![get("a", true), get("z", true)])).await.expect("both are served");
    assert!(read.answer.succeeded, "the compares hold");
    assert!(store.txn(&reads(vec![get("a", false)])).await.is_ok());
    let put = Put { prev_kv: true, ..Put::new("a", "other") };
    assert_eq!(
        store.put(put).await.expect("it is served").answer.prev_kv.expect("it was there").value,
        "value"
    );
    let delete = DeleteRange { keys: KeyRange::Single("z".into()), prev_kv: false };
    assert_eq!(store.delete_range(&delete).await.expect("it is served").answer.deleted, 1);
    assert!(store.ready_in_part().await.is_ok(), "the others can be asked");
    world.close().await;
}

#[tokio::test]
async fn what_needs_lost_keys_waits_until_its_deadline() {
    let world = world().await;
    world.loses(1).await;
    let hasty = world.hasty();
    let lost = async {
        [
            hasty.range(&get("k", false)).await.err(),
            hasty.range(&get("k", true)).await.err(),
            hasty.txn(&reads(vec![get("k", true)])).await.err(),
            hasty.put(Put { prev_kv: true, ..Put::new("k", "other") }).await.err(),
        ]
    };
    assert_eq!(lost.await, [(); 4].map(|()| Some(Error::TimedOut)));
    world.close().await;
}

/// Also where it is the first one, which once stood for all.
#[tokio::test]
async fn whether_anything_was_compacted_is_known_to_any_partition() {
    let world = world().await;
    world.loses(0).await;
    let at = world.store.barrier().await.expect("it leads");
    assert_eq!(world.served.routes.never_compacted(at.lsn).await, Ok(true));
    let nothing = Compact { revision: 0, physical: false };
    assert!(world.store.compact(nothing).await.is_ok());
    let past = Range { revision: 2, ..get("z", false) };
    assert!(world.store.txn(&Txn { success: vec![Op::Range(past)], ..Txn::default() }).await.is_ok());
    world.close().await;
}

#[tokio::test]
async fn a_lost_partition_counts_with_what_it_last_held() {
    let world = world().await;
    let large = Put::new("l", vec![7; 400_000]);
    let at = world.store.put(large).await.expect("there is room").at;
    let before = world.served.routes.bytes_in_use_at(at.lsn).await.expect("they are open");
    assert!(400_000 < before, "{before}");
    world.loses(1).await;
    let mut refusal = None;
    for number in 0..100 {
        let put = Put::new(format!("z{number}"), vec![7; 50_000]);
        refusal = world.store.put(put).await.err();
        if refusal.is_some() {
            assert!((8..13).contains(&number), "{number} more had room");
            break;
        }
    }
    assert_eq!(refusal, Some(Error::NoSpace));
    let used = world.served.routes.bytes_in_use();
    assert!(before < used && used < QUOTA_BYTES, "{used}");
    assert!(world.store.seen().revision > Revision(10));
    world.close().await;
}
