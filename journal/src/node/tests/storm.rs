//! Two promises of the journal under whatever may go wrong with three voters, each seen from outside.
//!
//!     I4   a tail tells only what is committed: nobody ever tells another thing for the same position
//!     I6   a barrier is not before anything that was acknowledged to anybody before it was asked for
//!
//! Clients append and trim; others do nothing but ask every node in turn for barriers, also those that only believe
//! that they lead. Meanwhile machines stop, links are cut, slow and lose single messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use tokio::task::JoinHandle;

use super::observer::Observers;
use super::world::{Client, NODES, World};
use crate::clock::Clock;
use crate::lsn::Lsn;
use crate::origin::Origin;
use crate::revision::Revision;

#[derive(Clone, Copy, Debug)]
enum Node {
    Leader,
    Numbered(u64),
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Crash(Node),
    Restart,
    Isolate(Node),
    Lose { one_in: u64, seed: u64 },
    Delay { milliseconds: u64 },
    Transfer { to: u64 },
    Heal,
}

fn faults() -> impl Strategy<Value = Vec<(u64, Fault)>> {
    let node = || prop_oneof![Just(Node::Leader), (1..=3_u64).prop_map(Node::Numbered)];
    let fault = prop_oneof![
        3 => node().prop_map(Fault::Crash),
        4 => Just(Fault::Restart),
        3 => node().prop_map(Fault::Isolate),
        4 => (3..60_u64, any::<u64>()).prop_map(|(one_in, seed)| Fault::Lose { one_in, seed }),
        2 => (0..20_u64).prop_map(|milliseconds| Fault::Delay { milliseconds }),
        2 => (1..=3_u64).prop_map(|to| Fault::Transfer { to }),
        3 => Just(Fault::Heal),
    ];
    prop::collection::vec((0..600_u64, fault), 1..14)
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: 20,
        ..ProptestConfig::with_cases(12)
    })]

    #[test]
    fn tails_tell_what_is_committed_and_barriers_are_never_behind(faults in faults()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.unwrap().block_on(async {
            tokio::time::timeout(Duration::from_secs(3_600), storm(&faults)).await.expect("it comes to an end");
        });
    }
}

async fn storm(faults: &[(u64, Fault)]) {
    let mut world = World::start_trimming().await;
    let observers = Observers::start(&world);
    let over = Arc::new(AtomicBool::new(false));
    let doubters: Vec<_> = (900..902).map(|id| tokio::spawn(doubt(world.client(id), over.clone()))).collect();
    let writers: Vec<_> = (1..=4).map(|id| tokio::spawn(write(world.client(id), over.clone()))).collect();
    for (milliseconds, fault) in faults {
        world.clock.until(world.clock.now() + Duration::from_millis(*milliseconds)).await;
        strike(&mut world, *fault).await;
    }
    world.hub.heal();
    world.hub.delay(Duration::ZERO);
    strike(&mut world, Fault::Restart).await;
    over.store(true, Ordering::Relaxed);

    let acknowledged = join_all(writers).await;
    join_all(doubters).await;
    let upto = world.client(999).barrier().await.lsn;
    let story = observers.agree(upto).await;
    // Told once more by nodes that read it from their disks, it is still the same.
    let again = Observers::start(&world).agree(upto).await;
    for (lsn, told) in &again {
        assert!(
            story.get(lsn).is_none_or(|before| before == told),
            "{lsn} was {:?}, is {told:?}",
            story[lsn]
        );
    }
    for (origin, lsn, revision) in acknowledged.into_iter().flatten() {
        let told = story.get(&lsn).map(|told| told.places(origin));
        assert!(told.is_none_or(|places| places == [revision]), "{origin:?} was acknowledged at {lsn}");
    }
}

/// Appends, with a trim now and then: whoever is away for long finds what it needs no longer kept.
async fn write(mut client: Client, over: Arc<AtomicBool>) -> Vec<(Origin, Lsn, Revision)> {
    let mut acknowledged = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let append = if acknowledged.len() % 20 == 19 {
            let at = client.barrier().await;
            client.mark(at)
        } else {
            client.put(96 << 10)
        };
        acknowledged.push(client.append(append).await);
        client.rest(10).await;
    }
    acknowledged
}

/// Asks all nodes in turn. The client itself holds each answer against what was acknowledged when it asked.
async fn doubt(mut client: Client, over: Arc<AtomicBool>) {
    while !over.load(Ordering::Relaxed) {
        client.barrier().await;
        client.elsewhere().await;
    }
}

async fn strike(world: &mut World, fault: Fault) {
    match fault {
        Fault::Crash(node) => world.crash(find(world, node)).await,
        Fault::Restart => {
            for node in NODES {
                if !world.is_up(node) {
                    world.restart(node).await;
                }
            }
        }
        Fault::Isolate(node) => {
            let node = find(world, node);
            world.hub.cut(node, NODES.into_iter().filter(|other| *other != node));
        }
        Fault::Lose { one_in, seed } => world.hub.lose(one_in, seed),
        Fault::Delay { milliseconds } => world.hub.delay(Duration::from_millis(milliseconds)),
        Fault::Transfer { to } => {
            for from in NODES.into_iter().filter(|node| world.is_up(*node)) {
                world.node(from).unwrap().transfer_leader(to).await.unwrap();
            }
        }
        Fault::Heal => world.hub.heal(),
    }
}

/// The leader is whoever believes to lead, in the newest term.
fn find(world: &World, node: Node) -> u64 {
    if let Node::Numbered(node) = node {
        return node;
    }
    let leads = |node: &u64| {
        let status = world.handle(*node).status();
        let status = status.borrow();
        (status.leader == Some(*node)).then_some(status.term)
    };
    NODES.into_iter().filter(|node| world.is_up(*node)).max_by_key(leads).unwrap_or(1)
}

async fn join_all<T>(tasks: Vec<JoinHandle<T>>) -> Vec<T> {
    let mut all = Vec::new();
    for task in tasks {
        all.push(task.await.unwrap());
    }
    all
}
