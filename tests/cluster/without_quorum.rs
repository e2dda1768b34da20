//! Members that have lost their quorum, or never had one: what they answer, with etcd as the judge.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::clients::Clients;
use harness::cluster::Cluster;
use harness::ports::free_port;
use harness::server::{Kind, Server};
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{
    PutRequest, RangeRequest, StatusRequest, WatchCreateRequest, WatchRequest, WatchResponse,
};
use tokio_stream::StreamExt;
use tonic::{Request, Streaming};

use super::MAINSTEM;

const ALL_KINDS: [Kind; 2] = [Kind::Etcd36, MAINSTEM];
/// Longer than anything here takes, also on a machine that is busy.
const HOPELESS_AFTER: Duration = Duration::from_secs(60);

/// The call as one that wants a leader.
fn requires_leader<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("hasleader", "true".parse().expect("a text"));
    request
}

async fn watching(clients: &mut Clients, with_leader: bool) -> Result<Streaming<WatchResponse>> {
    let create = WatchCreateRequest { key: "k".into(), ..WatchCreateRequest::default() };
    let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    let stays_open = tokio_stream::once(create).chain(tokio_stream::pending());
    let request = if with_leader { requires_leader(stays_open) } else { Request::new(stays_open) };
    let mut stream = clients.watch.watch(request).await?.into_inner();
    ensure!(stream.message().await?.is_some_and(|answer| answer.created), "it is created");
    Ok(stream)
}

fn get(serializable: bool) -> RangeRequest {
    RangeRequest { key: "k".into(), serializable, ..RangeRequest::default() }
}

fn put(value: &str) -> PutRequest {
    PutRequest { key: "k".into(), value: value.as_bytes().to_vec().into(), ..PutRequest::default() }
}

/// The whole answer to a plain GET, which comes or fails.
async fn http(port: u16, path: &str) -> Result<String> {
    let path = path.to_owned();
    let asked = tokio::task::spawn_blocking(move || -> Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(HOPELESS_AFTER))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    });
    asked.await?
}

/// Waits until the member says that nobody leads, and answers its errors.
async fn leaderless(clients: &mut Clients) -> Result<Vec<String>> {
    loop {
        let status = clients.maintenance.status(StatusRequest::default()).await?.into_inner();
        if status.leader == 0 {
            return Ok(status.errors);
        }
        // There is no event to wait for in another process.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The member `last` is the only one left.
async fn without_quorum(cluster: &mut Cluster, last: usize) -> Result<()> {
    let mut clients = Clients::new(&cluster.member(last).endpoint())?;
    clients.kv.put(put("1")).await?;
    let mut wants_leader = watching(&mut clients, true).await?;
    let mut plain = watching(&mut clients, false).await?;
    for gone in [(last + 1) % 3, (last + 2) % 3] {
        cluster.member_mut(gone).kill()?;
    }
    let late = {
        let mut kv = clients.kv.clone();
        tokio::spawn(async move { kv.put(put("late")).await })
    };
    let errors = leaderless(&mut clients).await?;
    ensure!(errors == ["etcdserver: no leader"], "{errors:?}");
    let refused = clients.kv.range(requires_leader(get(true))).await.expect_err("nobody leads");
    ensure!(refused.message() == "etcdserver: no leader", "{refused:?}");
    let port = cluster.member(last).port();
    let health = http(port, "/health").await?;
    ensure!(health.starts_with("HTTP/1.1 503") && health.contains("RAFT NO LEADER"), "{health}");
    ensure!(http(port, "/metrics").await?.contains("\netcd_server_has_leader 0\n"), "it has none");
    let stale = clients.kv.range(get(true)).await?.into_inner();
    ensure!(stale.kvs.len() == 1, "what is stale can be read: {stale:?}");
    let ended = wants_leader.message().await.expect_err("nobody leads");
    ensure!(ended.message() == "etcdserver: no leader", "{ended:?}");
    let refused = late.await?.expect_err("nobody takes it");
    ensure!(refused.message() == "etcdserver: request timed out", "{refused:?}");

    let again = (last + 1) % 3;
    cluster.member_mut(again).spawn()?;
    while clients.kv.put(put("2")).await.is_err() {
        // It is not told why it was refused: there may be no leader yet.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    while plain.message().await?.context("it goes on")?.events.is_empty() {}
    clients.kv.range(requires_leader(get(true))).await?;
    Ok(())
}

#[tokio::test]
async fn the_last_follower_names_no_leader() -> Result<()> {
    for kind in ALL_KINDS {
        let mut cluster = Cluster::start(kind, 3)?;
        let last = (cluster.leader().await? + 1) % 3;
        tokio::time::timeout(HOPELESS_AFTER, without_quorum(&mut cluster, last))
            .await?
            .context("etcd or we")?;
    }
    Ok(())
}

#[tokio::test]
async fn a_leader_without_followers_leads_no_more() -> Result<()> {
    for kind in ALL_KINDS {
        let mut cluster = Cluster::start(kind, 3)?;
        let last = cluster.leader().await?;
        tokio::time::timeout(HOPELESS_AFTER, without_quorum(&mut cluster, last))
            .await?
            .context("etcd or we")?;
    }
    Ok(())
}

/// What a process answers on the address for probes while it waits for what it needs.
async fn probed(port: u16) -> Result<()> {
    let live = http(port, "/livez").await?;
    ensure!(live.starts_with("HTTP/1.1 200"), "{live}");
    let health = http(port, "/health").await?;
    ensure!(health.starts_with("HTTP/1.1 503") && health.contains("RAFT NO LEADER"), "{health}");
    let metrics = http(port, "/metrics").await?;
    ensure!(
        metrics.starts_with("HTTP/1.1 200") && metrics.contains("\netcd_server_has_leader 0\n"),
        "{metrics}"
    );
    Ok(())
}

/// Starts it without waiting for it, and asks once it listens.
async fn probe_starting(server: &mut Server, flags: &[String]) -> Result<()> {
    let port = free_port()?;
    server.arguments(&[format!("--listen-metrics-urls=http://127.0.0.1:{port}")]);
    server.arguments(flags);
    server.spawn()?;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        ensure!(server.runs(), "{}", server.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::timeout(HOPELESS_AFTER, probed(port)).await?.with_context(|| server.log())
}

#[tokio::test]
async fn one_of_three_answers_probes_while_it_waits_for_the_others() -> Result<()> {
    for kind in ALL_KINDS {
        let (mut first, second, third) =
            (Server::prepare(kind)?, Server::prepare(kind)?, Server::prepare(kind)?);
        let peer = first.peer_url();
        let flags = [
            "--name=n0".to_owned(),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=n0={peer},n1={},n2={}", second.peer_url(), third.peer_url()),
        ];
        probe_starting(&mut first, &flags).await?;
    }
    Ok(())
}

#[tokio::test]
async fn tiers_answer_probes_while_they_wait_for_their_journal() -> Result<()> {
    let (nobody, memstore) = (free_port()?, format!("http://127.0.0.1:{}", free_port()?));
    let journal = Server::prepare(MAINSTEM)?;
    let peer = journal.peer_url();
    let apart = [
        vec![
            "--role=journal".to_owned(),
            "--name=j0".to_owned(),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=j0={peer},j1=http://127.0.0.1:{nobody}"),
        ],
        vec![
            "--role=memstore".to_owned(),
            format!("--listen-memstore-urls={memstore}"),
            format!("--advertise-memstore-urls={memstore}"),
            format!("--journal-endpoints=http://127.0.0.1:{nobody}"),
        ],
        vec!["--role=frontend".to_owned(), format!("--journal-endpoints=http://127.0.0.1:{nobody}")],
    ];
    for flags in apart {
        let mut server = Server::prepare(MAINSTEM)?;
        probe_starting(&mut server, &flags).await.with_context(|| flags.join(" "))?;
    }
    Ok(())
}
