//! Three voters over TCP.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use futures_util::FutureExt;
use proto::raft::Message;
use proto::raft::raft_client::RaftClient;
use tokio::net::TcpListener;
use tonic::Code;

use super::net::{CLUSTER, Net};
use super::world::{history, put, requests};
use crate::Dialer;
use crate::error::Error;
use crate::lsn::Lsn;
use crate::peer_metrics::{PeerMetrics, PeersMetrics};
use crate::record::{Append, SysOp};
use crate::verdict::{Barrier, Fate, Verdict};

/// Every node tells the same up to `lsn`.
async fn agree(net: &Net, lsn: Lsn) -> usize {
    let mut told = Vec::new();
    for id in net.ids() {
        net.has(id, lsn).await;
        told.push(requests(&history(&net.handle(id), Lsn(1), lsn).await));
    }
    assert!(told.windows(2).all(|pair| pair[0] == pair[1]));
    told[0].len()
}

#[tokio::test]
async fn voters_elect_and_follow() {
    let net = Net::begin(&[1, 2, 3]).await;
    let last = net.write(7, 50).await;
    assert_eq!(agree(&net, last).await, 50);
    let members: Vec<u64> = net.handle(2).status().borrow().members.iter().map(|member| member.id).collect();
    assert_eq!(members, [1, 2, 3]);
    assert!(net.handle(3).status().borrow().members.iter().all(|member| !member.learner));
}

#[tokio::test]
async fn a_leader_that_dies_is_replaced_and_catches_up() {
    let mut net = Net::begin(&[1, 2, 3]).await;
    net.write(7, 20).await;
    let first = net.leader().await;
    let (journal, append) = (net.handle(first), put(8, 1, 100));
    let origin = append.origin;
    let in_flight = tokio::spawn(async move { journal.append(append).await });
    net.kill(first).await;
    let verdict = in_flight.await.unwrap();

    let second = net.leader().await;
    let mut fate = net.handle(second).fate(origin).await;
    while !matches!(fate, Ok(Fate::Committed { .. } | Fate::Never)) {
        fate = net.handle(net.leader().await).fate(origin).await;
    }
    assert!(!matches!(verdict, Verdict::Committed { .. }) || matches!(fate, Ok(Fate::Committed { .. })));
    let more = net.write(9, 20).await;
    net.start(first, &[1, 2, 3], false).await;
    net.has(first, more).await;
    let last = net.write(10, 20).await;
    assert!(60 <= agree(&net, last).await);
}

#[tokio::test]
async fn a_leader_counts_what_it_hears_of_the_others() {
    let mut net = Net::begin(&[1, 2, 3]).await;
    net.write(7, 5).await;
    // Another may lead after each look, where the machine is busy.
    let metrics = async |net: &Net| {
        let leader = net.leader().await;
        net.node(leader).peer_metrics().expect("it has a dialer")
    };
    let heard = |metrics: Arc<PeersMetrics>| {
        let peers = metrics.all();
        let heard = |peer: &PeerMetrics| peer.round_trips().any(|(_, count)| 0 < count);
        peers.len() == 2 && peers.iter().all(|(_, peer)| heard(peer) && 0 < peer.sent_bytes.load(Relaxed))
    };
    while !heard(metrics(&net).await) {
        net.rest().await;
    }
    let dies = net.leader().await % 3 + 1;
    net.kill(dies).await;
    let lost = |metrics: Arc<PeersMetrics>| metrics.of(dies).expect("it is a member").failures.load(Relaxed);
    while lost(metrics(&net).await) == 0 {
        net.rest().await;
    }
}

#[tokio::test]
async fn a_leader_whose_process_died_is_not_waited_for() {
    let mut net = Net::begin(&[1, 2, 3]).await;
    net.write(7, 5).await;
    let first = net.leader().await;
    let term = net.node(first).cluster.leadership().term;
    net.ids().into_iter().for_each(|id| net.node(id).cluster.bear_silence());
    net.kill(first).await;
    while net.ids().into_iter().all(|id| net.node(id).cluster.leadership().term <= term) {
        net.rest().await;
    }
    // A term in which the votes are split ends by Raft's timers.
    net.ids().into_iter().for_each(|id| net.node(id).cluster.heed_silence());
    assert_ne!(net.leader().await, first);
    net.write(8, 5).await;
}

/// Voters, forwarded writes, statuses and tails.
async fn all_goes_by_the_second_url(first_url: String) {
    let net = Net::begin_behind(first_url, &[1, 2, 3]).await;
    let leader = net.leader().await;
    for (seq, id) in (1..).zip(net.ids()) {
        let journal = net.handle(id);
        let mut append = put(7, seq, 100);
        while !matches!(journal.append(append.clone()).await, Verdict::Committed { .. }) {
            append.origin.attempt += 1;
            net.rest().await;
        }
        let last = journal.barrier().await.expect("the leader is reached").lsn;
        net.has(id, last).await;
    }
    let outside = net.remote();
    outside.status().wait_for(|status| status.leader == Some(leader)).await.unwrap();
    let last = outside.barrier().await.unwrap().lsn;
    assert_eq!(requests(&history(&outside, Lsn(1), last).await).len(), 3);
}

#[tokio::test]
async fn a_first_url_that_refuses_is_passed_over() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    all_goes_by_the_second_url(url).await;
}

#[tokio::test]
async fn a_first_url_that_answers_nothing_is_passed_over() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let silent = tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            held.push(listener.accept().await.unwrap());
        }
    });
    all_goes_by_the_second_url(url).await;
    silent.abort();
}

#[tokio::test]
async fn a_large_record_passes() {
    let net = Net::begin(&[1, 2, 3]).await;
    let (_, lsn) = net.append(put(7, 1, 20 << 20)).await;
    assert_eq!(agree(&net, lsn).await, 1);
}

#[tokio::test]
async fn a_node_of_another_cluster_is_refused() {
    let net = Net::begin(&[1]).await;
    net.write(7, 1).await;
    let url = &net.member(1).peer_urls[0];
    let mut client = RaftClient::new(Dialer::plain().channel(url).unwrap());
    let message =
        Message { version: 1, cluster: CLUSTER + 1, from: 9, body: Bytes::new(), ..Message::default() };
    for _ in 0..2 {
        let refusal = client.vote(message.clone()).await.unwrap_err();
        assert_eq!(refusal.code(), Code::FailedPrecondition);
        assert!(
            refusal.message().contains("00000000000000c1") && refusal.message().contains("--initial-cluster")
        );
    }
    let stream = tokio_stream::iter([message]);
    let mut answers = client.append(stream).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_leader_whose_disk_hangs_lets_another_lead_and_stops() {
    let mut net = Net::begin(&[1, 2, 3]).await;
    net.write(7, 5).await;
    let first = net.leader().await;
    let hang = net.disk(first).hang();
    // A majority has it without that disk.
    let verdict = net.handle(first).append(put(8, 1, 100)).await;
    assert!(matches!(verdict, Verdict::Committed { .. } | Verdict::Unknown), "{verdict:?}");
    while !matches!(net.handle(first).barrier().await, Err(Error::Closed)) {
        net.rest().await;
    }
    net.node(first).stopped().await;
    net.write(9, 5).await;
    drop(hang);
    net.kill(first).await;
}

/// Meanwhile its majority commits what it writes, and its own log has no room any more.
#[tokio::test]
async fn a_leader_whose_disk_hangs_under_many_writes_lets_another_lead_and_stops() {
    let mut net = Net::begin(&[1, 2, 3]).await;
    net.write(7, 5).await;
    let first = net.leader().await;
    let hang = net.disk(first).hang();
    let mut writing = tokio::task::JoinSet::new();
    for frontend in 100..110 {
        let journal = net.handle(first);
        writing.spawn(async move {
            let mut seq = 1;
            while matches!(journal.append(put(frontend, seq, 100)).await, Verdict::Committed { .. }) {
                seq += 1;
            }
            seq
        });
    }
    net.node(first).stopped().await;
    let written: u64 = writing.join_all().await.into_iter().sum();
    assert!(10 < written, "a majority went on without that disk");
    net.write(9, 5).await;
    drop(hang);
    net.kill(first).await;
}

/// The leader leads on afterwards, with what is left of its requests to the follower.
#[tokio::test]
async fn a_follower_whose_disk_hangs_holds_up_no_trimming() {
    let net = Net::begin_with(&[1, 2, 3], 4 << 10).await;
    let slow = net.leader().await % 3 + 1;
    let mut last = Lsn::ZERO;
    for seq in 1..=7 {
        last = net.append(put(7, seq, 512 << 10)).await.1;
    }
    net.has(slow, last).await;
    let hang = net.disk(slow).hang();
    let has_trimmed = |id: &u64| last.next() < net.handle(*id).status().borrow().first;
    for seq in 1.. {
        if net.ids().iter().filter(|id| **id != slow).all(has_trimmed) {
            break;
        }
        // One large record more, and everything before can be trimmed. What follows is small: all requests to the
        // follower are on their way, and none waits for room.
        net.append(put(8, seq, if seq == 1 { 600 << 10 } else { 1 << 10 })).await;
        // Another may lead by now, where the machine is busy.
        let barrier = net.handle(net.leader().await).barrier().await;
        let Ok(Barrier { lsn, revision, .. }) = barrier else { continue };
        let (start, end) = (Bytes::new(), Bytes::new());
        let mark = SysOp::SnapshotMark { start, end, lsn, revision, set_hash: 0 };
        net.append(Append { writes: Vec::new(), sysop: Some(mark), ..put(9, seq, 0) }).await;
        net.rest().await;
    }
    net.write(10, 50).await;
    drop(hang);
    let more = net.write(11, 5).await;
    net.has(slow, more).await;
    let first = net.handle(slow).status().borrow().first;
    assert!(last < first, "it went on behind a snapshot");
    for id in net.ids() {
        assert!(net.node(id).stopped().now_or_never().is_none(), "{id} has stopped");
    }
}

#[tokio::test]
async fn one_that_nobody_can_replace_waits_for_its_disk() {
    let net = Net::begin(&[1]).await;
    net.write(7, 5).await;
    let hang = net.disk(1).hang();
    let (journal, append) = (net.handle(1), put(8, 1, 100));
    let pending = tokio::spawn(async move { journal.append(append).await });
    for _ in 0..100 {
        net.rest().await;
    }
    assert!(!pending.is_finished());
    drop(hang);
    assert!(matches!(pending.await.unwrap(), Verdict::Committed { .. }));
}
