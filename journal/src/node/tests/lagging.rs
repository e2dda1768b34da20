//! A voter that was away until the others had trimmed what it needs: it goes on behind a snapshot of their state.

use super::world::{Client, NODES, World, history};
use crate::client::Journal;
use crate::error::Error;
use crate::lsn::Lsn;
use crate::origin::Origin;
use crate::record::{Append, LeaseId, SysOp};
use crate::revision::Revision;
use crate::verdict::Verdict;

fn others(away: u64) -> Vec<u64> {
    NODES.into_iter().filter(|node| *node != away).collect()
}

/// Writes until each of these has trimmed everything before `lsn`. Answers the last append, to be repeated.
async fn outrun(world: &World, client: &mut Client, among: &[u64], lsn: Lsn) -> (Append, Place) {
    loop {
        let at = client.barrier().await;
        let mark = client.mark(at);
        client.append(mark).await;
        let append = client.put(256 << 10);
        let place = client.append(append.clone()).await;
        client.rest(1).await;
        if among.iter().all(|node| lsn < world.handle(*node).status().borrow().first) {
            return (append, place);
        }
    }
}

type Place = (Origin, Lsn, Revision);

async fn reaches(journal: &Journal, lsn: Lsn) {
    journal.status().wait_for(|status| lsn <= status.applied).await.unwrap();
}

async fn begins_behind(journal: &Journal, wanted: Lsn) -> Lsn {
    let first = journal.status().borrow().first;
    assert!(wanted < first, "{wanted} is not there any more");
    assert_eq!(journal.tail(wanted).next().await, Err(Error::Trimmed { first }));
    first
}

/// `away` is cut off with an append that only it has, until the others have nothing left that it could go on with.
async fn goes_on_behind_a_snapshot(mut world: World, away: u64) {
    let mut client = world.client(1);
    let lease = LeaseId(7);
    let grant = SysOp::LeaseGrant { lease, ttl_seconds: 1_000 };
    let grant = Append { writes: Vec::new(), sysop: Some(grant), ..client.put(0) };
    let (_, wanted, _) = client.append(grant).await;
    reaches(&world.handle(away), wanted).await;

    world.hub.cut(away, others(away));
    let never = tokio::spawn({
        let (cut_off, append) = (world.handle(away), world.client(2).put(8));
        async move { cut_off.append(append).await }
    });
    world.leader(&others(away)).await;
    let end = world.handle(away).status().borrow().applied.next().next();
    let (again, place) = outrun(&world, &mut client, &others(away), end).await;
    world.hub.heal();
    assert!(!matches!(never.await.unwrap(), Verdict::Committed { .. }));

    for _ in 0..2 {
        let journal = world.handle(away);
        reaches(&journal, place.1).await;
        let first = begins_behind(&journal, wanted.next()).await;
        let other = world.handle(others(away)[0]);
        let from = first.max(other.status().borrow().first);
        assert_eq!(history(&journal, from, place.1).await, history(&other, from, place.1).await);
        world.crash(away).await;
        world.restart(away).await;
    }
    leads_with_all_it_was_told(&world, away, &again, place, lease).await;
}

/// Also what is in no entry that it has ever seen.
async fn leads_with_all_it_was_told(world: &World, node: u64, again: &Append, place: Place, lease: LeaseId) {
    let journal = world.handle(node);
    while world.leader(&NODES).await != node {
        for from in NODES {
            world.node(from).unwrap().transfer_leader(node).await.unwrap();
        }
        world.client(3).rest(100).await;
    }
    let verdict = journal.append(again.clone()).await;
    let (Origin { attempt, .. }, lsn, revision) = place;
    assert!(
        matches!(verdict, Verdict::Committed { lsn: l, revision: r, attempt: a, .. } if (l, r, a) == (lsn, revision, attempt)),
        "{verdict:?} is not where it was"
    );
    assert!(journal.lease(lease).await.unwrap().is_some());
    let before = journal.barrier().await.unwrap();
    let append = world.client(4).put(8);
    let Verdict::Committed { revision, .. } = journal.append(append).await else { panic!("it leads") };
    assert_eq!(revision, before.revision.next());
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_was_away_goes_on_behind_a_snapshot() {
    let world = World::start_trimming().await;
    let away = world.leader(&NODES).await % 3 + 1;
    goes_on_behind_a_snapshot(world, away).await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_was_away_forgets_what_only_it_had() {
    let world = World::start_trimming().await;
    let away = world.leader(&NODES).await;
    goes_on_behind_a_snapshot(world, away).await;
}

/// It has everything, and the leader does not hear so.
#[tokio::test(start_paused = true)]
async fn a_follower_that_acknowledges_nothing_holds_up_no_trimming() {
    let world = World::start_trimming().await;
    let leader = world.leader(&NODES).await;
    let mute = others(leader)[0];
    let mut client = world.client(1);
    let end = client.barrier().await.lsn;
    world.hub.hold_answers(mute, leader);
    outrun(&world, &mut client, &others(mute), end).await;
    world.hub.heal();
    let append = client.put(8);
    let (_, last, _) = client.append(append).await;
    reaches(&world.handle(mute), last).await;
}

#[tokio::test(start_paused = true)]
async fn a_purge_that_a_follower_held_up_is_made_after_the_leadership() {
    let world = World::start_trimming().await;
    let leader = world.leader(&NODES).await;
    let (mute, next) = (others(leader)[0], others(leader)[1]);
    let mut client = world.client(1);
    let end = client.barrier().await.lsn;
    world.hub.hold_answers(mute, leader);
    outrun(&world, &mut client, &[next], end).await;
    let first = || world.handle(leader).status().borrow().first;
    assert_eq!(first(), Lsn(1), "only the leader waits for a follower");
    while world.leader(&NODES).await != next {
        world.node(leader).expect("it runs").transfer_leader(next).await.expect("it runs");
        client.rest(10).await;
    }
    while first() <= end {
        client.rest(100).await;
    }
}
