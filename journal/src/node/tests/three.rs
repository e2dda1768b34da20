//! Three voters.

use std::time::Duration;

use super::super::*;
use super::world::{Client, Dice, NODES, World, history, put, requests};
use crate::clock::Clock;
use crate::lsn::Lsn;
use crate::member::{Member, MemberChange};
use crate::origin::Origin;
use crate::revision::Revision;
use crate::verdict::{Fate, Verdict};

pub(super) async fn rest(world: &World, milliseconds: u64) {
    world.clock.until(world.clock.now() + Duration::from_millis(milliseconds)).await;
}

pub(super) type Acknowledged = Vec<(Origin, Lsn, Revision)>;

/// Clients that append one after the other, and ask for a barrier behind each.
pub(super) fn clients(world: &World, count: u64, appends: u64) -> Vec<JoinHandle<Acknowledged>> {
    let run = |mut client: Client| async move {
        let mut acknowledged = Vec::new();
        for _ in 0..appends {
            let append = client.put(8);
            let (origin, lsn, revision) = client.append(append).await;
            client.barrier().await;
            acknowledged.push((origin, lsn, revision));
        }
        acknowledged
    };
    (1..=count).map(|frontend| tokio::spawn(run(world.client(frontend)))).collect()
}

/// Every node has the same history, in which everything acknowledged is once, where it was said to be.
pub(super) async fn check(world: &World, acknowledged: Vec<Acknowledged>) {
    let upto = world.client(999).barrier().await.lsn;
    let mut histories = Vec::new();
    for node in NODES {
        histories.push(requests(&history(&world.handle(node), Lsn(1), upto).await));
    }
    assert_eq!(histories[0], histories[1]);
    assert_eq!(histories[0], histories[2]);
    for place in acknowledged.into_iter().flatten() {
        assert_eq!(histories[0].get(&(place.0.frontend, place.0.seq)), Some(&place));
    }
}

pub(super) async fn join_all(clients: Vec<JoinHandle<Acknowledged>>) -> Vec<Acknowledged> {
    let mut acknowledged = Vec::new();
    for client in clients {
        acknowledged.push(client.await.unwrap());
    }
    acknowledged
}

#[tokio::test(start_paused = true)]
async fn every_node_tells_the_same_history() {
    let world = World::start().await;
    let acknowledged = join_all(clients(&world, 8, 50)).await;
    check(&world, acknowledged).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_of_the_leader_with_appends_in_flight_loses_and_repeats_nothing() {
    let mut world = World::start().await;
    let running = clients(&world, 16, 100);
    for _ in 0..5 {
        rest(&world, 30).await;
        let leader = world.leader(&NODES).await;
        world.crash(leader).await;
        rest(&world, 1_000).await;
        world.restart(leader).await;
    }
    let acknowledged = join_all(running).await;
    check(&world, acknowledged).await;
}

#[tokio::test(start_paused = true)]
async fn a_zombie_leader_confirms_nothing() {
    let world = World::start().await;
    let zombie = world.leader(&NODES).await;
    let others: Vec<u64> = NODES.into_iter().filter(|node| *node != zombie).collect();
    let mut client = world.client(1);
    let append = client.put(8);
    client.append(append).await;

    world.hub.cut(zombie, others.clone());
    let cut_off = world.handle(zombie);
    let pending = tokio::spawn({
        let cut_off = cut_off.clone();
        async move { cut_off.append(put(9, 1, 8)).await }
    });
    assert!(cut_off.barrier().await.is_err());
    assert!(cut_off.fate(Origin { frontend: 9, seq: 1, attempt: 1 }).await.is_err());
    assert!(cut_off.keep_alive(crate::record::LeaseId(1)).await.is_err());

    let leader = world.leader(&others).await;
    let fate = world.handle(leader).fate(Origin { frontend: 9, seq: 1, attempt: 1 }).await;
    assert_eq!(fate, Ok(Fate::Never));
    let append = client.put(8);
    let after = client.append(append).await;
    world.hub.heal();
    assert_eq!(pending.await.unwrap(), Verdict::Unknown, "nobody may say that it did not happen");
    check(&world, vec![vec![after]]).await;
}

/// Virtual time passes only while everybody waits.
#[test]
fn a_leader_waits_for_a_voter_that_has_not_started() {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let world = World::start().await;
            let leader = world.leader(&NODES).await;
            let journal = world.handle(leader);
            for id in NODES {
                let publish =
                    MemberChange::Publish { id, name: format!("node-{id}"), client_urls: Vec::new() };
                journal.change_members(publish).await.unwrap().unwrap();
            }
            let member = Member { id: 4, peer_urls: vec!["http://10.0.0.4:1".into()], ..Member::default() };
            journal.change_members(MemberChange::Add(member)).await.unwrap().unwrap();
            let admitting = tokio::spawn(world.node(leader).unwrap().cluster.clone().admit());
            rest(&world, 1_000).await;
            admitting.abort();
        });
        tell.send(())
    });
    told.recv_timeout(Duration::from_secs(60)).expect("it goes round without waiting");
}

#[tokio::test(start_paused = true)]
async fn leadership_is_handed_over_within_a_heartbeat() {
    let world = World::start().await;
    let leader = world.leader(&NODES).await;
    let running = clients(&world, 8, 50);
    let next = leader % 3 + 1;
    let begun = world.clock.now();
    world.node(leader).unwrap().transfer_leader(next).await.unwrap();
    let mut status = world.handle(next).status();
    status.wait_for(|status| status.leader == Some(next)).await.unwrap();
    assert!(world.clock.now() - begun < Duration::from_millis(50), "no election timeout had to pass");
    let acknowledged = join_all(running).await;
    check(&world, acknowledged).await;
}

#[tokio::test(start_paused = true)]
async fn without_a_quorum_nothing_is_confirmed_and_afterwards_all_goes_on() {
    let mut world = World::start().await;
    let leader = world.leader(&NODES).await;
    for node in NODES.into_iter().filter(|node| *node != leader) {
        world.crash(node).await;
    }
    assert!(world.handle(leader).barrier().await.is_err());
    let running = clients(&world, 4, 10);
    rest(&world, 2_000).await;
    for node in NODES.into_iter().filter(|node| *node != leader) {
        world.restart(node).await;
    }
    let acknowledged = join_all(running).await;
    check(&world, acknowledged).await;
}

/// What may go wrong, by dice, while clients append.
async fn storm(seed: u64) {
    let mut dice = Dice(seed * 7_919 + 1);
    let mut world = World::start().await;
    let running = clients(&world, 5, 40);
    for _ in 0..12 {
        rest(&world, dice.below(300)).await;
        let node = dice.below(3) + 1;
        match dice.below(6) {
            0 | 1 => {
                let leader = NODES
                    .into_iter()
                    .find(|node| world.handle(*node).status().borrow().leader == Some(*node));
                let node = leader.unwrap_or(node);
                world.crash(node).await;
                rest(&world, dice.below(1_500)).await;
                world.restart(node).await;
            }
            2 => world.hub.cut(node, NODES.into_iter().filter(|other| *other != node)),
            3 => world.hub.delay(Duration::from_millis(dice.below(20))),
            4 => {
                for from in NODES.into_iter().filter(|node| world.is_up(*node)) {
                    world.node(from).unwrap().transfer_leader(node).await.unwrap();
                }
            }
            _ => world.hub.heal(),
        }
    }
    world.hub.heal();
    world.hub.delay(Duration::ZERO);
    let acknowledged = join_all(running).await;
    check(&world, acknowledged).await;
}

#[tokio::test(start_paused = true)]
async fn in_a_storm_nothing_acknowledged_is_lost_and_nothing_happens_twice() {
    for seed in 0..4 {
        tokio::time::timeout(Duration::from_secs(600), storm(seed))
            .await
            .unwrap_or_else(|_| panic!("seed {seed} hangs"));
    }
}
