//! A member that is gone for good, and another in its place by one command.

use std::process::{Command, Output};

use anyhow::{Context, Result};
use harness::cluster::Cluster;
use harness::program::{complaint, printed};
use harness::tools;

use super::{MAINSTEM, await_status};

fn replace(cluster: &Cluster, at: usize, gone: &str, name: &str, peer_url: &str) -> Result<Output> {
    let mut command = Command::new(tools::mainstem()?);
    command.args(["member", "replace", gone, "--name", name, "--peer-urls", peer_url]);
    command.arg(format!("--endpoints={}", cluster.member(at).endpoint())).output().context("start mainstem")
}

/// The flags that the command printed.
fn place(printed: &str) -> Vec<String> {
    printed.lines().filter_map(|line| line.strip_prefix("  --")).map(|flag| format!("--{flag}")).collect()
}

#[tokio::test]
async fn one_that_is_gone_is_replaced_by_one_command() -> Result<()> {
    let mut cluster = Cluster::start(MAINSTEM, 3)?;
    cluster.etcdctl(&[0], &["put", "kept", "1"])?;
    let gone = cluster.leader().await?;
    let (other, name) = ((gone + 1) % 3, format!("n{gone}"));
    await_status(&cluster, other, "healthy: 3 of 3 voters, 1 may fail\n").await?;
    let peer = cluster.prepare()?;

    let refused = replace(&cluster, other, &name, "n3", &peer)?;
    let why = complaint(&refused);
    assert!(!refused.status.success() && why.contains("is not gone: http://"), "{why}");
    let unknown = replace(&cluster, other, "nobody", "n3", &peer)?;
    let why = complaint(&unknown);
    assert!(!unknown.status.success() && why.contains("there is no member nobody"), "{why}");

    cluster.member_mut(gone).kill()?;
    let first = printed(&replace(&cluster, other, &name, "n3", &peer)?)?;
    let again = printed(&replace(&cluster, other, &name, "n3", &peer)?)?;
    assert_eq!(first, again, "the same command goes on from where it is");
    cluster.join_as(&place(&first))?;
    cluster.member_mut(3).await_answer()?;
    await_status(&cluster, other, "healthy: 3 of 3 voters, 1 may fail\n").await?;
    assert_eq!(cluster.etcdctl(&[3], &["get", "kept", "--print-value-only"])?.trim(), "1");

    // Two of the three are enough, and the new one is among them.
    cluster.member_mut(other).kill()?;
    cluster.etcdctl(&[3], &["put", "kept", "2"])?;
    Ok(())
}
