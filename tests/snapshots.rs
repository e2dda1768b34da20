//! What a member lacks that the others have trimmed comes from their snapshots, whole.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::clients::Clients;
use harness::cluster::Cluster;
use harness::server::{Kind, Server};
use proto::etcdserverpb::{PutRequest, RangeRequest};

/// So that a few megabytes are trimmed.
const FLAGS: [&str; 2] = ["--snapshot-after-bytes=100000", "--journal-retention-bytes=0"];
const MAINSTEM: Kind = Kind::Mainstem { partitions: 3 };
const VALUE_BYTES: usize = 20_000;
const KEYS: usize = 40;
/// How long trimming may take, and a member to come up to the others.
const PATIENCE: Duration = Duration::from_secs(60);

/// Three members whose journals no longer begin where the keys were written.
async fn trimmed() -> Result<Cluster> {
    let cluster = Cluster::start_with(MAINSTEM, 3, &FLAGS)?;
    let members = [0, 1, 2].map(|at| cluster.member(at));
    write(cluster.member(0), &members).await?;
    Ok(cluster)
}

/// Writes by one process until the journals of all these are trimmed.
async fn write(by: &Server, journals: &[&Server]) -> Result<()> {
    let mut clients = Clients::new(&by.endpoint())?;
    for number in 0.. {
        // Of most keys several versions, of some one from the beginning.
        let key = if number < 10 { number } else { 10 + number % (KEYS - 10) };
        let key = format!("{}{key:04}", ["a", "k4", "z"][key % 3]).into();
        let value = vec![b'v'; VALUE_BYTES].into();
        clients.kv.put(PutRequest { key, value, ..PutRequest::default() }).await?;
        if number % 100 == 99 && journals.iter().all(|journal| is_trimmed(journal)) {
            return Ok(());
        }
        ensure!(number < 5_000, "nothing is trimmed:\n{}", by.log());
    }
    unreachable!("numbers do not end")
}

/// The journal's own state is written down right before its beginning goes.
fn is_trimmed(member: &Server) -> bool {
    member.data().join("data/journal/state.snapshot").exists()
}

/// Every key with how it was written, by what one member has itself.
async fn keys(member: &Server) -> Result<BTreeMap<Vec<u8>, (i64, i64, i64)>> {
    let mut clients = Clients::new(&member.endpoint())?;
    let request = RangeRequest {
        key: vec![0].into(),
        range_end: vec![0].into(),
        keys_only: true,
        serializable: true,
        ..RangeRequest::default()
    };
    let kvs = clients.kv.range(request).await?.into_inner().kvs;
    let told = kvs.into_iter().map(|kv| (kv.key.to_vec(), (kv.create_revision, kv.mod_revision, kv.version)));
    Ok(told.collect())
}

/// Waits until a member has what the others have.
async fn equals(cluster: &Cluster, at: usize, other: usize) -> Result<()> {
    let expected = keys(cluster.member(other)).await?;
    assert_eq!(expected.len(), KEYS);
    let deadline = Instant::now() + PATIENCE;
    let mut found = keys(cluster.member(at)).await?;
    while found != expected && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(50)).await;
        found = keys(cluster.member(at)).await?;
    }
    assert_eq!(found, expected, "{}", cluster.member(at).log());
    Ok(())
}

/// The URLs in the lines of a log that say so.
fn named(member: &Server, line: &str) -> Vec<String> {
    let log = member.log();
    let lines = log.lines().filter(|one| one.contains(line));
    let url = |one: &str| {
        let from = one.split("http://127.0.0.1:").nth(1)?;
        Some(format!("http://127.0.0.1:{}", from.split(|end: char| !end.is_ascii_digit()).next()?))
    };
    lines.filter_map(url).collect()
}

const TAKEN: &str = "a snapshot has come from another member";
const REFUSED: &str = "a snapshot of another member is not taken";

#[tokio::test]
async fn who_joins_after_the_trim_gets_every_key_and_not_from_the_leader() -> Result<()> {
    let mut cluster = trimmed().await?;
    let leader = cluster.leader().await?;
    let peers = format!("--peer-urls={}", cluster.prepare()?);
    cluster.etcdctl(&[leader], &["member", "add", "n3", &peers])?;
    cluster.join()?;
    cluster.member_mut(3).await_answer()?;
    equals(&cluster, 3, leader).await?;
    let taken = named(cluster.member(3), TAKEN);
    assert!(!taken.is_empty(), "{}", cluster.member(3).log());
    assert!(!taken.contains(&cluster.member(leader).peer_url()), "{taken:?}");

    cluster.etcdctl(&[3], &["put", "a0000", "later"])?;
    equals(&cluster, leader, 3).await?;
    // What is between its snapshot and its journal is with the others, still.
    cluster.member_mut(3).kill()?;
    cluster.member_mut(3).restart()?;
    equals(&cluster, 3, leader).await?;
    Ok(())
}

#[tokio::test]
async fn etcd_20271_who_has_lost_everything_takes_no_damaged_snapshot() -> Result<()> {
    let mut cluster = trimmed().await?;
    let leader = cluster.leader().await?;
    let (lost, damaged) = ((leader + 1) % 3, (leader + 2) % 3);
    let files = files(cluster.member(damaged))?;
    assert!(!files.is_empty());
    for file in files {
        let mut bytes = fs::read(&file)?;
        // Where the middle is in the header, the set would not even be offered.
        if bytes.len() < VALUE_BYTES {
            continue;
        }
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&file, bytes)?;
    }
    let list: serde_json::Value =
        serde_json::from_str(&cluster.etcdctl(&[leader], &["member", "list", "-w", "json"])?)?;
    let name = format!("n{lost}");
    let of = |member: &&serde_json::Value| member["name"] == name.as_str();
    let member = list["members"].as_array().context("members")?.iter().find(of).context("a member")?;
    let id = format!("{:x}", member["ID"].as_u64().context("an id")?);
    cluster.member_mut(lost).kill()?;
    cluster.etcdctl(&[leader], &["member", "remove", &id])?;
    fs::remove_dir_all(cluster.member(lost).data().join("data"))?;
    let peers = format!("--peer-urls={}", cluster.member(lost).peer_url());
    cluster.etcdctl(&[leader], &["member", "add", &name, &peers])?;
    cluster.member_mut(lost).arguments(&["--initial-cluster-state=existing"]);
    cluster.member_mut(lost).restart()?;
    equals(&cluster, lost, leader).await?;
    let (refused, taken) = (named(cluster.member(lost), REFUSED), named(cluster.member(lost), TAKEN));
    assert!(refused.contains(&cluster.member(damaged).peer_url()), "{}", cluster.member(lost).log());
    assert_eq!(taken, [cluster.member(leader).peer_url()]);
    Ok(())
}

/// Three journals, each a process of its own.
fn journals(store: Option<&str>) -> Result<Vec<Server>> {
    let mut journals = (0..3).map(|_| Server::prepare(MAINSTEM)).collect::<Result<Vec<_>>>()?;
    let places = journals.iter().zip(0..).map(|(one, at)| format!("j{at}={}", one.peer_url()));
    let initial = places.collect::<Vec<_>>().join(",");
    for (at, journal) in journals.iter_mut().enumerate() {
        let peer = journal.peer_url();
        let flags = [
            "--role=journal".to_owned(),
            format!("--name=j{at}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster={initial}"),
        ];
        journal.arguments(&flags);
        journal.arguments(&FLAGS);
        journal.arguments(store.as_slice());
        journal.spawn()?;
    }
    Ok(journals)
}

/// Serves clients from a state of its own, which follows these journals.
fn front(journals: &[Server], store: Option<&str>) -> Result<Server> {
    let urls: Vec<String> = journals.iter().map(Server::peer_url).collect();
    let mut front = Server::prepare(MAINSTEM)?;
    let endpoints = format!("--journal-endpoints={}", urls.join(","));
    front.arguments(&["--role=memstore,frontend", "--name=front", endpoints.as_str()]);
    front.arguments(&FLAGS);
    front.arguments(store.as_slice());
    front.restart()?;
    Ok(front)
}

#[tokio::test]
async fn a_memstore_that_has_lost_everything_gets_it_from_the_journals_nodes() -> Result<()> {
    let mut journals = journals(None)?;
    let urls: Vec<String> = journals.iter().map(Server::peer_url).collect();
    let mut front = front(&journals, None)?;
    write(&front, &journals.iter().collect::<Vec<_>>()).await?;
    let expected = keys(&front).await?;
    assert_eq!(expected.len(), KEYS);
    let mut taken = Vec::new();
    // Also where one of the nodes is not there.
    for dead in [None, Some(1)] {
        if let Some(dead) = dead {
            journals[dead].kill()?;
        }
        front.kill()?;
        fs::remove_dir_all(front.data().join("data"))?;
        // What a node has trimmed it may still have in memory.
        for journal in journals.iter_mut().filter(|journal| journal.runs()) {
            journal.kill()?;
            journal.spawn()?;
        }
        front.restart()?;
        assert_eq!(keys(&front).await?, expected, "{}", front.log());
        let before = taken.len();
        taken = named(&front, TAKEN);
        assert!(before < taken.len(), "{}", front.log());
    }
    assert!(taken.iter().all(|url| urls.contains(url)), "{taken:?}");
    let before = expected.len();
    let mut clients = Clients::new(&front.endpoint())?;
    clients.kv.put(PutRequest { key: "new".into(), ..PutRequest::default() }).await?;
    assert_eq!(keys(&front).await?.len(), before + 1);
    Ok(())
}

/// The journal's nodes keep no snapshot then, and are trimmed all the same.
#[tokio::test]
async fn a_memstore_that_has_lost_everything_gets_it_from_the_store() -> Result<()> {
    let objects = tempfile::tempdir()?;
    let place = format!("file://{}", objects.path().display());
    let store = format!("--snapshot-store={place}");
    let mut journals = journals(Some(&store))?;
    let mut front = front(&journals, Some(&store))?;
    write(&front, &journals.iter().collect::<Vec<_>>()).await?;
    let expected = keys(&front).await?;
    front.kill()?;
    fs::remove_dir_all(front.data().join("data"))?;
    // What a node has trimmed it may still have in memory.
    for journal in &mut journals {
        journal.kill()?;
        journal.spawn()?;
    }
    front.restart()?;
    assert_eq!(keys(&front).await?, expected, "{}", front.log());
    let log = front.log();
    assert!(log.lines().any(|line| line.contains(TAKEN) && line.contains(&place)), "{log}");
    for journal in &journals {
        assert_eq!(files(journal)?, Vec::<PathBuf>::new());
    }
    Ok(())
}

/// The files of a member's snapshots.
fn files(member: &Server) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for set in fs::read_dir(member.data().join("data/snapshots"))? {
        for file in fs::read_dir(set?.path())? {
            files.push(file?.path());
        }
    }
    Ok(files)
}
