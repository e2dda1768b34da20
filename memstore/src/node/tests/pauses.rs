//! How much is done at once on the memstore's thread, counted in versions, since time would depend on the machine.

use std::sync::atomic::Ordering::SeqCst;

use journal::{LeaseId, SysOp};
use tokio::task::JoinHandle;

use super::*;
use crate::pause::STEP_WRITES;

/// Far more than a step.
const KEYS: u32 = 50_000;
/// Versions that one poll may work on: a step of applying makes one of each write, and tells each change to those who watch.
const AT_ONCE_MAX: u64 = 2 * STEP_WRITES as u64;

fn key(number: u32) -> Bytes {
    Bytes::from(format!("{number:06}"))
}

fn puts(value: &'static str) -> Vec<Write> {
    let put = |number| Write::Put { key: key(number), value: value.into(), lease: LeaseId(7) };
    (0..KEYS).map(put).collect()
}

/// Applies what is in the journal, and answers the most that was done at once.
async fn at_once(node: &Node, journal: &FedJournal) -> u64 {
    for replica in node.replicas().iter() {
        replica.frontier.wait(journal.last()).await.expect("it is open");
    }
    node.metrics.most_work.load(SeqCst)
}

/// A watcher of a whole partition.
fn watcher(node: &Node, replica: &Replica) -> JoinHandle<()> {
    let (partition, from) = (replica.partition.range().id, replica.frontier.applied().revision.next());
    let keys = replica.partition.range().clip(&KeyRange::all()).expect("a partition has keys");
    let mut stream = node.handle().watch();
    tokio::spawn(async move {
        let spec = WatchSpec { partition, keys, from, prev_kv: true, puts: true, deletes: true };
        stream.add(spec).expect("it is not compacted");
        loop {
            if let Update::Closed = stream.next().await {
                return;
            }
        }
    })
}

/// Many keys under a lease, a snapshot, a restart, the first snapshot behind it, the end of the lease, and a compaction.
#[test]
fn nothing_that_grows_with_the_keys_is_done_at_once() {
    let directory = tempfile::tempdir().expect("the disk is fine");
    let journal = FedJournal::new();
    let due = SnapshotDue { bytes: u64::MAX, records: 1 };
    let split = ["015000", "030000"];
    block_on(async {
        let node = start(config(Some(directory.path()), &split, NEVER), &journal).expect("it starts");
        journal.append(vec![(puts("value"), None)]);
        let most = at_once(&node, &journal).await;
        assert!(0 < most && most <= AT_ONCE_MAX, "applying: {most}");
        let metrics = node.metrics.clone();
        node.close().await.expect("it closes");
        assert!(metrics.most_work.load(SeqCst) <= AT_ONCE_MAX, "the last snapshot: {metrics:?}");

        let node = start(config(Some(directory.path()), &split, due), &journal).expect("it starts again");
        let watchers: Vec<_> = node.replicas().iter().map(|replica| watcher(&node, replica)).collect();
        while !node.replicas().iter().all(|replica| replica.hub.live() == 1) {
            tokio::task::yield_now().await;
        }
        // As many records as the last snapshot has versions, so that the next one is due.
        journal.append(puts("other").into_iter().map(|write| (vec![write], None)).collect());
        // The keeper reads back what the process before has written.
        while journal.marks().is_empty() {
            tokio::task::yield_now().await;
        }
        let most = at_once(&node, &journal).await;
        assert!(most <= AT_ONCE_MAX, "the first snapshot: {most}");
        let delete = |number| Write::Delete { key: key(number) };
        journal.append(vec![((0..KEYS).map(delete).collect(), None)]);
        journal.append(vec![(vec![put("a", 4)], None)]);
        // So that nothing is left of a key.
        let revision = journal.revision();
        journal.append(vec![(Vec::new(), Some(SysOp::Compact { revision }))]);
        let most = at_once(&node, &journal).await;
        assert!(most <= AT_ONCE_MAX, "the end of a lease: {most}");
        let freed = || node.replicas().iter().map(|replica| replica.partition.stats().freed).sum::<u64>();
        while freed() < u64::from(KEYS) {
            tokio::task::yield_now().await;
        }
        let metrics = node.metrics.clone();
        drop(watchers);
        node.close().await.expect("it closes");
        let most = metrics.most_work.load(SeqCst);
        assert!(most <= AT_ONCE_MAX, "a compaction: {most}");
    });
}
