//! etcd's command line, as released with 3.6 and with 3.7: against Mainstem with 1 and with 5 partitions, in one
//! process and in tiers, it prints what it prints against etcd 3.6, the version that Mainstem reports, and ends with the same exit code.
//!
//! What may differ is listed in `harness/etcdctl/normal.rs`; how the scripts under `etcdctl/` are read, in
//! `harness/etcdctl/script.rs`.
//! `ETCDCTL_KINDS=etcd` sets etcd against itself, which judges the judge. `check perf` writes for a minute, so only
//! one etcdctl and one Mainstem are asked, and only whether it comes to its end.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use harness::clients::Clients;
use harness::cluster::Cluster;
use harness::etcdctl::{Etcdctl, Outcome, not_as_marked};
use harness::server::{Kind, Server};
use proto::etcdserverpb::alarm_request::AlarmAction;
use proto::etcdserverpb::{AlarmRequest, AlarmType, MemberListRequest, PutRequest, StatusRequest};

/// How long members may take until nothing changes by itself any more.
const SETTLED_MAX: Duration = Duration::from_secs(60);

fn kinds() -> Vec<Kind> {
    if std::env::var("ETCDCTL_KINDS").as_deref() == Ok("etcd") {
        return vec![Kind::Etcd36; 2];
    }
    Kind::ours().to_vec()
}

/// What a script begins with.
#[derive(Clone, Copy, PartialEq)]
enum Store {
    Empty,
    /// Empty, with three members.
    Several,
    /// With a key. The alarm is raised by hand: how much fits until it raises itself is each store's own.
    Full,
}

impl Store {
    async fn start(self, kind: Kind) -> Result<Server> {
        let server = Server::start(kind)?;
        if let Store::Full = self {
            let Clients { mut kv, mut cluster, mut maintenance, .. } = Clients::new(&server.endpoint())?;
            kv.put(PutRequest { key: "kept".into(), ..PutRequest::default() }).await?;
            let members = cluster.member_list(MemberListRequest::default()).await?.into_inner();
            let (action, alarm) = (AlarmAction::Activate as i32, AlarmType::Nospace as i32);
            let member_id = members.members[0].id;
            maintenance.alarm(AlarmRequest { action, member_id, alarm }).await?;
        }
        Ok(server)
    }
}

async fn outcomes(kind: Kind, etcdctl: &str, store: Store, script: &str) -> Result<Vec<Outcome>> {
    // Journals behind frontends are several in any case; the frontends speak of the one that leads.
    if store == Store::Several && !matches!(kind, Kind::Tiers { .. }) {
        return outcomes_of_three(kind, etcdctl, script).await;
    }
    let server = store.start(kind).await?;
    Etcdctl::new(etcdctl, &server.endpoints()).await?.run(script)
}

/// Of three members the one that leads is asked.
async fn outcomes_of_three(kind: Kind, etcdctl: &str, script: &str) -> Result<Vec<Outcome>> {
    // etcd takes no member before the others have known each other for a while.
    let cluster = Cluster::start_with(kind, 3, &["--strict-reconfig-check=false"])?;
    let mut endpoints = cluster.endpoints();
    endpoints.rotate_left(cluster.leader().await?);
    for endpoint in &endpoints {
        settled(endpoint).await?;
    }
    Etcdctl::new(etcdctl, &endpoints).await?.run(script)
}

async fn check(store: Store, script: &str) -> Result<()> {
    check_of(&kinds(), store, script).await
}

async fn check_of(kinds: &[Kind], store: Store, script: &str) -> Result<()> {
    let mut differences = String::new();
    for etcdctl in ["3.6", "3.7"] {
        let judge = outcomes(Kind::Etcd36, etcdctl, store, script).await.context("etcd")?;
        let wrong = not_as_marked(&judge);
        ensure!(wrong.is_empty(), "etcd, with etcdctl {etcdctl}, is not as the script says: {wrong}");
        for kind in kinds.iter().copied() {
            let context = || format!("etcdctl {etcdctl}, {kind:?}");
            let ours = outcomes(kind, etcdctl, store, script).await.with_context(context)?;
            differences += &compared(&context(), &judge, &ours)?;
        }
    }
    ensure!(differences.is_empty(), "{differences}");
    Ok(())
}

fn compared(context: &str, judge: &[Outcome], ours: &[Outcome]) -> Result<String> {
    ensure!(ours.len() == judge.len(), "a script is run to its end");
    let different = ours.iter().zip(judge).filter(|(ours, etcds)| ours != etcds);
    let tell = |(ours, etcds): (&Outcome, &Outcome)| {
        format!("\n{context}: {}\netcd: {etcds}\nours: {ours}\n", etcds.command)
    };
    Ok(different.map(tell).collect())
}

/// Returns when a member says that its storage is of its own version: etcd's begins with that of the version before.
async fn settled(endpoint: &str) -> Result<()> {
    let mut maintenance = Clients::new(endpoint)?.maintenance;
    let deadline = Instant::now() + SETTLED_MAX;
    while Instant::now() < deadline {
        let status = maintenance.status(StatusRequest::default()).await?.into_inner();
        if status.storage_version == "3.6.0" {
            return Ok(());
        }
        // There is no event to wait for in another process.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bail!("{endpoint} keeps the storage of another version")
}

#[tokio::test]
async fn keys_are_put_got_and_deleted() -> Result<()> {
    check(Store::Empty, include_str!("etcdctl/keys.script")).await
}

#[tokio::test]
async fn every_flag_of_get_and_every_format() -> Result<()> {
    check(Store::Empty, include_str!("etcdctl/get.script")).await
}

#[tokio::test]
async fn transactions_are_read_from_standard_input() -> Result<()> {
    check(Store::Empty, include_str!("etcdctl/txn.script")).await
}

#[tokio::test]
async fn watches_tell_the_past_and_the_present() -> Result<()> {
    check(Store::Empty, include_str!("etcdctl/watch.script")).await
}

#[tokio::test]
async fn leases_keep_keys() -> Result<()> {
    check(Store::Empty, include_str!("etcdctl/lease.script")).await
}

#[tokio::test]
async fn compaction_ends_the_past() -> Result<()> {
    check(Store::Empty, include_str!("etcdctl/compaction.script")).await
}

#[tokio::test]
async fn endpoints_members_and_alarms() -> Result<()> {
    // A list of three members is not that of one, whoever lists it: those have a script of their own.
    let mut kinds = kinds();
    kinds.retain(|kind| !matches!(kind, Kind::Tiers { .. }));
    check_of(&kinds, Store::Empty, include_str!("etcdctl/maintenance.script")).await
}

/// Over frontends as over members. `--cluster` asks the frontend that each journal names, which are as many answers.
#[tokio::test]
async fn members_of_several() -> Result<()> {
    let mut kinds = kinds();
    kinds.retain(|kind| *kind != Kind::Mainstem { partitions: 5 });
    check_of(&kinds, Store::Several, include_str!("etcdctl/members.script")).await
}

#[tokio::test]
async fn a_store_without_users() -> Result<()> {
    check(Store::Empty, include_str!("etcdctl/auth.script")).await
}

#[tokio::test]
async fn locks_and_elections() -> Result<()> {
    check(Store::Empty, include_str!("etcdctl/concurrency.script")).await
}

#[tokio::test]
async fn a_full_store_refuses_what_grows() -> Result<()> {
    check(Store::Full, include_str!("etcdctl/nospace.script")).await
}

#[tokio::test]
async fn a_performance_check_comes_to_its_end() -> Result<()> {
    let kind = kinds()[0];
    let server = Server::start(kind)?;
    let outcomes = Etcdctl::new("3.7", &server.endpoints()).await?.run("check perf --load=s")?;
    // Whether this machine passes is not the question.
    ensure!(outcomes[0].output.contains("Throughput"), "{}", outcomes[0]);
    Ok(())
}
