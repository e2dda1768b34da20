//! Leaders without a quorum and followers without a leader: both are told of, and everything goes on afterwards.

use std::time::Duration;

use super::three::{check, clients, join_all, rest};
use super::world::{NODES, World, put};
use crate::client::Journal;
use crate::clock::Clock;
use crate::error::Error;
use crate::verdict::Verdict;

/// Of nodes that are configured as the world's are.
const ELECTION_TIMEOUT: Duration = Duration::from_secs(1);

async fn leads_nobody(journal: &Journal) {
    journal.status().wait_for(|status| status.leader.is_none()).await.unwrap();
}

async fn others(world: &World, leader: u64) -> [u64; 2] {
    let others: Vec<u64> = NODES.into_iter().filter(|node| *node != leader).collect();
    // They have heard who leads.
    for node in &others {
        world.handle(*node).status().wait_for(|status| status.leader == Some(leader)).await.unwrap();
    }
    [others[0], others[1]]
}

#[tokio::test(start_paused = true)]
async fn a_leader_without_a_quorum_leads_no_more_and_leads_on_with_one() {
    let world = World::start().await;
    let leader = world.leader(&NODES).await;
    let [first, second] = others(&world, leader).await;
    for voter in [first, second] {
        world.node(voter).unwrap().cluster.bear_silence();
    }
    let journal = world.handle(leader);
    let term = journal.status().borrow().term;
    world.hub.cut(leader, [first, second]);
    let waits = tokio::spawn({
        let journal = journal.clone();
        async move { journal.append(put(9, 1, 8)).await }
    });
    let begun = world.clock.now();
    leads_nobody(&journal).await;
    let took = world.clock.now() - begun;
    assert!(ELECTION_TIMEOUT / 2 < took && took < ELECTION_TIMEOUT * 3 / 2, "after {took:?}");
    assert_eq!(waits.await.unwrap(), Verdict::Unknown, "it may still happen");
    assert_eq!(journal.append(put(9, 2, 8)).await, Verdict::NotLeader { hint: None });
    assert_eq!(journal.barrier().await, Err(Error::NotLeader { hint: None }));

    world.hub.heal();
    journal.status().wait_for(|status| status.leader == Some(leader)).await.unwrap();
    assert_eq!(journal.status().borrow().term, term, "nobody else was elected");
    let acknowledged = join_all(clients(&world, 4, 10)).await;
    check(&world, acknowledged).await;
}

#[tokio::test(start_paused = true)]
async fn the_last_of_three_names_no_leader() {
    let mut world = World::start().await;
    let leader = world.leader(&NODES).await;
    let [first, second] = others(&world, leader).await;
    world.crash(leader).await;
    world.crash(second).await;
    let begun = world.clock.now();
    leads_nobody(&world.handle(first)).await;
    assert!(world.clock.now() - begun < ELECTION_TIMEOUT * 3 / 2);
    // Its disk tells of the leader that it had.
    world.crash(first).await;
    world.restart(first).await;
    rest(&world, 100).await;
    leads_nobody(&world.handle(first)).await;
    for node in [leader, second] {
        world.restart(node).await;
    }
    let acknowledged = join_all(clients(&world, 4, 10)).await;
    check(&world, acknowledged).await;
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_is_cut_off_names_no_leader_until_it_hears_one() {
    let world = World::start().await;
    let leader = world.leader(&NODES).await;
    let [first, second] = others(&world, leader).await;
    world.hub.cut(first, [leader, second]);
    leads_nobody(&world.handle(first)).await;
    assert_eq!(world.handle(leader).status().borrow().leader, Some(leader), "two are enough");
    world.hub.heal();
    world.handle(first).status().wait_for(|status| status.leader == Some(leader)).await.unwrap();
    let acknowledged = join_all(clients(&world, 4, 10)).await;
    check(&world, acknowledged).await;
}

#[tokio::test(start_paused = true)]
async fn slow_links_lose_no_leader() {
    let world = World::start().await;
    let leader = world.leader(&NODES).await;
    others(&world, leader).await;
    let mut status = world.handle(leader).status();
    status.mark_unchanged();
    world.hub.delay(Duration::from_millis(20));
    rest(&world, 20_000).await;
    assert_eq!(status.borrow().leader, Some(leader));
    assert!(!status.has_changed().unwrap(), "not even for a moment");
}
