//! Leaders that are confirmed, by answers that come late and by voters of the version before.

use super::three::{clients, join_all, rest};
use super::world::{NODES, World};
use crate::verdict::Verdict;

/// The leader, and the others.
async fn led(world: &World) -> (u64, [u64; 2]) {
    let leader = world.leader(&NODES).await;
    let others: Vec<u64> = NODES.into_iter().filter(|node| *node != leader).collect();
    (leader, [others[0], others[1]])
}

/// openraft counts the answer to an append for every request with the same last entry, also for one that was sent
/// later: an empty one, which only tells how far the leader has committed.
///
///     old leader     append ───────────── question ── commit, empty append ──── confirmed?
///     first voter      └─► answer, late ─────────────┘
///     second voter     └─► answer, later ──────────────────────────────────────┘
///     both                     elect another, which writes
#[tokio::test(start_paused = true)]
async fn an_answer_to_an_earlier_request_confirms_no_leader() {
    let world = World::start().await;
    let (old, [first, second]) = led(&world).await;
    let mut client = world.client(1);
    let append = client.put(8);
    client.append(append).await;
    // Nothing else is on its way.
    rest(&world, 5).await;

    for voter in [first, second] {
        world.hub.hold_answers(voter, old);
    }
    let late = tokio::spawn({
        let (journal, append) = (world.handle(old), client.put(8));
        async move { journal.append(append).await }
    });
    rest(&world, 5).await;
    world.hub.lose_requests(old, [first, second]);
    let new = world.leader(&[first, second]).await;
    let written = world.handle(new).append(client.put(8)).await;
    assert!(matches!(written, Verdict::Committed { .. }), "{written:?}");

    let barrier = tokio::spawn({
        let journal = world.handle(old);
        async move { journal.barrier().await }
    });
    for voter in [first, second] {
        rest(&world, 5).await;
        world.hub.deliver_answer(voter, old);
    }
    assert!(barrier.await.unwrap().is_err(), "another leads, and has acknowledged a write");
    world.hub.heal();
    assert!(matches!(late.await.unwrap(), Verdict::Committed { .. } | Verdict::Unknown));
}

#[tokio::test(start_paused = true)]
async fn voters_of_the_version_before_confirm_by_their_appends() {
    let world = World::start().await;
    let (leader, [first, second]) = led(&world).await;
    world.hub.make_old(first);
    world.handle(leader).barrier().await.expect("the other voter knows the request");
    world.hub.make_old(second);
    world.handle(leader).barrier().await.expect("appends confirm it");
    world.hub.cut(leader, [first, second]);
    assert!(world.handle(leader).barrier().await.is_err());
    world.hub.heal();
    join_all(clients(&world, 4, 5)).await;
}

#[tokio::test(start_paused = true)]
async fn one_voter_that_answers_nothing_holds_no_confirmation_up() {
    let mut world = World::start().await;
    let (leader, [first, second]) = led(&world).await;
    world.crash(first).await;
    for _ in 0..100 {
        world.handle(leader).barrier().await.expect("two of three are there");
    }
    world.restart(first).await;
    world.crash(second).await;
    let again = world.leader(&[leader, first]).await;
    world.handle(again).barrier().await.expect("two of three are there");
}
