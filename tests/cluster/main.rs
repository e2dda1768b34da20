//! Several members as one cluster, each a process of its own: asked by etcdctl, killed, added and removed.
//!
//! `CLUSTER_ROUNDS` (3): how often the leader is killed under load.

mod among_etcd;
mod lost_volume;
mod reconfiguration;
mod replacing;
mod without_quorum;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use harness::clients::Clients;
use harness::cluster::Cluster;
use harness::environment;
use harness::server::{Kind, Server};
use proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::etcdserverpb::{
    Compare, MemberListRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, request_op,
};

const MAINSTEM: Kind = Kind::Mainstem { partitions: 1 };
/// How long a client waits for one answer before it asks another member.
const CLIENT_PATIENCE: Duration = Duration::from_secs(2);
/// How long a learner may take to catch up.
const CATCH_UP_TRIES: u32 = 200;

fn json(text: &str) -> Result<serde_json::Value> {
    serde_json::from_str(text).with_context(|| text.to_owned())
}

async fn ids(server: &Server) -> Result<(u64, u64)> {
    let mut cluster = Clients::new(&server.endpoint())?.cluster;
    let list = cluster.member_list(MemberListRequest { linearizable: true }).await?.into_inner();
    let header = list.header.context("a list has a header")?;
    assert_eq!(list.members.len(), 1);
    assert_eq!(list.members[0].id, header.member_id);
    Ok((header.cluster_id, header.member_id))
}

#[tokio::test]
async fn ids_are_those_that_etcd_would_give() -> Result<()> {
    let name = "--name=first";
    let flags = |server: &Server| {
        let peer = server.peer_url();
        [
            name.to_owned(),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=first={peer}"),
            "--initial-cluster-token=some".to_owned(),
        ]
    };
    let mut ours = Server::prepare(MAINSTEM)?;
    let flags = flags(&ours);
    ours.arguments(&flags);
    ours.restart()?;
    let given = ids(&ours).await?;
    ours.stop()?;
    let mut etcd = Server::prepare(Kind::Etcd36)?;
    etcd.arguments(&flags);
    etcd.restart()?;
    assert_eq!(given, ids(&etcd).await?);
    etcd.kill()?;
    // What the flags say later changes nothing.
    ours.arguments(&["--initial-cluster-token=other"]);
    ours.restart()?;
    assert_eq!(given, ids(&ours).await?);
    Ok(())
}

#[tokio::test]
async fn every_member_serves_every_client() -> Result<()> {
    let cluster = Cluster::start(MAINSTEM, 3)?;
    let leader = cluster.leader().await?;
    let followers: Vec<usize> = (0..3).filter(|at| *at != leader).collect();

    let members = json(&cluster.etcdctl(&[followers[0]], &["member", "list", "-w", "json"])?)?;
    let mut names: Vec<&str> = members["members"]
        .as_array()
        .context("members")?
        .iter()
        .filter_map(|one| one["name"].as_str())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["n0", "n1", "n2"]);

    // A member is told of to the others after it serves.
    for _ in 0..500 {
        let members = json(&cluster.etcdctl(&[followers[1]], &["member", "list", "-w", "json"])?)?;
        let members = members["members"].as_array().context("members")?;
        if members.iter().all(|one| one["clientURLs"].is_array()) {
            break;
        }
    }
    let told = cluster.etcdctl(&[followers[1]], &["endpoint", "status", "--cluster", "-w", "json"])?;
    let told = json(&told)?;
    let told = told.as_array().context("a status of each")?;
    assert_eq!(told.len(), 3);
    let same = |path: fn(&serde_json::Value) -> &serde_json::Value| {
        told.iter().all(|one| path(one) == path(&told[0]))
    };
    assert!(same(|one| &one["Status"]["leader"]) && same(|one| &one["Status"]["raftTerm"]), "{told:?}");
    assert!(same(|one| &one["Status"]["header"]["cluster_id"]));

    for (at, key) in [(leader, "a"), (followers[0], "b"), (followers[1], "c")] {
        cluster.etcdctl(&[at], &["put", key, "1"])?;
        for other in 0..3 {
            let read = cluster.etcdctl(&[other], &["get", key, "--print-value-only"])?;
            assert_eq!(read.trim(), "1", "{key}, written at {at}, read at {other}");
        }
    }
    let granted = cluster.etcdctl(&[followers[0]], &["lease", "grant", "600", "-w", "json"])?;
    let lease = format!("{:x}", json(&granted)?["ID"].as_i64().context("an id")?);
    cluster.etcdctl(&[followers[1]], &["put", "leased", "1", "--lease", &lease])?;
    cluster.etcdctl(&[followers[1]], &["lease", "keep-alive", &lease, "--once"])?;
    cluster.etcdctl(&[leader], &["lease", "revoke", &lease])?;
    assert_eq!(cluster.etcdctl(&[followers[0]], &["get", "leased"])?, "");
    cluster.etcdctl(&[0, 1, 2], &["endpoint", "health"])?;
    Ok(())
}

/// What `mainstem status` prints, and whether it succeeds.
fn tell_status(cluster: &Cluster, at: usize, arguments: &[&str]) -> Result<(String, bool)> {
    let mut command = std::process::Command::new(harness::tools::mainstem()?);
    command.arg("status").arg(format!("--endpoints={}", cluster.member(at).endpoint()));
    let output = command.args(arguments).output().context("start mainstem")?;
    Ok((String::from_utf8(output.stdout)?, output.status.success()))
}

/// Asks until the page begins with `health`: what a member tells may be a moment old.
async fn await_status(cluster: &Cluster, at: usize, health: &str) -> Result<(String, bool)> {
    let mut told = (String::new(), false);
    for _ in 0..CATCH_UP_TRIES {
        told = tell_status(cluster, at, &[])?;
        if told.0.starts_with(health) {
            return Ok(told);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("this is not {health:?}: {}", told.0)
}

#[tokio::test]
async fn status_tells_how_many_may_fail_and_what_to_do() -> Result<()> {
    let mut cluster = Cluster::start(MAINSTEM, 3)?;
    let leader = cluster.leader().await?;
    let (other, third) = ((leader + 1) % 3, (leader + 2) % 3);
    let (_, works) = await_status(&cluster, other, "healthy: 3 of 3 voters, 1 may fail\n").await?;
    assert!(works);
    let known = |document: &serde_json::Value| {
        let members = document["members"].as_array().into_iter().flatten();
        members.filter(|one| one["version"].is_string() && one["answers"] == true).count()
    };
    let mut document = serde_json::Value::Null;
    // Members tell the others where clients reach them when they have begun.
    for _ in 0..CATCH_UP_TRIES {
        document = json(&tell_status(&cluster, other, &["--json"])?.0)?;
        if known(&document) == 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(known(&document), 3, "{document}");
    assert_eq!((&document["format"], &document["may_fail"]), (&1.into(), &1.into()));

    cluster.member_mut(third).kill()?;
    let (page, works) = await_status(&cluster, other, "degraded: 2 of 3 voters, none may fail\n").await?;
    let step = format!("\n  next: member n{third} (");
    assert!(works && page.contains(&step) && page.contains("start it"), "{page}");

    cluster.member_mut(leader).kill()?;
    let unavailable = "unavailable: 1 of 3 voters answer, 2 are needed\n";
    let (_, works) = await_status(&cluster, other, unavailable).await?;
    assert!(!works);
    Ok(())
}

#[tokio::test]
async fn leadership_is_moved_by_whoever_has_it() -> Result<()> {
    let cluster = Cluster::start(MAINSTEM, 3)?;
    let leader = cluster.leader().await?;
    let (to, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let status = json(&cluster.etcdctl(&[to], &["endpoint", "status", "-w", "json"])?)?;
    let id = format!("{:x}", status[0]["Status"]["header"]["member_id"].as_u64().context("an id")?);
    let refused = cluster.try_etcdctl(&[other], &["move-leader", &id])?;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no leader endpoint given"), "{refused:?}");
    cluster.etcdctl(&[0, 1, 2], &["move-leader", &id])?;
    assert_eq!(cluster.leader().await?, to);
    let mut maintenance = Clients::new(&cluster.member(other).endpoint())?.maintenance;
    let refused = maintenance.move_leader(proto::etcdserverpb::MoveLeaderRequest { target_id: 1 }).await;
    assert_eq!(refused.expect_err("it does not lead").message(), "etcdserver: not leader");
    let mut maintenance = Clients::new(&cluster.member(to).endpoint())?.maintenance;
    let refused = maintenance.move_leader(proto::etcdserverpb::MoveLeaderRequest { target_id: 1 }).await;
    assert_eq!(refused.expect_err("there is no such member").message(), "etcdserver: bad leader transferee");
    Ok(())
}

#[tokio::test]
async fn one_member_becomes_three_and_one_again() -> Result<()> {
    let mut cluster = Cluster::start(MAINSTEM, 1)?;
    cluster.etcdctl(&[0], &["put", "kept", "1"])?;
    for at in 1..3 {
        let (name, peer) = (format!("n{at}"), cluster.prepare()?);
        let peers = format!("--peer-urls={peer}");
        let added = cluster.etcdctl(&[0], &["member", "add", &name, &peers, "--learner", "-w", "json"])?;
        let id = json(&added)?["member"]["ID"].as_u64().context("an id")?;
        let shared = format!("{peers},http://127.0.0.1:1");
        let again = cluster.try_etcdctl(&[0], &["member", "add", &name, &shared])?;
        let complaint = String::from_utf8_lossy(&again.stderr).into_owned();
        assert!(complaint.contains("etcdserver: Peer URLs already exists"), "{complaint}");
        cluster.join()?;
        promote(&cluster, &format!("{id:x}"))?;
        cluster.member_mut(at).await_answer()?;
        let read = cluster.etcdctl(&[at], &["get", "kept", "--print-value-only"])?;
        assert_eq!(read.trim(), "1");
    }
    let leader = cluster.leader().await?;
    cluster.etcdctl(&[(leader + 1) % 3], &["put", "kept", "3"])?;

    let status = json(&cluster.etcdctl(&[0, 1, 2], &["endpoint", "status", "-w", "json"])?)?;
    let id = |at: usize| {
        let id = status[at]["Status"]["header"]["member_id"].as_u64().unwrap_or_default();
        format!("{id:x}")
    };
    for gone in [(leader + 1) % 3, (leader + 2) % 3] {
        cluster.etcdctl(&[leader], &["member", "remove", &id(gone)])?;
        cluster.member_mut(gone).kill()?;
    }
    let refused = cluster.try_etcdctl(&[leader], &["member", "remove", &id((leader + 1) % 3)])?;
    let complaint = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(complaint.contains("etcdserver: member not found"), "{complaint}");
    cluster.etcdctl(&[leader], &["put", "kept", "4"])?;
    assert_eq!(cluster.etcdctl(&[leader], &["get", "kept", "--print-value-only"])?.trim(), "4");
    Ok(())
}

/// etcd refuses for as long as the learner lags, and so do we.
fn promote(cluster: &Cluster, id: &str) -> Result<()> {
    for _ in 0..CATCH_UP_TRIES {
        let output = cluster.try_etcdctl(&[0], &["member", "promote", id])?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            return Ok(());
        }
        let lags = "etcdserver: can only promote a learner member which is in sync with leader";
        ensure!(complaint.contains(lags), "{complaint}");
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("the learner does not catch up:\n{}", cluster.member(1).log())
}

#[tokio::test]
async fn a_learner_serves_what_may_be_stale_and_nothing_else() -> Result<()> {
    let mut cluster = Cluster::start(MAINSTEM, 1)?;
    cluster.etcdctl(&[0], &["put", "key", "1"])?;
    let peers = format!("--peer-urls={}", cluster.prepare()?);
    cluster.etcdctl(&[0], &["member", "add", "n1", &peers, "--learner"])?;
    cluster.join()?;
    let mut clients = Clients::new(&cluster.member(1).endpoint())?;
    let read = |serializable| RangeRequest { key: "key".into(), serializable, ..RangeRequest::default() };
    let mut seen = 0;
    for _ in 0..CATCH_UP_TRIES {
        seen = clients.kv.range(read(true)).await.map_or(0, |answer| answer.into_inner().count);
        if seen == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(seen, 1, "{}", cluster.member(1).log());
    let refused = clients.kv.range(read(false)).await.expect_err("it may be behind");
    assert_eq!(refused.message(), "etcdserver: rpc not supported for learner");
    let put = PutRequest { key: "key".into(), ..PutRequest::default() };
    let refused = clients.kv.put(put).await.expect_err("it has no vote");
    assert_eq!(refused.message(), "etcdserver: rpc not supported for learner");
    let status = json(&cluster.etcdctl(&[1], &["endpoint", "status", "-w", "json"])?)?;
    assert_eq!(status[0]["Status"]["isLearner"], true);
    let peers = format!("--peer-urls={}", cluster.prepare()?);
    let refused = cluster.try_etcdctl(&[0], &["member", "add", "n2", &peers, "--learner"])?;
    let complaint = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(complaint.contains("etcdserver: too many learner members in cluster"), "{complaint}");
    Ok(())
}

/// A key that is made once, whichever member is asked and however often.
async fn create(clients: &mut Clients, key: &str) -> Result<bool> {
    let absent = Compare {
        result: CompareResult::Equal as i32,
        target: CompareTarget::Version as i32,
        key: key.to_owned().into(),
        target_union: Some(TargetUnion::Version(0)),
        ..Compare::default()
    };
    let put = PutRequest { key: key.to_owned().into(), ..PutRequest::default() };
    let success = vec![RequestOp { request: Some(request_op::Request::RequestPut(put)) }];
    let request = TxnRequest { compare: vec![absent], success, failure: vec![] };
    let answer = tokio::time::timeout(CLIENT_PATIENCE, clients.kv.txn(request)).await??;
    Ok(answer.into_inner().succeeded)
}

struct Load {
    members: Vec<Clients>,
    stops: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<Vec<String>>>,
    /// A plain put is of unknown outcome when its answer is lost: these are counted by value.
    counted: Arc<AtomicU64>,
}

impl Load {
    async fn run(mut self, writer: usize) {
        let mut at = writer;
        for number in 0_u64.. {
            let key = format!("load/{writer}/{number:06}");
            loop {
                if self.stops.load(Ordering::Relaxed) {
                    return;
                }
                let count = self.members.len();
                match create(&mut self.members[at % count], &key).await {
                    // Not made now: an attempt before it was, of which nobody was told.
                    Ok(_) => break,
                    Err(_) => at += 1,
                }
            }
            self.counted.fetch_add(1, Ordering::Relaxed);
            self.acknowledged.lock().expect("no writer panics").push(key);
        }
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_or_doubled_when_leaders_are_killed() -> Result<()> {
    let rounds = environment::number("CLUSTER_ROUNDS").unwrap_or(3);
    let mut cluster = Cluster::start(MAINSTEM, 3)?;
    let members = cluster.endpoints().iter().map(|one| Clients::new(one)).collect::<Result<Vec<_>>>()?;
    let (stops, counted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let writers: Vec<_> = (0..6)
        .map(|writer| {
            let load = Load {
                members: members.clone(),
                stops: stops.clone(),
                acknowledged: acknowledged.clone(),
                counted: counted.clone(),
            };
            tokio::spawn(load.run(writer))
        })
        .collect();
    for _ in 0..rounds {
        progress(&counted, 200).await?;
        let leader = cluster.leader().await?;
        cluster.member_mut(leader).kill()?;
        progress(&counted, 200).await?;
        cluster.member_mut(leader).restart()?;
    }
    progress(&counted, 100).await?;
    stops.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await?;
    }
    let acknowledged = std::mem::take(&mut *acknowledged.lock().expect("no writer panics"));
    for (at, member) in members.iter().enumerate() {
        let versions = versions(member.clone()).await?;
        for key in &acknowledged {
            assert_eq!(versions.get(key.as_str()), Some(&1), "{key} at member {at}");
        }
    }
    println!("{} acknowledged writes over {rounds} killed leaders", acknowledged.len());
    Ok(())
}

/// Waits until so many more writes are acknowledged.
async fn progress(counted: &AtomicU64, more: u64) -> Result<()> {
    let upto = counted.load(Ordering::Relaxed) + more;
    for _ in 0..6_000 {
        if upto <= counted.load(Ordering::Relaxed) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bail!("nothing is acknowledged any more")
}

/// How often each key was written, by what one member answers.
async fn versions(mut clients: Clients) -> Result<BTreeMap<String, i64>> {
    let request = RangeRequest {
        key: "load/".into(),
        range_end: "load0".into(),
        keys_only: true,
        ..RangeRequest::default()
    };
    let kvs = clients.kv.range(request).await?.into_inner().kvs;
    Ok(kvs.into_iter().map(|kv| (String::from_utf8_lossy(&kv.key).into_owned(), kv.version)).collect())
}
