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

/// Rounds of notifications until one says something.
async fn notified(session: &mut Session) -> Answer {
    loop {
        session.notify_progress();
        tokio::select! {
            biased;
            answer = session.next() => return answer,
            () = tokio::task::yield_now() => {}
        }
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
