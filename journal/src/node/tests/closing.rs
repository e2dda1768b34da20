//! A voter that is asked to end, while the others go on.

use std::time::Duration;

use super::three::{check, clients, join_all, rest};
use super::world::{NODES, World, put};
use crate::clock::Clock;
use crate::config::{Config, Storage};
use crate::verdict::Verdict;

fn election_timeout() -> Duration {
    Config::single(1, 1, Storage::Memory).election_timeout
}

fn others(node: u64) -> Vec<u64> {
    NODES.into_iter().filter(|other| *other != node).collect()
}

/// Paused time makes it certain: an election that waits for silence takes longer.
#[tokio::test(start_paused = true)]
async fn a_leader_that_closes_lets_another_lead_first() {
    let mut world = World::start().await;
    let running = clients(&world, 8, 200);
    for _ in 0..6 {
        let leader = world.leader(&NODES).await;
        rest(&world, 40).await;
        let begun = world.clock.now();
        world.close(leader).await;
        world.leader(&others(leader)).await;
        let leaderless = world.clock.now() - begun;
        assert!(leaderless < election_timeout(), "nobody led for {leaderless:?}");
        world.restart(leader).await;
    }
    check(&world, join_all(running).await).await;
}

#[tokio::test(start_paused = true)]
async fn who_does_not_lead_closes_without_a_change_of_leader() {
    let mut world = World::start().await;
    let leader = world.leader(&NODES).await;
    let term = world.handle(leader).barrier().await.unwrap().term;
    world.close(others(leader)[0]).await;
    assert_eq!(world.handle(leader).barrier().await.unwrap().term, term);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_left_alone_does_not_wait_for_the_dead() {
    let mut world = World::start().await;
    let leader = world.leader(&NODES).await;
    for node in others(leader) {
        world.crash(node).await;
    }
    rest(&world, 2_000).await;
    let begun = world.clock.now();
    world.close(leader).await;
    assert!(world.clock.now() - begun < election_timeout());
}

/// It never lands. Should the task wait for it without a pause, paused time would stand still.
#[tokio::test(start_paused = true)]
async fn a_leader_that_is_left_alone_gives_up_what_is_on_its_way() {
    let mut world = World::start().await;
    let leader = world.leader(&NODES).await;
    for node in others(leader) {
        world.crash(node).await;
    }
    let journal = world.handle(leader);
    let append = tokio::spawn(async move { journal.append(put(9, 1, 8)).await });
    rest(&world, 1).await;
    world.close(leader).await;
    assert_eq!(append.await.unwrap(), Verdict::Unknown);
}
