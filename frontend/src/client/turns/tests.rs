//! Who comes when, and what becomes of those who go.

use super::*;
use crate::{Config, Node};

struct World {
    node: Node,
    turns: Turns,
    stops: CancellationToken,
}

impl World {
    async fn start() -> World {
        let node = Node::start(Config::ephemeral()).await.expect("it needs nothing");
        let stops = CancellationToken::new();
        let turns = Turns::new(node.client(), stops.clone());
        World { node, turns, stops }
    }

    /// Someone of its own lease, who has joined.
    async fn join(&self, name: &'static str) -> (LeaseId, Joined) {
        let lease = self.turns.lease(LeaseId::NONE).await.expect("there is room");
        (lease, self.join_under(name, lease).await)
    }

    async fn join_under(&self, name: &'static str, lease: LeaseId) -> Joined {
        self.turns.join(name.as_bytes(), lease, Bytes::from(name)).await.expect("it is well formed").answer
    }

    /// Begins to wait. Whoever awaits the handle awaits the turn.
    fn wait(&self, name: &'static str, place: &Place) -> tokio::task::JoinHandle<Result<(), Error>> {
        let (turns, place) = (self.turns.clone(), place.clone());
        tokio::spawn(async move { turns.wait(name.as_bytes(), &place).await })
    }

    async fn is_gone(&self, place: &Place) {
        let keys = KeyRange::Single(place.key.clone());
        let mut watch = self.node.client().watch(keys, None);
        while self.turns.holds(place).await.expect("it is readable").is_some() {
            watch.next().await.expect("the store runs");
        }
    }
}

#[tokio::test]
async fn keys_are_those_of_etcds_clients() {
    assert_eq!(key(b"name", LeaseId(0x1f2a)), "name/1f2a");
    assert_eq!(key(b"", LeaseId(-0x1f)), "/-1f");
    assert!(everyone(b"name").contains(b"name/1f") && !everyone(b"name").contains(b"name2/1f"));
}

#[tokio::test]
async fn whoever_joined_first_goes_first() {
    let world = World::start().await;
    let (_, first) = world.join("n").await;
    let (_, other) = world.join("m").await;
    let (second_lease, second) = world.join("n").await;
    let (_, third) = world.join("n").await;
    assert_eq!([first.is_first, other.is_first, second.is_first, third.is_first], [true, true, false, false]);
    let (waits_second, waits_third) = (world.wait("n", &second.place), world.wait("n", &third.place));
    // Of the two who wait, only the one whose turn it is comes to an end.
    world.turns.leave(&first.place).await.expect("it is there");
    waits_second.await.expect("it does not panic").expect("it is its turn");
    assert!(!waits_third.is_finished());
    // A lease that ends is one that leaves.
    world.node.client().revoke(second_lease).await.expect("it is there");
    waits_third.await.expect("it does not panic").expect("it is its turn");
    world.node.shutdown().await;
}

#[tokio::test]
async fn a_lease_has_one_place() {
    let world = World::start().await;
    let (lease, first) = world.join("n").await;
    let (_, _second) = world.join("n").await;
    let again = world.join_under("n", lease).await;
    assert!(again.is_first);
    assert_eq!(again.place, first.place);
    world.node.shutdown().await;
}

#[tokio::test]
async fn whoever_stops_waiting_leaves() {
    let world = World::start().await;
    let (_, first) = world.join("n").await;
    let (_, second) = world.join("n").await;
    let (_, third) = world.join("n").await;
    let waits_third = world.wait("n", &third.place);
    tokio::select! {
        biased;
        waited = world.turns.wait(b"n", &second.place) => panic!("it is not its turn: {waited:?}"),
        () = std::future::ready(()) => {}
    }
    world.is_gone(&second.place).await;
    assert!(world.turns.holds(&first.place).await.expect("it is readable").is_some());
    world.turns.leave(&first.place).await.expect("it is there");
    waits_third.await.expect("it does not panic").expect("it is its turn");
    world.node.shutdown().await;
}

#[tokio::test]
async fn nobody_waits_for_a_store_that_stops() {
    let world = World::start().await;
    let (_, _first) = world.join("n").await;
    let (_, second) = world.join("n").await;
    let waits = world.wait("n", &second.place);
    world.stops.cancel();
    assert_eq!(waits.await.expect("it does not panic"), Err(Error::Stopped));
    world.is_gone(&second.place).await;
    world.node.shutdown().await;
}

#[tokio::test]
async fn a_place_is_lost_with_its_lease() {
    let world = World::start().await;
    let (lease, first) = world.join("n").await;
    world.node.client().revoke(lease).await.expect("it is there");
    assert_eq!(world.turns.holds(&first.place).await, Ok(None));
    let said = world.turns.say(&first.place, LeaseId::NONE, Bytes::from("v")).await;
    assert!(!said.expect("it is well formed").answer);
    let unknown = world.turns.join(b"n", lease, Bytes::new()).await;
    assert_eq!(unknown.err(), Some(Error::LeaseNotFound));
    world.node.shutdown().await;
}
