//! A journal behind a socket promises what it promises in this process.

mod hanging;
mod once;

use std::net::SocketAddr;

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::clock::SystemClock;
use crate::config::{Config, Storage};
use crate::lsn::Lsn;
use crate::node::Node;
use crate::origin::Origin;
use crate::record::{Append, LeaseId, SysOp, Write};
use crate::revision::Revision;
use crate::verdict::{Fate, Verdict};

struct Served {
    node: Node,
    url: String,
    stop: CancellationToken,
}

impl Served {
    async fn start(cluster: u64) -> Served {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let node = Node::start(Config::single(cluster, 1, Storage::Memory), clock).await.expect("it starts");
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let listener = TcpListener::bind(any).await.expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let (service, incoming) = (node.service(), TcpListenerStream::new(listener));
        tokio::spawn(async move {
            let server = tonic::transport::Server::builder();
            server.serve_with_incoming_shutdown(service, incoming, stopped.cancelled_owned()).await
        });
        Served { node, url, stop }
    }

    fn remote(&self, cluster: Option<u64>) -> Remote {
        let clock = Arc::new(SystemClock::default());
        Remote { endpoints: vec![self.url.clone()], cluster, id: 77, dialer: Dialer::plain(), clock }
    }
}

fn put(seq: u64, key: &'static str) -> Append {
    let write =
        Write::Put { key: Bytes::from(key), value: Bytes::from_static(b"value"), lease: LeaseId::NONE };
    let origin = Origin { frontend: 9, seq, attempt: 1 };
    Append { origin, reads: Vec::new(), writes: vec![write], sysop: None, reserve: false }
}

async fn known(journal: &Journal) -> Status {
    journal.status().wait_for(|status| status.leader.is_some()).await.expect("it is told").clone()
}

#[tokio::test]
async fn what_is_appended_over_a_socket_is_committed_and_followed() {
    let served = Served::start(7).await;
    let journal = served.remote(None).connect().expect("an address");
    let status = known(&journal).await;
    assert_eq!((status.cluster, status.node), (7, 77));

    let mut revisions = Vec::new();
    for (seq, key) in (1..).zip(["a", "b", "c"]) {
        let Verdict::Committed { revision, .. } = journal.append(put(seq, key)).await else {
            panic!("the only node leads");
        };
        revisions.push(revision);
    }
    assert_eq!(revisions, [Revision(2), Revision(3), Revision(4)]);

    let barrier = journal.barrier().await.expect("it leads");
    assert_eq!(barrier.revision, Revision(4));
    let mut tail = journal.tail(Lsn(1));
    let mut keys = Vec::new();
    while tail.position() <= barrier.lsn {
        let entries = tail.next().await.expect("nothing is trimmed");
        let batches = entries.into_iter().filter_map(|entry| entry.batch);
        keys.extend(batches.flat_map(|batch| batch.records.clone()).flat_map(|record| record.writes));
    }
    let keys: Vec<&[u8]> = keys.iter().map(|write| &write.key()[..]).collect();
    assert_eq!(keys, [b"a", b"b", b"c"]);

    let committed = journal.fate(Origin { frontend: 9, seq: 3, attempt: 1 }).await.expect("it leads");
    assert!(matches!(committed, Fate::Committed { revision: Revision(4), .. }), "{committed:?}");
    let never = journal.fate(Origin { frontend: 9, seq: 4, attempt: 1 }).await.expect("it leads");
    assert_eq!(never, Fate::Never);
    served.node.close().await;
}

#[tokio::test]
async fn leases_are_kept_over_a_socket() {
    let served = Served::start(7).await;
    let journal = served.remote(None).connect().expect("an address");
    known(&journal).await;
    let grant = SysOp::LeaseGrant { lease: LeaseId(5), ttl_seconds: 60 };
    let append = Append { writes: Vec::new(), sysop: Some(grant), ..put(1, "") };
    assert!(matches!(journal.append(append).await, Verdict::Committed { .. }));
    assert_eq!(journal.keep_alive(LeaseId(5)).await, Ok(Some(60)));
    assert_eq!(journal.keep_alive(LeaseId(6)).await, Ok(None));
    assert_eq!(journal.leases().await, Ok(vec![LeaseId(5)]));
    let status = journal.lease(LeaseId(5)).await.expect("it leads").expect("it is there");
    assert_eq!(status.granted_seconds, 60);
    served.node.close().await;
}

#[tokio::test]
async fn many_questions_at_once_are_all_answered() {
    let served = Served::start(7).await;
    let journal = served.remote(None).connect().expect("an address");
    known(&journal).await;
    let mut asked = tokio::task::JoinSet::new();
    for seq in 1..=2_000 {
        let journal = journal.clone();
        asked.spawn(async move { journal.append(put(seq, "key")).await });
    }
    let verdicts = asked.join_all().await;
    let mut revisions: Vec<u64> = verdicts
        .into_iter()
        .map(|verdict| match verdict {
            Verdict::Committed { revision, .. } => revision.0,
            other => panic!("the only node leads: {other:?}"),
        })
        .collect();
    revisions.sort_unstable();
    assert_eq!(revisions, (2..=2_001).collect::<Vec<u64>>());
    served.node.close().await;
}

#[tokio::test]
async fn a_record_larger_than_any_default_goes_through() {
    let served = Served::start(7).await;
    let journal = served.remote(None).connect().expect("an address");
    known(&journal).await;
    let value = Bytes::from(vec![7; 20 << 20]);
    let write = Write::Put { key: Bytes::from_static(b"large"), value, lease: LeaseId::NONE };
    let append = Append { writes: vec![write], ..put(1, "") };
    let Verdict::Committed { lsn, .. } = journal.append(append).await else { panic!("it fits a record") };
    let entries = journal.tail(lsn).next().await.expect("nothing is trimmed");
    let batch = entries[0].batch.as_ref().expect("a batch of ours");
    let Write::Put { value, .. } = &batch.records[0].writes[0] else { panic!("it was a put") };
    assert_eq!(value.len(), 20 << 20);
    served.node.close().await;
}

#[tokio::test]
async fn a_journal_that_is_gone_is_told_and_not_waited_for() {
    let served = Served::start(7).await;
    let journal = served.remote(None).connect().expect("an address");
    known(&journal).await;
    served.stop.cancel();
    served.node.close().await;
    let mut status = journal.status();
    status.wait_for(|status| status.leader.is_none()).await.expect("it is told");
    assert_eq!(journal.barrier().await, Err(Error::NotLeader { hint: None }));
    assert_eq!(journal.append(put(1, "a")).await, Verdict::NotLeader { hint: None });
}

#[tokio::test]
async fn a_node_of_another_cluster_is_left_alone_and_refuses() {
    let served = Served::start(7).await;
    let journal = served.remote(Some(8)).connect().expect("an address");
    let channel = Dialer::plain().channel(&served.url).expect("an address");
    let mut client = proto::journal::journal_client::JournalClient::new(channel);
    let request = proto::journal::TailRequest { cluster: 8, from: 1 };
    let refused = client.tail(request).await.expect_err("another cluster is meant");
    assert!(refused.message().contains("belongs to cluster 7, and you asked for 8"), "{refused}");
    // By now the handle has been told the status of a stranger, or soon is: it never believes it.
    assert_eq!(journal.append(put(1, "a")).await, Verdict::NotLeader { hint: None });
    assert_eq!(journal.status().borrow().cluster, 0);
    served.node.close().await;
}
