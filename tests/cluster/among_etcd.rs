//! Members of etcd and of Mainstem in one cluster, by mistake: each case ends with one message that names it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::cluster::Cluster;
use harness::server::{Kind, Server};

use super::MAINSTEM;

/// Upper bound on the time until a message is there.
const TOLD_MAX: Duration = Duration::from_secs(60);

async fn await_log(server: &Server, text: &str) -> Result<()> {
    let begun = Instant::now();
    while !server.log().contains(text) {
        ensure!(begun.elapsed() < TOLD_MAX, "{text:?} is not in {}", server.log());
        // There is no event to wait for in another process.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// The flags of a member at this place among the others.
fn flags(name: &str, own: &str, others: &str, state: &str) -> [String; 5] {
    [
        format!("--name={name}"),
        format!("--listen-peer-urls={own}"),
        format!("--initial-advertise-peer-urls={own}"),
        format!("--initial-cluster={others},{name}={own}"),
        format!("--initial-cluster-state={state}"),
    ]
}

#[test]
fn one_that_starts_among_etcds_members_is_refused() -> Result<()> {
    let etcd = Cluster::start(Kind::Etcd36, 1)?;
    let others = format!("n0={}", etcd.member(0).peer_url());
    for state in ["new", "existing"] {
        let mut ours = Server::prepare(MAINSTEM)?;
        let own = ours.peer_url();
        if state == "existing" {
            etcd.etcdctl(&[0], &["member", "add", "ours", &format!("--peer-urls={own}")])?;
        }
        ours.arguments(&flags("ours", &own, &others, state));
        let told = ours.restart().err().context("it has no place there")?.to_string();
        let expected = format!("the member at {} is an etcd process", etcd.member(0).peer_url());
        ensure!(told.contains(&expected), "{state}: {told}");
    }
    Ok(())
}

#[tokio::test]
async fn an_etcd_that_was_added_is_named() -> Result<()> {
    let mut ours = Server::prepare(MAINSTEM)?;
    let own = ours.peer_url();
    ours.arguments(&[
        format!("--listen-peer-urls={own}"),
        format!("--initial-advertise-peer-urls={own}"),
        format!("--initial-cluster=n0={own}"),
        "--name=n0".to_owned(),
    ]);
    ours.restart()?;
    let mut etcd = Server::prepare(Kind::Etcd36)?;
    let url = etcd.peer_url();
    let mut cluster = harness::clients::Clients::new(&ours.endpoint())?.cluster;
    let peer_ur_ls = vec![url.clone()];
    let request = proto::etcdserverpb::MemberAddRequest { peer_ur_ls, is_learner: false };
    cluster.member_add(request).await?;
    etcd.arguments(&flags("theirs", &url, &format!("n0={own}"), "existing"));
    etcd.spawn()?;
    await_log(&ours, "an etcd process takes this process for a member of its cluster").await?;
    Ok(())
}
