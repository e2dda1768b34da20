//! Keys, watches, leases, members and maintenance.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::clients::Clients;
use harness::server::{Kind, Server};
use proto::etcdserverpb::range_request::SortTarget;
use proto::etcdserverpb::request_op::Request;
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{
    AlarmRequest, AuthRoleAddRequest, CompactionRequest, DefragmentRequest, DeleteRangeRequest,
    DowngradeRequest, HashKvRequest, LeaseGrantRequest, MemberListRequest, MemberUpdateRequest, PutRequest,
    RangeRequest, RequestOp, SnapshotRequest, StatusRequest, TxnRequest, WatchCreateRequest,
    WatchProgressRequest, WatchRequest,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use crate::{ours, sample};

async fn put(clients: &Clients, key: &str, value: &str) -> Result<i64> {
    let request =
        PutRequest { key: key.to_owned().into(), value: value.to_owned().into(), ..PutRequest::default() };
    let response = clients.kv.clone().put(request).await?.into_inner();
    Ok(response.header.context("a header")?.revision)
}

async fn compact(clients: &Clients, revision: i64) -> Result<()> {
    clients.kv.clone().compact(CompactionRequest { revision, physical: true }).await?;
    Ok(())
}

async fn size(clients: &Clients) -> Result<i64> {
    Ok(clients.maintenance.clone().status(StatusRequest {}).await?.into_inner().db_size)
}

/// Every key from `a` to `z`.
fn letters() -> RangeRequest {
    RangeRequest { key: "a".into(), range_end: "z".into(), ..RangeRequest::default() }
}

#[tokio::test]
async fn defragmentation_changes_nothing() -> Result<()> {
    let (_server, clients) = ours(&[]).await?;
    put(&clients, "a", "1").await?;
    let before = size(&clients).await?;
    clients.maintenance.clone().defragment(DefragmentRequest {}).await?;
    ensure!(size(&clients).await? == before, "it was {before}");
    Ok(())
}

#[tokio::test]
async fn a_size_is_that_of_what_is_kept() -> Result<()> {
    let (_server, clients) = ours(&[]).await?;
    put(&clients, "a", &"v".repeat(100_000)).await?;
    let before = size(&clients).await?;
    let delete = DeleteRangeRequest { key: "a".into(), ..DeleteRangeRequest::default() };
    clients.kv.clone().delete_range(delete).await?;
    compact(&clients, 3).await?;
    // A compaction frees memory in small steps; no event tells that the last was made.
    while size(&clients).await? > before - 100_000 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

#[tokio::test]
async fn a_revision_below_the_compacted_one_has_no_hash() -> Result<()> {
    for kind in [Kind::Etcd36, crate::OURS] {
        let server = Server::start(kind)?;
        let clients = Clients::new(&server.endpoint())?;
        for _ in 0..5 {
            put(&clients, "a", "1").await?;
        }
        compact(&clients, 3).await?;
        compact(&clients, 5).await?;
        let hash = |revision| {
            let mut maintenance = clients.maintenance.clone();
            async move { maintenance.hash_kv(HashKvRequest { revision }).await }
        };
        let at = hash(5).await?.into_inner().compact_revision;
        ensure!(at == if kind.is_ours() { 5 } else { 3 }, "{kind:?}: {at}");
        let below = hash(3).await.map(drop).map_err(|status| status.code());
        let expected = if kind.is_ours() { Err(Code::OutOfRange) } else { Ok(()) };
        ensure!(below == expected, "{kind:?}: {below:?}");
    }
    Ok(())
}

#[tokio::test]
async fn compacting_a_new_store_at_0_succeeds_again_and_again() -> Result<()> {
    let (_server, clients) = ours(&[]).await?;
    put(&clients, "a", "1").await?;
    for _ in 0..2 {
        compact(&clients, 0).await?;
    }
    let hash = clients.maintenance.clone().hash_kv(HashKvRequest { revision: 0 }).await?.into_inner();
    ensure!(hash.hash_revision == 2, "{hash:?}");
    Ok(())
}

#[tokio::test]
async fn a_stream_sorted_without_an_order_is_in_the_order_of_keys() -> Result<()> {
    let (_server, clients) = ours(&[]).await?;
    for (key, value) in [("a", "3"), ("b", "2"), ("c", "1")] {
        put(&clients, key, value).await?;
    }
    let request = RangeRequest { sort_target: SortTarget::Value.into(), ..letters() };
    let mut stream = clients.kv.clone().range_stream(request).await?.into_inner();
    let mut keys = Vec::new();
    while let Some(piece) = stream.message().await? {
        let kvs = piece.range_response.map(|response| response.kvs).unwrap_or_default();
        keys.extend(kvs.into_iter().map(|kv| kv.key));
    }
    ensure!(keys == ["a", "b", "c"], "{keys:?}");
    Ok(())
}

#[tokio::test]
async fn a_watcher_that_a_compaction_has_ended_holds_no_progress_back() -> Result<()> {
    let (_server, clients) = ours(&[]).await?;
    for _ in 0..4 {
        put(&clients, "a", "1").await?;
    }
    compact(&clients, 4).await?;
    let (ask, asked) = tokio::sync::mpsc::channel(4);
    let request = |union| WatchRequest { request_union: Some(union) };
    for start_revision in [2, 0] {
        let create = WatchCreateRequest { key: "a".into(), start_revision, ..WatchCreateRequest::default() };
        ask.send(request(RequestUnion::CreateRequest(create))).await?;
    }
    let mut stream = clients.watch.clone().watch(ReceiverStream::new(asked)).await?.into_inner();
    let mut next = async || stream.message().await?.context("the stream goes on");
    while next().await?.compact_revision == 0 {}
    ask.send(request(RequestUnion::ProgressRequest(WatchProgressRequest {}))).await?;
    while next().await?.watch_id != -1 {}
    Ok(())
}

#[tokio::test]
async fn a_response_of_the_past_holds_a_thousand_events_at_most() -> Result<()> {
    let (_server, clients) = ours(&[]).await?;
    for start in 0..22 {
        let one = |number: i32| RequestOp {
            request: Some(Request::RequestPut(PutRequest {
                key: format!("a{number}").into(),
                ..PutRequest::default()
            })),
        };
        let success = (start * 100..start * 100 + 100).map(one).collect();
        clients.kv.clone().txn(TxnRequest { success, ..TxnRequest::default() }).await?;
    }
    let create = WatchCreateRequest {
        key: "a".into(),
        range_end: "b".into(),
        start_revision: 2,
        ..WatchCreateRequest::default()
    };
    let mut stream = clients.watching(create).await?;
    let mut counts = Vec::new();
    while counts.iter().sum::<usize>() < 2_200 {
        let response = stream.message().await?.context("the stream goes on")?;
        if !response.created {
            counts.push(response.events.len());
        }
    }
    // In etcd it is one of 2,200.
    ensure!(counts.len() > 1 && counts.iter().all(|count| *count <= 1_000), "{counts:?}");
    Ok(())
}

#[tokio::test]
async fn keys_without_values_have_their_leases() -> Result<()> {
    for kind in [Kind::Etcd36, Kind::Etcd37, crate::OURS] {
        let server = Server::start(kind)?;
        let clients = Clients::new(&server.endpoint())?;
        clients.lease.clone().lease_grant(LeaseGrantRequest { id: 7, ttl: 900 }).await?;
        let put = PutRequest { key: "a".into(), lease: 7, ..PutRequest::default() };
        clients.kv.clone().put(put).await?;
        let range = clients.kv.clone().range(RangeRequest { keys_only: true, ..letters() }).await?;
        let lease = range.into_inner().kvs[0].lease;
        let expected = if kind == Kind::Etcd37 { 0 } else { 7 };
        ensure!(lease == expected, "{kind:?}: {lease}");
    }
    Ok(())
}

#[tokio::test]
async fn a_transaction_is_read_49_deep() -> Result<()> {
    let (_server, clients) = ours(&[]).await?;
    let nested = |depth| {
        (1..depth).fold(TxnRequest::default(), |txn, _| TxnRequest {
            success: vec![RequestOp { request: Some(Request::RequestTxn(txn)) }],
            ..TxnRequest::default()
        })
    };
    clients.kv.clone().txn(nested(49)).await?;
    let refused = clients.kv.clone().txn(nested(51)).await.map(drop).map_err(|status| status.code());
    ensure!(refused == Err(Code::Internal), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn an_unknown_action_of_alarm_is_refused() -> Result<()> {
    let (_server, clients) = ours(&[]).await?;
    let alarm = AlarmRequest { action: 9, ..AlarmRequest::default() };
    let refused = clients.maintenance.clone().alarm(alarm).await.map(drop).map_err(|status| status.code());
    ensure!(refused == Err(Code::InvalidArgument), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn slow_applies_are_of_what_was_written() -> Result<()> {
    let (server, clients) = ours(&["--warning-apply-duration=1ns"]).await?;
    let slow = || sample(&server, "etcd_server_slow_apply_total");
    put(&clients, "a", "1").await?;
    clients.kv.clone().range(letters()).await?;
    let before = slow()?;
    ensure!(before > 0.0, "the put was applied");
    for _ in 0..10 {
        clients.kv.clone().range(letters()).await?;
    }
    ensure!(slow()? == before, "reads are not counted");
    Ok(())
}

#[tokio::test]
async fn a_member_keeps_its_urls_where_the_new_ones_are_none() -> Result<()> {
    let (_server, clients) = ours(&[]).await?;
    let mut cluster = clients.cluster.clone();
    let members = cluster.member_list(MemberListRequest { linearizable: true }).await?.into_inner().members;
    let id = members.first().context("a member")?.id;
    let update = MemberUpdateRequest { id, peer_ur_ls: vec!["nonsense".to_owned()] };
    let refused = cluster.member_update(update).await.expect_err("it is no URL");
    ensure!(refused.message() == "etcdserver: given member URLs are invalid", "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn users_snapshots_and_downgrades_come_later() -> Result<()> {
    let (_server, clients) = ours(&[]).await?;
    let role = AuthRoleAddRequest { name: "r".to_owned() };
    let downgrade = DowngradeRequest { action: 0, version: "3.5.0".to_owned() };
    let codes = [
        clients.auth.clone().role_add(role).await.map(drop),
        clients.maintenance.clone().downgrade(downgrade).await.map(drop),
        match clients.maintenance.clone().snapshot(SnapshotRequest {}).await {
            Ok(stream) => stream.into_inner().message().await.map(drop),
            Err(status) => Err(status),
        },
    ]
    .map(|outcome| outcome.map_err(|status| status.code()));
    ensure!(codes == [Err(Code::Unimplemented); 3], "{codes:?}");
    Ok(())
}
