//! One voter, from an append to the tail and across restarts.

use super::*;
use crate::clock::SystemClock;
use crate::lsn::Lsn;
use crate::origin::Origin;
use crate::record::{Append, LeaseId, Write};
use crate::revision::Revision;
use crate::verdict::Verdict;
use bytes::Bytes;

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
