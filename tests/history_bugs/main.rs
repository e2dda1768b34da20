//! The bugs that etcd's history knows, each as a scenario that is named after it and passes here. What happened there, and
//! why it does not happen here, is in `docs/etcd-bugs.md`.

mod compaction;
mod leases;
mod members;
mod restart;
mod watches;

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use harness::clients::Clients;
use harness::cluster::Cluster;
use harness::compat::{Outcome, Request};
use harness::history;
use harness::recorder::{Listener, Recorder, judge};
use harness::server::{Kind, Server};
use proto::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, HashKvRequest, PutRequest, RangeRequest, WatchCreateRequest,
    WatchResponse,
};
use proto::mvccpb::Event;
use proto::mvccpb::event::EventType;
use tonic::Streaming;

/// Several partitions, as the keys of the scenarios are in several.
const MAINSTEM: Kind = Kind::Mainstem { partitions: 5 };
const TIERS: Kind = Kind::Tiers { partitions: 5 };

/// One of each partition.
const KEYS: [&str; 5] = ["/registry/k", "a", "b/1", "k4", "z"];

/// So that a few megabytes are trimmed: who is away for long needs a snapshot.
const TRIMMING: [&str; 2] = ["--snapshot-after-bytes=100000", "--journal-retention-bytes=0"];

/// A few of these are worth a snapshot.
const VALUE_BYTES: usize = 20_000;

/// The first one takes what everybody has already.
const TRIMS: usize = 2;

/// How long a store may take to tell what it owes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Stores would take the machine from each other.
static MACHINE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Its revision.
async fn put(clients: &mut Clients, key: &str, value: impl Into<Vec<u8>>) -> Result<i64> {
    let value: Vec<u8> = value.into();
    let request = PutRequest { value: value.into(), ..history::put(key, "") };
    Ok(clients.kv.put(request).await?.into_inner().header.context("a header")?.revision)
}

/// Its revision.
async fn delete(clients: &mut Clients, key: &str) -> Result<i64> {
    let answer = clients.kv.delete_range(DeleteRangeRequest { ..history::delete(key) }).await?.into_inner();
    ensure!(answer.deleted == 1, "{key} was there");
    Ok(answer.header.context("a header")?.revision)
}

async fn compact(clients: &mut Clients, revision: i64) -> Result<()> {
    clients.kv.compact(CompactionRequest { revision, physical: false }).await?;
    Ok(())
}

fn all(range: RangeRequest) -> RangeRequest {
    RangeRequest { key: vec![0].into(), range_end: vec![0].into(), ..range }
}

/// The revision of a read that sees everything.
async fn revision(clients: &mut Clients) -> Result<i64> {
    let request = RangeRequest { limit: 1, ..all(RangeRequest::default()) };
    Ok(clients.kv.range(request).await?.into_inner().header.context("a header")?.revision)
}

fn everything(start_revision: i64) -> WatchCreateRequest {
    WatchCreateRequest {
        key: vec![0].into(),
        range_end: vec![0].into(),
        start_revision,
        ..WatchCreateRequest::default()
    }
}

/// The hash of all keys and their histories at the newest revision is the same, whichever endpoint is asked.
async fn hold_the_same(endpoints: &[String]) -> Result<i64> {
    let mut at = 0;
    for endpoint in endpoints {
        at = at.max(revision(&mut Clients::new(endpoint)?).await?);
    }
    let mut hashes = Vec::new();
    for endpoint in endpoints {
        let mut clients = Clients::new(endpoint)?;
        ensure!(revision(&mut clients).await? == at, "{endpoint} has another revision than {at}");
        let answer = clients.maintenance.hash_kv(HashKvRequest { revision: at }).await?.into_inner();
        hashes.push((answer.hash, answer.header.context("a header")?.revision));
    }
    ensure!(hashes.windows(2).all(|two| two[0] == two[1]), "at {at} they hold {hashes:?}");
    Ok(at)
}

/// What a watcher is told until there are so many events.
async fn told(stream: &mut Streaming<WatchResponse>, count: usize) -> Result<Vec<Event>> {
    let mut events = Vec::new();
    while events.len() < count {
        let answer = tokio::time::timeout(PATIENCE, stream.message()).await;
        let answer = answer.with_context(|| format!("only {events:?}"))??.context("the watch goes on")?;
        ensure!(!answer.canceled, "it was cancelled: {answer:?}");
        events.extend(answer.events);
    }
    Ok(events)
}

/// `put a@3`, `delete b@4`.
fn brief(events: &[Event]) -> Vec<String> {
    let one = |event: &Event| {
        let what = if event.r#type == i32::from(EventType::Put) { "put" } else { "delete" };
        let kv = event.kv.clone().unwrap_or_default();
        format!("{what} {}@{}", String::from_utf8_lossy(&kv.key), kv.mod_revision)
    };
    events.iter().map(one).collect()
}

/// The last revision of a recorded history over several endpoints, and everybody was told everything; then all is judged.
async fn settle(recorder: &Recorder, listeners: Vec<Listener>) -> Result<()> {
    let mut upto = 0;
    for endpoint in 0..recorder.endpoints() {
        let told = recorder.ask(u32::MAX, endpoint, Request::Range(all(RangeRequest::default()))).await;
        let Some(Outcome::Range(answer)) = told else { anyhow::bail!("endpoint {endpoint}: {told:?}") };
        upto = upto.max(answer.header.context("a header")?.revision);
    }
    for listener in &listeners {
        listener.told_upto(upto, PATIENCE).await?;
    }
    let watchings: Vec<_> = listeners.into_iter().map(Listener::end).collect();
    judge(&recorder.history(), &watchings, upto)?;
    Ok(())
}

fn logs(cluster: &Cluster) -> String {
    (0..cluster.endpoints().len()).map(|at| format!("-- {at}\n{}\n", cluster.member(at).log_end())).collect()
}

/// How many snapshots of others it has taken.
fn snapshots_of(member: &Server) -> usize {
    member.log().matches("a snapshot has come from another member").count()
}

/// When a journal was trimmed last: its own state is written down right before its beginning goes.
fn trimmed(member: &Server) -> Option<SystemTime> {
    let state = member.data().join("data/journal/state.snapshot");
    std::fs::metadata(state).and_then(|state| state.modified()).ok()
}

/// Writes over one member until all these have trimmed their journals a few times: who was away needs a snapshot. What
/// was written is compacted, since the more there is the rarer are snapshots.
async fn write_until_trimmed(cluster: &Cluster, by: usize, journals: &[usize]) -> Result<()> {
    let mut clients = Clients::new(&cluster.member(by).endpoint())?;
    trimming(cluster, journals, TRIMS, async |number| {
        let made = put(&mut clients, KEYS[number % KEYS.len()], vec![b'v'; VALUE_BYTES]).await?;
        if number % 20 == 0 { compact(&mut clients, made).await } else { Ok(()) }
    })
    .await
}

async fn trimming(
    cluster: &Cluster,
    journals: &[usize],
    times: usize,
    mut write: impl AsyncFnMut(usize) -> Result<()>,
) -> Result<()> {
    let mut trims: Vec<_> = journals.iter().map(|at| (*at, trimmed(cluster.member(*at)), 0)).collect();
    for number in 0..5_000 {
        write(number).await?;
        for (at, last, count) in &mut trims {
            let now = trimmed(cluster.member(*at));
            *count += usize::from(now != *last);
            *last = now;
        }
        if trims.iter().all(|(_, _, count)| *count > times) {
            return Ok(());
        }
    }
    anyhow::bail!("too little is trimmed: {trims:?}\n{}", logs(cluster))
}
