//! One voter and three, from an append to the tail, through crashes, cuts and changes of leader.

mod closing;
mod confirming;
mod contact;
mod lagging;
mod members;
mod net;
mod observer;
mod own_snapshots;
mod refused;
mod remote;
mod storage;
mod storm;
mod three;
mod wire;
mod world;

use super::*;
use crate::client::Expired;
use crate::clock::{ManualClock, SystemClock};
use crate::log_device::sim::{Faults, Sim};
use crate::lsn::Lsn;
use crate::origin::Origin;
use crate::record::{Append, LeaseId, SysOp, Write};
use crate::revision::Revision;
use crate::verdict::Verdict;
use bytes::Bytes;
use world::{history, requests};

fn put(seq: u64, key: &str) -> Append {
    let key = Bytes::copy_from_slice(key.as_bytes());
    let write = Write::Put { key: key.clone(), value: key, lease: LeaseId::NONE };
    let origin = Origin { frontend: 1, seq, attempt: 1 };
    Append { origin, reads: Vec::new(), writes: vec![write], sysop: None, reserve: false }
}

async fn leads(journal: &Journal) {
    journal.status().wait_for(|status| status.leader == Some(status.node)).await.unwrap();
    while journal.barrier().await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_is_appended_comes_out_of_the_tail() {
    let config = Config::single(7, 1, Storage::Memory);
    let node = Node::start(config, Arc::new(SystemClock::default())).await.unwrap();
    let journal = node.handle();
    leads(&journal).await;
    let mut tail = journal.tail(Lsn(1));
    let Verdict::Committed { lsn, revision, .. } = journal.append(put(1, "a")).await else { panic!() };
    assert_eq!(revision, Revision(2));
    let barrier = journal.barrier().await.unwrap();
    assert_eq!((barrier.lsn, barrier.revision), (lsn, revision));
    loop {
        let entries = tail.next().await.unwrap();
        if let Some(entry) = entries.iter().find(|entry| entry.batch.is_some()) {
            assert_eq!(entry.lsn, lsn);
            break;
        }
    }
    node.close().await;
    assert!(matches!(tail.next().await, Err(Error::Closed)));
    assert!(matches!(journal.barrier().await, Err(Error::Closed)));
}

/// A node that votes alone, on a disk of the test's.
async fn on_sim(disk: &Sim, snapshots: &SnapshotStore, clock: Arc<SystemClock>) -> Node {
    let config =
        Config { retention_bytes: 0, recent_bytes_max: 1 << 20, ..Config::single(7, 1, Storage::Memory) };
    let log = Log::on_sim(disk, 1 << 20, clock.clone()).unwrap();
    Node::assemble(config, clock, log, snapshots.clone(), Network::Alone).await.unwrap()
}

#[tokio::test]
async fn a_restart_from_disk_keeps_everything_and_repeats_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config::single(7, 1, Storage::Directory(directory.path().join("journal")));
    let mut acknowledged = Vec::new();
    for round in 1..=3_u64 {
        let node = Node::start(config.clone(), Arc::new(SystemClock::default())).await.unwrap();
        let journal = node.handle();
        leads(&journal).await;
        for seq in 1..=round * 20 {
            acknowledged.push((seq, journal.append(put(seq, "a")).await));
        }
        let last = journal.barrier().await.unwrap().lsn;
        assert_eq!(
            requests(&history(&journal, Lsn(1), last).await).len(),
            usize::try_from(20 * round).unwrap()
        );
        node.close().await;
    }
    let places = |seq: u64| {
        let same = acknowledged.iter().filter(|(other, _)| *other == seq);
        same.map(|(_, verdict)| verdict.clone()).collect::<Vec<_>>()
    };
    assert!(places(1).len() == 3 && places(1).iter().all(|verdict| *verdict == places(1)[0]));
    assert!(matches!(places(60)[0], Verdict::Committed { revision: Revision(61), .. }));
}

#[tokio::test(start_paused = true)]
async fn who_votes_alone_waits_for_no_election() {
    let (disk, snapshots) = (Sim::default(), SnapshotStore::in_memory());
    for _ in 0..3 {
        let clock = Arc::new(SystemClock::default());
        let node = on_sim(&disk, &snapshots, clock.clone()).await;
        leads(&node.handle()).await;
        assert!(clock.now() < Duration::from_millis(50), "after {:?}", clock.now());
        node.close().await;
    }
}

#[tokio::test]
async fn a_directory_in_use_or_of_another_cluster_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let config = |cluster| Config::single(cluster, 1, Storage::Directory(directory.path().to_owned()));
    let clock = || Arc::new(SystemClock::default());
    let node = Node::start(config(7), clock()).await.unwrap();
    assert!(matches!(Node::start(config(7), clock()).await, Err(Error::Io(_))));
    node.close().await;
    assert!(matches!(Node::start(config(8), clock()).await, Err(Error::Io(_))));
    Node::start(config(7), clock()).await.unwrap().close().await;
}

fn mark(seq: u64, lsn: Lsn, revision: Revision) -> Append {
    let (start, end) = (Bytes::new(), Bytes::new());
    let sysop = Some(SysOp::SnapshotMark { start, end, lsn, revision, set_hash: 0 });
    Append { writes: Vec::new(), sysop, ..put(seq, "") }
}

#[tokio::test(start_paused = true)]
async fn behind_snapshots_the_disk_is_given_back_and_a_restart_goes_on() {
    let (mut disk, snapshots) = (Sim::default(), SnapshotStore::in_memory());
    let clock = Arc::new(SystemClock::default());
    let (mut seq, mut last) = (0, Revision::EMPTY_STORE);
    for _ in 0..4 {
        let node = on_sim(&disk, &snapshots, clock.clone()).await;
        let journal = node.handle();
        leads(&journal).await;
        for _ in 0..10 {
            for _ in 0..16 {
                seq += 1;
                let append = world::put(1, seq, 64 << 10);
                let Verdict::Committed { revision, .. } = journal.append(append).await else { panic!() };
                assert_eq!(revision, last.next());
                last = revision;
            }
            seq += 1;
            let at = journal.barrier().await.unwrap();
            assert!(matches!(
                journal.append(mark(seq, at.lsn, at.revision)).await,
                Verdict::Committed { .. }
            ));
        }
        // What is kept begins behind the last whole 4 MiB before the mark.
        let mut status = journal.status();
        let trimmed =
            status.wait_for(|status| Lsn(seq.saturating_sub(150)) < status.first).await.unwrap().clone();
        assert!(trimmed.disk_bytes < 14 << 20, "{trimmed:?}");
        let early = journal.tail(Lsn(1)).next().await;
        assert!(matches!(early, Err(Error::Trimmed { first }) if Lsn(1) < first));
        loop {
            let first = journal.status().borrow().first;
            match journal.tail(first).next().await {
                Ok(kept) => break assert_eq!(kept[0].lsn, first),
                // It went on meanwhile.
                Err(Error::Trimmed { first: later }) => {
                    assert!(first < later);
                    tokio::task::yield_now().await;
                }
                Err(error) => panic!("{error}"),
            }
        }
        drop(node);
        disk = disk.restart(Faults::default());
    }
}

#[tokio::test]
async fn a_lease_that_ends_is_frozen_and_handed_to_who_waits() {
    let clock = ManualClock::default();
    let config = Config::single(7, 1, Storage::Memory);
    let node = Node::start(config, Arc::new(clock.clone())).await.unwrap();
    let journal = node.handle();
    leads(&journal).await;
    let lease = LeaseId(5);
    let sysop = Some(SysOp::LeaseGrant { lease, ttl_seconds: 10 });
    let granted = journal.append(Append { writes: Vec::new(), sysop, ..put(1, "") }).await;
    let Verdict::Committed { term, .. } = granted else { panic!("{granted:?}") };
    let waits = tokio::spawn({
        let journal = journal.clone();
        async move { journal.expired().await }
    });
    clock.advance(Duration::from_secs(9));
    assert_eq!(journal.keep_alive(lease).await, Ok(Some(10)));
    clock.advance(Duration::from_secs(9));
    let left = journal.lease(lease).await.unwrap().unwrap();
    assert_eq!((left.granted_seconds, left.remaining_seconds), (10, 1));
    assert!(!waits.is_finished());
    clock.advance(Duration::from_secs(1));
    assert_eq!(waits.await.unwrap(), Ok(vec![Expired { lease, term }]));
    assert_eq!(journal.keep_alive(lease).await, Ok(None), "it is frozen");
    assert_eq!(journal.leases().await, Ok(vec![lease]), "until its revocation is journaled");
    node.close().await;
}
