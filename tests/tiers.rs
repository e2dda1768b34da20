//! A store whose tiers are processes of their own: used over every frontend, and each process killed in turn under
//! load. Nothing acknowledged is lost, and nothing happens twice.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::clients::Clients;
use harness::failover::under_load;
use harness::held::{Held, all_serve};
use harness::ports::free_port;
use harness::program::refused;
use harness::reads::{Answers, while_asked};
use harness::tiers::{Shape, Tier, Tiers};
use proto::etcdserverpb::{PutRequest, RangeRequest, WatchCreateRequest};

/// How many writes are begun each second while processes are killed.
const WRITES_PER_SECOND: u32 = 300;

/// Among those that the load writes.
const SPLIT_KEY: &str = "failover/0001/000000500";

/// Until a frontend has heard who leads, or that nobody does.
const LED_MAX: Duration = Duration::from_secs(30);

/// Until a memstore under a new name holds its share: the old one counts as gone after a minute.
const READY_MAX: Duration = Duration::from_secs(150);

/// How long a store is used after the last change.
const ANSWERS_FOR: Duration = Duration::from_secs(3);

/// Stores would take the machine from each other.
static MACHINE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Frontends with memstores of their own.
fn beside(partitions: usize) -> Shape {
    Shape { journals: 3, memstores: 0, frontends: 2, partitions }
}

/// Frontends that ask memstores elsewhere.
fn apart(partitions: usize) -> Shape {
    Shape { memstores: 2, ..beside(partitions) }
}

fn json(text: &str) -> Result<serde_json::Value> {
    serde_json::from_str(text).with_context(|| text.to_owned())
}

#[tokio::test]
async fn every_frontend_serves_the_same_store() -> Result<()> {
    let _alone = MACHINE.lock().await;
    for shape in [beside(1), beside(5), apart(1), apart(5)] {
        let tiers = Tiers::start(shape)?;
        used(&tiers).await.with_context(|| format!("{shape:?}\n{}", tiers.logs()))?;
    }
    Ok(())
}

async fn used(tiers: &Tiers) -> Result<()> {
    for (from, to, key) in [(0, 1, "a"), (1, 0, "k5")] {
        tiers.etcdctl(from, &["put", key, "1"])?;
        ensure!(tiers.etcdctl(to, &["get", key, "--print-value-only"])?.trim() == "1", "{key} at {to}");
    }
    let both = tiers.etcdctl(0, &["get", "", "--from-key", "--keys-only", "--order=DESCEND"])?;
    ensure!(both.split_whitespace().collect::<Vec<_>>() == ["k5", "a"], "{both}");

    let granted = tiers.etcdctl(0, &["lease", "grant", "600", "-w", "json"])?;
    let lease = format!("{:x}", json(&granted)?["ID"].as_i64().context("an id")?);
    tiers.etcdctl(1, &["put", "leased", "1", "--lease", &lease])?;
    tiers.etcdctl(0, &["lease", "keep-alive", &lease, "--once"])?;
    tiers.etcdctl(1, &["lease", "revoke", &lease])?;
    ensure!(tiers.etcdctl(0, &["get", "leased"])?.is_empty(), "it went with its lease");

    let here = json(&tiers.etcdctl(0, &["get", "a", "-w", "json"])?)?["header"].clone();
    let there = json(&tiers.etcdctl(1, &["get", "a", "-w", "json"])?)?["header"].clone();
    ensure!(here["cluster_id"] == there["cluster_id"], "one cluster: {here} {there}");
    ensure!(here["member_id"] != there["member_id"], "ids of their own: {here} {there}");
    let members = json(&tiers.etcdctl(0, &["member", "list", "-w", "json"])?)?;
    ensure!(
        members["members"].as_array().is_some_and(|all| all.len() == 3),
        "the journal's members: {members}"
    );
    led(tiers).await?;
    watched(tiers).await
}

/// Each frontend speaks of the journal that leads, in `Status`, and lets another one lead.
async fn led(tiers: &Tiers) -> Result<()> {
    let Tier::Journal(leader) = tiers.leader().await? else { unreachable!("only journals lead") };
    let next = tiers.id_of((leader + 1) % 3).await?;
    for (frontend, leads) in [(0, tiers.id_of(leader).await?), (1, next)] {
        let deadline = Instant::now() + LED_MAX;
        // The other frontend hears of it by itself.
        while status(tiers, frontend)? != (leads, leads) {
            ensure!(Instant::now() < deadline, "{leads:x} leads: {:x?}", status(tiers, frontend)?);
        }
        let told = tiers.etcdctl(frontend, &["endpoint", "status", "-w", "fields"])?;
        ensure!(told.contains(&format!("\"MemberID\" : {leads}\n")), "{told}");
        if frontend == 0 {
            tiers.etcdctl(frontend, &["move-leader", &format!("{next:x}")])?;
        }
    }
    Ok(())
}

/// Who is in the header of a status, and who leads.
fn status(tiers: &Tiers, frontend: usize) -> Result<(u64, u64)> {
    let told = json(&tiers.etcdctl(frontend, &["endpoint", "status", "-w", "json"])?)?;
    let status = &told[0]["Status"];
    let id = |value: &serde_json::Value| value.as_u64().unwrap_or_default();
    Ok((id(&status["header"]["member_id"]), id(&status["leader"])))
}

/// Nobody leads: the frontends still say who they are, and that.
#[tokio::test]
async fn without_a_leader_a_frontend_speaks_of_itself() -> Result<()> {
    let _alone = MACHINE.lock().await;
    let mut tiers = Tiers::start(apart(1))?;
    let own = json(&tiers.etcdctl(0, &["get", "a", "-w", "json"])?)?["header"]["member_id"].clone();
    let own = own.as_u64().context("an id")?;
    for journal in 0..3 {
        tiers.server_mut(Tier::Journal(journal)).kill()?;
    }
    let deadline = Instant::now() + LED_MAX;
    while status(&tiers, 0)? != (own, 0) {
        ensure!(Instant::now() < deadline, "{own:x} is alone: {:x?}", status(&tiers, 0)?);
    }
    let told = tiers.etcdctl(0, &["endpoint", "status", "-w", "json"])?;
    ensure!(told.contains("etcdserver: no leader"), "{told}");
    Ok(())
}

/// A watch over one frontend tells what was put over the other, from a revision on and as it comes.
async fn watched(tiers: &Tiers) -> Result<()> {
    let endpoints = tiers.endpoints();
    let (mut here, mut there) = (Clients::new(&endpoints[0])?, Clients::new(&endpoints[1])?);
    let put = |key: String| PutRequest { key: key.into(), value: "1".into(), ..PutRequest::default() };
    let first = there.kv.put(put("w/0".into())).await?.into_inner().header.context("a header")?.revision;
    let create = WatchCreateRequest {
        key: "a".into(),
        range_end: "\0".into(),
        start_revision: first,
        ..WatchCreateRequest::default()
    };
    let mut stream = here.watching(create).await?;
    let mut expected = vec![(first, "w/0".to_owned())];
    for (at, key) in ["b/1", "k4/2", "m/3", "z/4", "a/5"].into_iter().enumerate() {
        let revision = there.kv.put(put(key.into())).await?.into_inner().header.context("a header")?.revision;
        ensure!(revision == first + 1 + at as i64, "one order");
        expected.push((revision, key.to_owned()));
    }
    let mut told = Vec::new();
    while told.len() < expected.len() {
        let answer = stream.message().await?.context("the watch goes on")?;
        for event in answer.events {
            let kv = event.kv.context("an event has a key")?;
            told.push((kv.mod_revision, String::from_utf8_lossy(&kv.key).into_owned()));
        }
    }
    ensure!(told == expected, "{told:?}");
    let range =
        RangeRequest { key: "a".into(), range_end: "\0".into(), count_only: true, ..RangeRequest::default() };
    let counts = (
        here.kv.range(range.clone()).await?.into_inner().count,
        there.kv.range(range).await?.into_inner().count,
    );
    ensure!(counts.0 == counts.1, "{counts:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_process_may_die_under_load() -> Result<()> {
    let _alone = MACHINE.lock().await;
    for shape in [beside(5), apart(5)] {
        let mut tiers = Tiers::start(shape)?;
        for (round, victim) in (1..).zip(tiers.all()) {
            let endpoints = tiers.endpoints();
            let died = under_load(&endpoints, round, WRITES_PER_SECOND, async || {
                tiers.server_mut(victim).kill()?;
                tiers.server_mut(victim).spawn()?;
                tiers.server_mut(victim).await_answer()
            });
            let gap = died.await.with_context(|| format!("{shape:?}: {victim:?} died\n{}", tiers.logs()))?;
            eprintln!("{shape:?}: {victim:?} died: nothing was acknowledged for {} ms", gap.as_millis());
        }
    }
    Ok(())
}

/// Partitions are cut and joined again while clients write, over frontends with and without memstores of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_are_cut_under_load() -> Result<()> {
    let _alone = MACHINE.lock().await;
    for shape in [beside(1), apart(1)] {
        let tiers = Tiers::start(shape)?;
        let endpoints = tiers.endpoints();
        let cut = under_load(&endpoints, 1, WRITES_PER_SECOND, async || {
            for round in 0..10 {
                tiers.partition(round % 2, &["split", SPLIT_KEY])?;
                let split = tiers.partition(1 - round % 2, &["list"])?;
                ensure!(split.matches(SPLIT_KEY).count() == 2, "{split}");
                let first = split.lines().nth(1).and_then(|line| line.split_whitespace().nth(1));
                tiers.partition(round % 2, &["merge", first.context("a number")?])?;
            }
            Ok(())
        });
        let gap = cut.await.with_context(|| format!("{shape:?}\n{}", tiers.logs()))?;
        eprintln!("{shape:?}: ten times cut and joined: nothing was acknowledged for {} ms", gap.as_millis());
    }
    Ok(())
}

/// Partitions go from memstore to memstore while clients write; then a memstore is gone for good, and is replaced
/// though nobody asks for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_move_under_load() -> Result<()> {
    let _alone = MACHINE.lock().await;
    let mut tiers = Tiers::start(Shape { journals: 3, memstores: 3, frontends: 2, partitions: 3 })?;
    let endpoints = tiers.endpoints();
    let all = ["m0", "m1", "m2"];
    all_serve(&tiers, &all).await?;
    let moved = under_load(&endpoints, 1, WRITES_PER_SECOND, async || {
        for round in 0..4 {
            for partition in Held::of(&tiers, round % 2)? {
                partition.relocate(&tiers, round % 2, &all)?;
            }
            all_serve(&tiers, &all).await?;
        }
        Ok(())
    });
    let gap = moved.await.with_context(|| tiers.logs())?;
    eprintln!("twelve times moved: nothing was acknowledged for {} ms", gap.as_millis());

    let replaced = under_load(&endpoints, 2, WRITES_PER_SECOND, async || {
        tiers.server_mut(Tier::Memstore(1)).kill()?;
        all_serve(&tiers, &["m0", "m2"]).await
    });
    let gap = replaced.await;
    let gap = gap.with_context(|| tiers.logs())?;
    eprintln!("a memstore gone for good: nothing was acknowledged for {} ms", gap.as_millis());
    ensure!(tiers.partition(0, &["forget", "m0"]).is_err(), "it answers");
    Ok(())
}

/// Waits until a memstore says that it is ready, as a disruption budget does before the next one is stopped.
async fn is_ready(tiers: &Tiers, memstore: Tier) -> Result<()> {
    let deadline = Instant::now() + READY_MAX;
    while !tiers.server(memstore).is_ready() {
        ensure!(Instant::now() < deadline, "{memstore:?} is not ready");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

fn all_answered(answers: &Answers, of: &str) -> Result<()> {
    ensure!(answers.failed.is_empty() && answers.rounds > 100, "{of}: {answers:?}");
    eprintln!("{of}: {} rounds, the longest took {} ms", answers.rounds, answers.longest.as_millis());
    Ok(())
}

/// As a StatefulSet replaces pods: under the same name, at another address, with an empty disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_are_drained_in_any_order_and_every_request_is_answered() -> Result<()> {
    let _alone = MACHINE.lock().await;
    let mut tiers = Tiers::start(apart(5))?;
    all_serve(&tiers, &["m0", "m1"]).await?;
    let endpoints = tiers.endpoints();
    let answers = while_asked(&endpoints, async || {
        let mut now = [Tier::Memstore(0), Tier::Memstore(1)];
        for node in [0, 1, 1, 0] {
            tiers.server_mut(now[node]).stop()?;
            now[node] = tiers.add_memstore(&format!("m{node}"))?;
            tiers.server_mut(now[node]).spawn()?;
            is_ready(&tiers, now[node]).await?;
        }
        Ok(())
    });
    let answers = answers.await.with_context(|| tiers.logs())?;
    all_answered(&answers, "four drains").with_context(|| tiers.logs())
}

/// As a Deployment replaces pods. The new one holds nothing until the old one has been gone for a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_memstore_under_a_new_name_is_ready_when_it_holds_what_the_old_one_held() -> Result<()> {
    let _alone = MACHINE.lock().await;
    let mut tiers = Tiers::start(apart(5))?;
    all_serve(&tiers, &["m0", "m1"]).await?;
    let endpoints = tiers.endpoints();
    let answers = while_asked(&endpoints, async || {
        let new = tiers.add_memstore("m2")?;
        tiers.server_mut(new).spawn()?;
        tiers.server_mut(Tier::Memstore(0)).stop()?;
        is_ready(&tiers, new).await?;
        tiers.server_mut(Tier::Memstore(1)).stop()?;
        // What was asked of that one is asked of the new one from here on.
        tokio::time::sleep(ANSWERS_FOR).await;
        Ok(())
    });
    let answers = answers.await.with_context(|| tiers.logs())?;
    all_answered(&answers, "a new name").with_context(|| tiers.logs())
}

/// The sentence has all of these, and the program ended as one that was refused.
fn says(arguments: &[&str], parts: &[&str]) -> Result<()> {
    let refusal = refused(arguments, &[])?;
    ensure!(refusal.code == Some(1), "{refusal:?}");
    for part in parts {
        ensure!(refusal.sentence().contains(part), "{part:?} is not in {:?}", refusal.sentence());
    }
    Ok(())
}

#[tokio::test]
async fn a_process_without_its_journal_says_so() -> Result<()> {
    says(&["frontend"], &["needs a journal", "--journal-endpoints"])?;
    let nobody = format!("http://127.0.0.1:{}", free_port()?);
    says(
        &[
            "--role=frontend",
            "--journal-endpoints",
            &nobody,
            "--listen-client-urls",
            "http://127.0.0.1:0",
            "--advertise-client-urls",
            "http://127.0.0.1:0",
        ],
        &[
            "no journal node answers at",
            &nobody,
            "check --journal-endpoints",
            "`mainstem journal` runs there",
        ],
    )
}

#[tokio::test]
async fn two_memstores_of_one_name_are_told_apart() -> Result<()> {
    let _alone = MACHINE.lock().await;
    let shape = Shape { journals: 1, memstores: 1, frontends: 1, partitions: 1 };
    let mut tiers = Tiers::start(shape)?;
    let journal = tiers.server(Tier::Journal(0)).peer_url();
    let url = format!("http://127.0.0.1:{}", free_port()?);
    let data = tempfile::tempdir()?;
    let data = data.path().display().to_string();
    let again = [
        "memstore",
        "--name=m0",
        "--journal-endpoints",
        &journal,
        "--listen-memstore-urls",
        &url,
        "--advertise-memstore-urls",
        &url,
        "--data-dir",
        &data,
    ];
    let first = tiers.server(Tier::Memstore(0)).peer_url();
    says(
        &again,
        &["another process at", &first, "is the memstore named \"m0\"", "give this one a --name of its own"],
    )?;
    // Whoever has gone is replaced without a word.
    tiers.server_mut(Tier::Memstore(0)).restart()?;
    tiers.etcdctl(0, &["put", "a", "1"])?;
    ensure!(tiers.etcdctl(0, &["get", "a", "--print-value-only"])?.trim() == "1");
    Ok(())
}
