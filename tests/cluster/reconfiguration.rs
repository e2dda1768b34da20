//! Changes of the members that could cost the quorum: refused as by etcd (`--strict-reconfig-check`).

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::cluster::Cluster;
use harness::server::Kind;

use super::{MAINSTEM, json};

const UNHEALTHY: &str = "etcdserver: unhealthy cluster";
/// Time for which members must have been connected.
const HEALTH_INTERVAL: Duration = Duration::from_secs(5);
/// Upper bound on the time until a member that was killed counts as down everywhere.
const DOWN_MAX: Duration = Duration::from_secs(30);

/// Returns the complaint of a change that is refused, or "" of one that is made.
fn complaint(cluster: &Cluster, at: usize, arguments: &[&str]) -> Result<String> {
    let output = cluster.try_etcdctl(&[at], arguments)?;
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success() != complaint.contains("Error:"), "{complaint}");
    Ok(if output.status.success() { String::new() } else { complaint })
}

fn id(cluster: &Cluster, at: usize, name: &str) -> Result<String> {
    let list = json(&cluster.etcdctl(&[at], &["member", "list", "-w", "json"])?)?;
    let of = |member: &&serde_json::Value| member["name"] == name;
    let member = list["members"].as_array().into_iter().flatten().find(of).context("a member")?;
    Ok(format!("{:x}", member["ID"].as_u64().context("an id")?))
}

async fn check(kind: Kind) -> Result<()> {
    let begun = Instant::now();
    let cluster = Cluster::start(kind, 3)?;
    let leader = cluster.leader().await?;
    let third = format!("n{}", (leader + 2) % 3);
    let add = ["member", "add", "n9", "--peer-urls=http://127.0.0.1:9"];
    // Another URL: etcd gives a member that comes back within a second the id of the one that was removed, and refuses it.
    let learner = ["member", "add", "n8", "--learner", "--peer-urls=http://127.0.0.1:8"];
    let third_id = id(&cluster, leader, &third)?;
    let remove = ["member", "remove", &third_id];
    for refused in [&add[..], &learner, &remove] {
        let told = complaint(&cluster, leader, refused)?;
        if begun.elapsed() < HEALTH_INTERVAL {
            ensure!(told.contains(UNHEALTHY), "{kind:?} {refused:?}: {told:?}");
        }
    }
    drop(cluster);

    let mut cluster = Cluster::start(kind, 3)?;
    let leader = cluster.leader().await?;
    let (other, down) = ((leader + 1) % 3, (leader + 2) % 3);
    let (other_id, down_id) =
        (id(&cluster, leader, &format!("n{other}"))?, id(&cluster, leader, &format!("n{down}"))?);
    let url = format!("--peer-urls={}", cluster.member(other).peer_url());
    ensure!(complaint(&cluster, leader, &["member", "update", &other_id, &url])?.is_empty(), "{kind:?}");
    // Members are connected for long once a change is made: this one, which is taken back.
    let added = cluster.etcdctl(&[leader], &[&learner[..], &["-w", "json"]].concat())?;
    let added = format!("{:x}", json(&added)?["member"]["ID"].as_u64().context("an id")?);
    cluster.etcdctl(&[leader], &["member", "remove", &added])?;
    cluster.member_mut(down).kill()?;
    let killed = Instant::now();
    while complaint(&cluster, leader, &learner)?.is_empty() {
        // It was not known to be down yet.
        let list = json(&cluster.etcdctl(&[leader], &["member", "list", "-w", "json"])?)?;
        let members = list["members"].as_array().context("members")?;
        let learner = members.iter().find(|one| one["isLearner"] == true).context("a learner")?;
        let learner = format!("{:x}", learner["ID"].as_u64().context("an id")?);
        cluster.etcdctl(&[leader], &["member", "remove", &learner])?;
        ensure!(killed.elapsed() < DOWN_MAX, "{kind:?} counts a member as connected that is down");
    }
    for refused in [&add[..], &learner, &["member", "remove", &other_id]] {
        let told = complaint(&cluster, leader, refused)?;
        ensure!(told.contains(UNHEALTHY), "{kind:?} {refused:?}: {told:?}");
    }
    cluster.etcdctl(&[leader], &["member", "remove", &down_id])?;
    cluster.etcdctl(&[leader], &add)?;
    Ok(())
}

/// Right after a start, and with one of three down. One that is down may leave, and then another may come.
#[tokio::test]
async fn members_change_only_where_those_that_were_connected_keep_the_quorum() -> Result<()> {
    for kind in [Kind::Etcd36, MAINSTEM] {
        check(kind).await?;
    }
    Ok(())
}
