//! Three voters as others see them: through a follower, and from outside.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::net::Net;
use super::world::{history, put, requests};
use crate::client::Journal;
use crate::clock::{Clock, SystemClock};
use crate::error::Error;
use crate::lsn::Lsn;
use crate::origin::Origin;
use crate::record::{Append, SysOp};
use crate::routes::Routes;
use crate::verdict::{Fate, Verdict};

async fn pause() {
    let clock = SystemClock::default();
    clock.until(clock.now() + Duration::from_millis(5)).await;
}

/// Appends as a frontend does, with nothing but this handle. Answers which attempt it was, and where it is.
async fn settle(journal: &Journal, mut append: Append) -> (Origin, Lsn) {
    loop {
        match journal.append(append.clone()).await {
            Verdict::Committed { lsn, .. } => return (append.origin, lsn),
            Verdict::NotLeader { .. } => {}
            Verdict::Unknown => match fate(journal, append.origin).await {
                Fate::Committed { lsn, .. } => return (append.origin, lsn),
                Fate::Never => append.origin.attempt += 1,
                fate => panic!("{fate:?} of {:?}", append.origin),
            },
            verdict => panic!("{verdict:?}"),
        }
        pause().await;
    }
}

async fn fate(journal: &Journal, origin: Origin) -> Fate {
    loop {
        match journal.fate(origin).await {
            Ok(Fate::Pending) | Err(Error::NotLeader { .. } | Error::NoQuorum) => pause().await,
            fate => return fate.expect("the handle stays open"),
        }
    }
}

#[tokio::test]
async fn a_node_that_does_not_lead_passes_on_what_it_is_asked() {
    let net = Net::begin(&[1, 2, 3]).await;
    let leader = net.leader().await;
    for (seq, follower) in (1..).zip(net.ids().into_iter().filter(|id| *id != leader)) {
        let journal = net.handle(follower);
        let (_, lsn) = settle(&journal, put(7, seq, 100)).await;
        let barrier = journal.barrier().await.expect("the leader is there");
        assert!(lsn <= barrier.lsn, "a barrier covers what was acknowledged before (I6)");
        net.has(follower, barrier.lsn).await;
    }
}

#[tokio::test]
async fn writers_outside_survive_the_death_of_every_leader() {
    let mut net = Net::begin(&[1, 2, 3]).await;
    let journal = net.remote();
    let writers: Vec<_> = (20..26)
        .map(|frontend| {
            let journal = journal.clone();
            tokio::spawn(async move {
                let mut landed = Vec::new();
                for seq in 1..=150 {
                    landed.push(settle(&journal, put(frontend, seq, 100)).await);
                }
                landed
            })
        })
        .collect();
    for _ in 0..3 {
        let leader = net.leader().await;
        let applied = net.handle(leader).status().borrow().applied;
        net.has(leader, Lsn(applied.0 + 3)).await;
        net.kill(leader).await;
        net.leader().await;
        net.start(leader, &[1, 2, 3], false).await;
    }
    let mut landed = BTreeMap::new();
    for writer in writers {
        let settled = writer.await.expect("it does not panic");
        landed
            .extend(settled.into_iter().map(|(origin, lsn)| ((origin.frontend, origin.seq), (origin, lsn))));
    }
    assert_eq!(landed.len(), 6 * 150, "each is acknowledged once");
    let last = journal.barrier().await.expect("somebody leads").lsn;
    // Read from outside, too.
    let told = requests(&history(&journal, Lsn(1), last).await);
    for (request, (origin, lsn)) in landed {
        let (attempt, place, _) = told[&request];
        assert_eq!((attempt, place), (origin, lsn), "what is acknowledged happened, there and so");
    }
}

#[tokio::test]
async fn changed_routes_are_told_to_everybody() {
    let net = Net::begin(&[1, 2, 3]).await;
    let journal = net.remote();
    let routes = Arc::new(Routes::default().begin(&[Bytes::from_static(b"m")]).expect("nobody has routed"));
    let mut statuses = vec![journal.status()];
    statuses.extend(net.ids().into_iter().map(|id| net.handle(id).status()));
    let sysop = Some(SysOp::Routes(routes.clone()));
    settle(&journal, Append { sysop, writes: Vec::new(), ..put(7, 1, 0) }).await;
    for mut status in statuses {
        let told =
            status.wait_for(|status| status.routes.version() == 1).await.expect("the handle stays open");
        assert_eq!(told.routes, routes);
    }
}
