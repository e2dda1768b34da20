//! Proposals that openraft refuses and takes in one term.

use bytes::Bytes;
use tokio::sync::oneshot;

use super::three::{check, clients, join_all, rest};
use super::world::{NODES, World};
use crate::origin::Origin;
use crate::raft::{Fence, Landing};
use crate::record::{Batch, LeaseId, Record, SysOp, Write};
use crate::revision::Revision;
use crate::state::Applied;

/// Longer than a leader may write without its voters.
const LEASE: u64 = 800;

async fn propose(world: &World, leader: u64, batch: Batch, fence: &Fence) -> Landing {
    let (told, landing) = oneshot::channel();
    let land = move |landing| drop(told.send(landing));
    world.node(leader).unwrap().cluster.propose(batch, fence, land).await;
    landing.await.expect("Raft runs")
}

fn record(seq: u64, writes: Vec<Write>, sysop: Option<SysOp>) -> Record {
    Record { origin: Origin { frontend: 77, seq, attempt: 1 }, writes, sysop }
}

/// The second rests on the first: it puts a key on the lease that the first one grants, or comes after its revision.
async fn refused_then_taken(first: Vec<Record>, second: Record) {
    let mut world = World::start().await;
    let leader = world.leader(&NODES).await;
    let others: Vec<u64> = NODES.into_iter().filter(|node| *node != leader).collect();
    for voter in &others {
        world.node(*voter).unwrap().cluster.bear_silence();
    }
    let status = world.handle(leader).status().borrow().clone();
    let batch = |base_revision: Revision, records: Vec<Record>| Batch {
        term: status.term,
        base_revision,
        wall_clock_ms: 0,
        records,
    };
    let first = batch(status.revision.next(), first);
    let second = batch(first.last_revision().next(), vec![second]);

    let fence = Fence::default();
    world.hub.cut(leader, others);
    rest(&world, LEASE).await;
    assert!(propose(&world, leader, first, &fence).await.is_none(), "its lease has expired");
    world.hub.heal();
    world.leader(&[leader]).await;
    // Its heartbeats are answered again.
    rest(&world, 300).await;
    let landing = propose(&world, leader, second, &fence).await;
    let Some((lsn, Applied::Void)) = landing else { panic!("{landing:?}") };

    for node in NODES {
        world.crash(node).await;
        world.restart(node).await;
    }
    let acknowledged = join_all(clients(&world, 4, 10)).await;
    check(&world, acknowledged).await;
    let mut tail = world.handle(leader).tail(lsn);
    let entries = tail.next().await.expect("it is there");
    assert!(entries[0].batch.is_none(), "no reader sees it");
}

fn put(lease: LeaseId) -> Write {
    Write::Put { key: Bytes::from_static(b"a"), value: Bytes::new(), lease }
}

#[tokio::test(start_paused = true)]
async fn what_was_proposed_after_a_refused_write_is_void() {
    let first = vec![record(1, vec![put(LeaseId::NONE)], None)];
    refused_then_taken(first, record(2, vec![put(LeaseId::NONE)], None)).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_proposed_after_a_refused_grant_is_void() {
    let grant = SysOp::LeaseGrant { lease: LeaseId(5), ttl_seconds: 60 };
    refused_then_taken(vec![record(1, Vec::new(), Some(grant))], record(2, vec![put(LeaseId(5))], None))
        .await;
}
