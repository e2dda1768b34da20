//! A session whose watchers cover several partitions.

mod moves;

use std::time::Duration;

use super::*;
use crate::{Client, Config, Node};

async fn node() -> (Node, Client, Session) {
    let config = Config { split_keys: vec!["m".into()], ..Config::ephemeral() };
    let node = Node::start(config).await.expect("it needs nothing");
    let client = node.client();
    let session = Session::new(client.store().clone());
    (node, client, session)
}

fn create(keys: KeyRange) -> Create {
    Create {
        keys,
        from: None,
        puts: true,
        deletes: true,
        prev_kv: false,
        progress_notify: true,
        id: None,
        fragment: false,
    }
}

/// Rounds of notifications until one says something. Between them the session hears what there is to hear.
async fn notified(session: &mut Session) -> Answer {
    loop {
        tokio::select! {
            biased;
            answer = session.next() => return answer,
            () = tokio::task::yield_now() => {}
        }
        session.notify_progress();
    }
}

#[tokio::test]
async fn partitions_where_nothing_happens_hold_no_notification_back() {
    let (node, client, mut session) = node().await;
    let middle = KeyRange::Range { start: "b".into(), end: "y".into() };
    session.create(create(middle));
    assert!(matches!(session.next().await, Answer::Created { .. }));
    let written = client.put("a", "outside of what is watched").await.expect("there is room");
    let told = async {
        loop {
            match notified(&mut session).await {
                Answer::Progress { id: Some(0), revision } if revision == written => return,
                Answer::Progress { .. } => {}
                other => panic!("nothing that is watched has happened: {other:?}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), told).await.expect("both partitions come that far");
    node.shutdown().await;
}

#[tokio::test]
async fn the_first_round_of_notifications_tells_of_a_silent_watcher() {
    let (node, _client, mut session) = node().await;
    session.create(create(KeyRange::Range { start: "a".into(), end: "b".into() }));
    assert!(matches!(session.next().await, Answer::Created { .. }));
    session.notify_progress();
    let first = tokio::select! {
        biased;
        answer = session.next() => Some(answer),
        () = tokio::task::yield_now() => None,
    };
    assert!(matches!(first, Some(Answer::Progress { id: Some(0), .. })), "{first:?}");
    node.shutdown().await;
}

#[tokio::test]
async fn an_answer_that_catches_up_has_the_stores_revision() {
    let (node, client, mut session) = node().await;
    let limit = u64::try_from(memstore::WatchLimits::default().events).expect("it is small");
    for _ in 0..limit {
        client.put("a", "v").await.expect("there is room");
    }
    let last = client.put("a", "v").await.expect("there is room");
    session.create(Create { from: Some(Revision(2)), ..create(KeyRange::Single("a".into())) });
    assert!(matches!(session.next().await, Answer::Created { .. }));
    let mut told = 0;
    while told < last.0 - 1 {
        match session.next().await {
            Answer::Events { revision, events, .. } => {
                assert_eq!(revision, last, "after {told} of {limit} events");
                told += events.len() as u64;
            }
            other => panic!("it catches up: {other:?}"),
        }
    }
    let live = client.put("a", "v").await.expect("there is room");
    match session.next().await {
        Answer::Events { revision, .. } => assert_eq!(revision, live),
        other => panic!("it is told of the last put: {other:?}"),
    }
    node.shutdown().await;
}

#[tokio::test]
async fn a_progress_request_looks_at_each_watcher_a_few_times() {
    const WATCHERS: u64 = 500;
    let (node, client, mut session) = node().await;
    for _ in 0..WATCHERS {
        session.create(create(KeyRange::Range { start: "b".into(), end: "y".into() }));
        assert!(matches!(session.next().await, Answer::Created { .. }));
    }
    client.put("a", "outside of what is watched").await.expect("there is room");
    let before = session.progress_scans;
    session.want_progress();
    let answer = tokio::time::timeout(Duration::from_secs(30), session.next()).await;
    assert!(matches!(answer, Ok(Answer::Progress { id: None, .. })), "{answer:?}");
    let scans = session.progress_scans - before;
    assert!(scans <= 2, "{scans} looks at all of {WATCHERS} watchers");
    node.shutdown().await;
}
