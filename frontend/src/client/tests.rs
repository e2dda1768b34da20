//! A program that embeds the store is refused what a remote one is.

use journal::{Alarm, SysOp};

use super::*;
use crate::Node;
use crate::operation::Op;

async fn node() -> (Node, Client) {
    let mut config = Config::ephemeral();
    config.limits.request_bytes_max = 8;
    config.limits.txn_operations_max = 2;
    let node = Node::start(config).await.expect("it needs nothing");
    let client = node.client();
    (node, client)
}

#[tokio::test]
async fn what_is_wrong_whatever_the_store_holds_is_refused() {
    let (node, client) = node().await;
    let put = |key: &'static str| Put::new(key, "v");
    assert_eq!(client.put("", "v").await, Err(Error::EmptyKey));
    assert_eq!(client.get("").await, Err(Error::EmptyKey));
    assert_eq!(client.delete(KeyRange::Single(Bytes::new())).await, Err(Error::EmptyKey));
    assert_eq!(client.put("k", "12345678").await, Err(Error::RequestTooLarge));
    let ignores = Put { ignore_value: true, ..put("k") };
    assert_eq!(client.put_with(ignores).await, Err(Error::ValueProvided));
    let ignores = Put { ignore_lease: true, lease: LeaseId(7), ..put("k") };
    assert_eq!(client.put_with(ignores).await, Err(Error::LeaseProvided));
    let txn = |puts: &[&'static str]| Txn {
        success: puts.iter().map(|key| Op::Put(put(key))).collect(),
        ..Txn::default()
    };
    assert_eq!(client.txn(&txn(&["a", "b", "c"])).await, Err(Error::TooManyOperations));
    assert_eq!(client.txn(&txn(&["a", "a"])).await, Err(Error::DuplicateKey));
    assert_eq!(client.txn(&txn(&["a", ""])).await, Err(Error::EmptyKey));
    assert_eq!(client.txn(&txn(&["abcd", "efgh"])).await, Err(Error::RequestTooLarge));
    node.shutdown().await;
}

#[tokio::test]
async fn a_full_store_refuses_what_makes_it_grow() {
    let (node, client) = node().await;
    client.put("k", "v").await.expect("there is room");
    // As an operator raises it, so that the keeper of the quota does not clear it.
    let raise = SysOp::AlarmRaise { member: 99, alarm: Alarm::NoSpace };
    client.store().change(raise).await.expect("it is in order");
    // The keeper hears of it a moment later.
    let refused = loop {
        if let Err(error) = client.put("k", "v").await {
            break error;
        }
    };
    assert_eq!(refused, Error::NoSpace);
    assert_eq!(client.grant(60).await, Err(Error::NoSpace));
    assert_eq!(client.delete(KeyRange::all()).await, Ok(1));
    node.shutdown().await;
}

#[tokio::test]
async fn a_watch_of_what_is_forgotten_says_so() {
    let (node, client) = node().await;
    for _ in 0..3 {
        client.put("k", "v").await.expect("there is room");
    }
    client.compact(Revision(3)).await.expect("there is something to forget");
    // The barrier of a read waits for the compaction.
    client.get("k").await.expect("it is there");
    let mut watch = client.watch(KeyRange::all(), Some(Revision(2)));
    assert_eq!(watch.next().await.map(|events| events.len()), Err(Error::Compacted));
    let mut watch = client.watch(KeyRange::all(), Some(Revision(3)));
    let event = watch.next().await.expect("it is kept").remove(0);
    assert_eq!((event.revision, event.kv.version), (Revision(3), 2));
    node.shutdown().await;
}
