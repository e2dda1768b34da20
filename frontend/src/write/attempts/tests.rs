//! Attempts that come late to the journal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use journal::{KeyRange, LeaseId, Revision, Verdict};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::routes::tests::served::Served;

/// A change whose first attempt nobody takes at once. A copy of it comes to the journal while the second looks,
/// and then there is nothing left to do.
struct Overtaken<'a> {
    store: &'a Store,
    /// How the change is named.
    origin: Origin,
    draws: AtomicU32,
}

fn put() -> Write {
    Write::Put { key: Bytes::from_static(b"k"), value: Bytes::from_static(b"v"), lease: LeaseId::NONE }
}

impl Change for Overtaken<'_> {
    type Basis = u32;
    type Answer = Option<u32>;

    async fn draft(&self) -> Result<Drafted<u32, Option<u32>>, Error> {
        if self.draws.fetch_add(1, Relaxed) == 0 {
            // Who has read what this leader does not know of has read another's: it refuses, and takes nothing.
            let read = Read::Keys { keys: KeyRange::all(), at: Revision(1_000) };
            let draft = Draft { reads: vec![read], writes: vec![put()], sysop: None };
            return Ok(Drafted::Append { draft, basis: 1 });
        }
        let (origin, writes) = (self.origin, vec![put()]);
        let copy = Append { origin, reads: Vec::new(), writes, sysop: None, reserve: false };
        let verdict = self.store.journal().append(copy).await;
        assert!(matches!(verdict, Verdict::Committed { .. }), "{verdict:?}");
        let at = self.store.barrier().await?;
        Ok(Drafted::Nothing(Answered { answer: None, at }))
    }

    async fn lose(&self, _: &u32, loss: Loss) -> Result<(), Error> {
        panic!("it loses against nobody: {loss:?}");
    }

    fn answer(&self, basis: u32, _: Position) -> Option<u32> {
        Some(basis)
    }
}

/// A change whose first attempt nobody takes at once, and whose second finds no room.
struct Crowded<'a> {
    store: &'a Store,
    draws: AtomicU32,
}

impl Change for Crowded<'_> {
    type Basis = ();
    type Answer = ();

    async fn draft(&self) -> Result<Drafted<(), ()>, Error> {
        let nth = self.draws.fetch_add(1, Relaxed);
        let reads = match nth {
            0 => vec![Read::Keys { keys: KeyRange::all(), at: Revision(1_000) }],
            _ => Vec::new(),
        };
        if nth == 1 {
            let (journal, origin) = (self.store.journal().clone(), self.store.origin());
            let value = Bytes::from(vec![0; 64 << 20]);
            let fills = Write::Put { key: Bytes::from_static(b"large"), value, lease: LeaseId::NONE };
            let append =
                Append { origin, reads: Vec::new(), writes: vec![fills], sysop: None, reserve: false };
            tokio::spawn(async move { journal.append(append).await });
            // So it stands in the queue before the attempt does.
            tokio::task::yield_now().await;
        }
        Ok(Drafted::Append { draft: Draft { reads, writes: vec![put()], sysop: None }, basis: () })
    }

    async fn lose(&self, (): &(), loss: Loss) -> Result<(), Error> {
        panic!("it loses against nobody: {loss:?}");
    }

    fn answer(&self, (): (), _: Position) {}
}

/// A change whose first attempt nobody takes at once, and whose second is refused for a lease that exists.
struct Refused(AtomicU32);

const LEASE: LeaseId = LeaseId(7);

fn grant() -> journal::SysOp {
    journal::SysOp::LeaseGrant { lease: LEASE, ttl_seconds: 60 }
}

impl Change for Refused {
    type Basis = ();
    type Answer = ();

    async fn draft(&self) -> Result<Drafted<(), ()>, Error> {
        let unheard = self.0.fetch_add(1, Relaxed) == 0;
        let at = Revision(1_000);
        let reads = if unheard { vec![Read::Keys { keys: KeyRange::all(), at }] } else { Vec::new() };
        let draft = Draft { reads, writes: Vec::new(), sysop: Some(grant()) };
        Ok(Drafted::Append { draft, basis: () })
    }

    async fn lose(&self, (): &(), loss: Loss) -> Result<(), Error> {
        panic!("it loses against nobody: {loss:?}");
    }

    fn answer(&self, (): (), _: Position) {}
}

/// The clock stands still, so that what is held is not given back before it was asked for.
#[tokio::test]
async fn what_is_held_for_somebody_else_is_not_asked_for_without_a_pause() {
    let config = journal::Config::single(11, 12, journal::Storage::Memory);
    let clock = Arc::new(journal::ManualClock::default());
    let node = journal::Node::start(config, clock).await.expect("it needs nothing");
    let journal = node.handle();
    let of = |seq, reads, reserve| {
        let origin = Origin { frontend: 7, seq, attempt: 1 };
        Append { origin, reads, writes: vec![put()], sysop: None, reserve }
    };
    let mut interregnum = Interregnum::default();
    while !matches!(journal.append(of(1, Vec::new(), false)).await, Verdict::Committed { .. }) {
        interregnum.wait(&journal).await;
    }
    let read = Read::Keys { keys: KeyRange::all(), at: Revision(1) };
    assert!(matches!(journal.append(of(2, vec![read], true)).await, Verdict::Conflict { .. }));

    let began = tokio::time::Instant::now();
    let landing = Landing::of(&journal, of(3, Vec::new(), false), &mut interregnum).await;
    assert!(matches!(landing, Ok(Landing::Lost(Loss::Conflict(_)))), "{landing:?}");
    assert!(landing::PENDING_PAUSE <= began.elapsed(), "it may ask again at once");
    node.close().await;
}

/// A store over a journal in memory, and what ends both.
async fn with_a_store(test: impl AsyncFnOnce(&Store)) {
    let clock = Arc::new(journal::SystemClock::default());
    let config = journal::Config::single(11, 12, journal::Storage::Memory);
    let node = journal::Node::start(config, clock).await.expect("it needs nothing");
    let served = Served::start(&node.handle(), &[&[]]).await;
    let cancel = CancellationToken::new();
    let store = Store::new(node.handle(), served.routes.clone(), Duration::from_secs(60), cancel.clone());
    store.barrier().await.expect("it leads before long");
    test(&store).await;
    cancel.cancel();
    served.close().await;
    node.close().await;
}

#[tokio::test]
async fn an_attempt_that_comes_late_is_what_the_request_did() {
    with_a_store(async |store| {
        let before = store.origin();
        let origin = Origin { seq: before.seq + 1, ..before };
        let change = Overtaken { store, origin, draws: AtomicU32::new(0) };
        let answered = store.land(&change).await.expect("it happened");
        assert_eq!((answered.answer, answered.at.revision), (Some(1), Revision(2)));
    })
    .await;
}

#[tokio::test]
async fn want_of_room_is_no_refusal_while_an_attempt_may_still_come() {
    with_a_store(async |store| {
        let change = Crowded { store, draws: AtomicU32::new(0) };
        // Where the large one was written meanwhile there is room at once, and nothing to be seen.
        store.land(&change).await.expect("it finds room");
    })
    .await;
}

/// The lease is gone when the first attempt of the refused request comes, and could be granted.
#[tokio::test]
async fn a_request_that_is_refused_does_not_happen_later() {
    with_a_store(async |store| {
        store.grant(LEASE, 60, 1).await.expect("there is none of this name");
        let before = store.origin();
        let origin = Origin { seq: before.seq + 1, ..before };
        let refused = store.land(&Refused(AtomicU32::new(0))).await;
        assert_eq!(refused.err(), Some(Error::LeaseExists));
        store.revoke(LEASE).await.expect("it is there");
        let late =
            Append { origin, reads: Vec::new(), writes: Vec::new(), sysop: Some(grant()), reserve: false };
        let verdict = store.journal().append(late).await;
        assert!(matches!(verdict, Verdict::Committed { attempt: 3, .. }), "{verdict:?}");
        assert!(!store.is_leased(LEASE).await.expect("it leads"));
    })
    .await;
}
