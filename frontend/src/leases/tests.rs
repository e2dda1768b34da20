//! Ends of leases that meet others: what a client does with the same name, and a shutdown.

use std::sync::Arc;

use bytes::Bytes;
use journal::{Append, Expired, ManualClock, Origin, Storage, Verdict};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::routes::tests::served::Served;

const LEASE: LeaseId = LeaseId(7);
const TTL: Duration = Duration::from_secs(10);

/// A guard against a test that hangs. Nothing that is tested takes time.
const HANGS: Duration = Duration::from_secs(60);

/// A store over a journal in memory, whose leases end as its clock is set.
async fn with_a_store(test: impl AsyncFnOnce(&Store, &ManualClock)) {
    let clock = Arc::new(ManualClock::default());
    let config = journal::Config::single(11, 12, Storage::Memory);
    let node = journal::Node::start(config, clock.clone()).await.expect("it needs nothing");
    let served = Served::start(&node.handle(), &[&[]]).await;
    let cancel = CancellationToken::new();
    let store = Store::new(node.handle(), served.routes.clone(), HANGS, cancel.clone());
    store.barrier().await.expect("it leads before long");
    test(&store, &clock).await;
    cancel.cancel();
    served.close().await;
    node.close().await;
}

async fn grant(store: &Store) {
    let ttl_seconds = i64::try_from(TTL.as_secs()).expect("it is small");
    store.grant(LEASE, ttl_seconds, 1).await.expect("there is none of this name");
}

/// Grants the lease, lets it end, and takes it as the reaper does.
async fn expired(store: &Store, clock: &ManualClock) -> Expired {
    grant(store).await;
    clock.advance(TTL);
    let expired = store.journal().expired().await.expect("it leads");
    assert!(matches!(expired[..], [Expired { lease: LEASE, .. }]), "{expired:?}");
    expired[0]
}

#[tokio::test]
async fn the_end_of_a_lease_that_is_granted_again_meanwhile_is_over() {
    with_a_store(async |store, clock| {
        let Expired { lease, term } = expired(store, clock).await;
        store.revoke(LEASE).await.expect("it is there");
        grant(store).await;
        let ended = tokio::time::timeout(HANGS, store.end_lease(lease, Some(term))).await;
        assert_eq!(ended.expect("it does not try for ever").err(), Some(Error::LeaseNotFound));
        let left = store.lease(LEASE, false).await.expect("it leads").expect("it is another lease");
        assert_eq!(left.status.remaining_seconds, 10);
    })
    .await;
}

#[tokio::test]
async fn the_end_of_a_lease_of_an_earlier_term_is_over() {
    with_a_store(async |store, clock| {
        let Expired { lease, term } = expired(store, clock).await;
        let ended = tokio::time::timeout(HANGS, store.end_lease(lease, Some(term - 1))).await;
        assert_eq!(ended.expect("it does not try for ever").err(), Some(Error::LeaseNotFound));
        store.end_lease(lease, Some(term)).await.expect("it has ended in this term");
    })
    .await;
}

#[tokio::test]
async fn ends_that_do_not_come_about_keep_nobody_from_closing() {
    with_a_store(async |store, clock| {
        grant(store).await;
        clock.advance(TTL);
        let closing = CancellationToken::new();
        let mut reaper = Reaper::new(store.clone());
        reaper.fill();
        let runs = tokio::spawn(reaper.run(closing.clone()));
        // A lease that was handed out is frozen. The reaper then waits for room.
        let put = |seq| Append {
            origin: Origin { frontend: 1, seq, attempt: 1 },
            reads: Vec::new(),
            writes: vec![Write::Put { key: Bytes::from_static(b"k"), value: Bytes::new(), lease: LEASE }],
            sysop: None,
            reserve: false,
        };
        let mut seq = 1;
        while store.journal().append(put(seq)).await != Verdict::Reserved {
            seq += 1;
        }
        tokio::task::yield_now().await;
        closing.cancel();
        tokio::time::timeout(HANGS, runs).await.expect("it ends").expect("it does not panic");
    })
    .await;
}
