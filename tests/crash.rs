//! `kill -9` at random moments under load: nothing acknowledged is lost, nothing is half there, and the
//! revisions have no gap.
//!
//! Writers put two keys in one transaction, over and over. After each kill the store starts again on its
//! data, and a watch from the last revision known before the kill tells the whole story since.
//!
//! `CRASH_ROUNDS` (200) and `CRASH_SEED` (of this moment, and printed) are read from the environment.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::clients::Clients;
use harness::environment;
use harness::server::{Kind, Server};
use proto::etcdserverpb::{PutRequest, RangeRequest, RequestOp, TxnRequest, WatchCreateRequest, request_op};
use proto::mvccpb::Event;

const WRITERS: u64 = 16;
/// Longer than a store takes for a write: it refuses by itself before.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// What the writers know: the number that each wrote, by the revision it was acknowledged at.
type Acknowledged = Arc<Mutex<BTreeMap<i64, (u64, u64)>>>;

fn put(key: String, value: u64) -> RequestOp {
    let put = PutRequest { key: key.into(), value: value.to_string().into(), ..PutRequest::default() };
    RequestOp { request: Some(request_op::Request::RequestPut(put)) }
}

async fn write(clients: Clients, writer: u64, numbers: Arc<AtomicU64>, acknowledged: Acknowledged) {
    let mut kv = clients.kv;
    loop {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let success = vec![put(format!("a/{writer}"), number), put(format!("z/{writer}"), number)];
        let request = TxnRequest { success, ..TxnRequest::default() };
        // Whatever goes wrong is the crash: this writer's last number is of unknown outcome. So it is where the client
        // itself never says that its connection has broken, which was seen once, with no socket left.
        let Ok(Ok(answer)) = tokio::time::timeout(ANSWER_MAX, kv.txn(request)).await else { return };
        let revision = answer.into_inner().header.expect("a transaction has a header").revision;
        let known = acknowledged.lock().expect("no writer panics").insert(revision, (writer, number));
        assert!(known.is_none(), "revision {revision} was given out twice");
    }
}

/// Every event in `[from, upto]`, by revision.
async fn story(clients: &Clients, from: i64, upto: i64) -> Result<BTreeMap<i64, Vec<Event>>> {
    let create = WatchCreateRequest {
        key: vec![0].into(),
        range_end: vec![0].into(),
        start_revision: from,
        ..WatchCreateRequest::default()
    };
    let mut answers = clients.watching(create).await?;
    let mut events: BTreeMap<i64, Vec<Event>> = BTreeMap::new();
    while events.last_key_value().is_none_or(|(revision, _)| *revision < upto) {
        let answer = answers.message().await?.context("the watch ended")?;
        ensure!(!answer.canceled, "the watch was cancelled: {answer:?}");
        for event in answer.events {
            let revision = event.kv.as_ref().context("an event has a key")?.mod_revision;
            events.entry(revision).or_default().push(event);
        }
    }
    Ok(events)
}

fn number(event: &Event) -> u64 {
    let value = &event.kv.as_ref().expect("an event has a key").value;
    std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).expect("values are numbers")
}

fn writer(event: &Event) -> u64 {
    let key = &event.kv.as_ref().expect("an event has a key").key;
    std::str::from_utf8(&key[2..]).ok().and_then(|text| text.parse().ok()).expect("keys end with the writer")
}

struct Crash {
    server: Server,
    numbers: Arc<AtomicU64>,
    random: u64,
    last: i64,
    writes: usize,
}

impl Crash {
    /// splitmix64: enough chance for moments, and replayable.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    async fn round(&mut self) -> Result<()> {
        let acknowledged = Acknowledged::default();
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let clients = Clients::new(&self.server.endpoint())?;
                Ok(tokio::spawn(write(clients, writer, self.numbers.clone(), acknowledged.clone())))
            })
            .collect::<Result<_>>()?;
        // The moment is the experiment: there is nothing to wait for.
        tokio::time::sleep(Duration::from_micros(self.random() % 250_000)).await;
        self.server.kill()?;
        for writer in writers {
            writer.await?;
        }
        self.server.restart()?;
        let acknowledged = std::mem::take(&mut *acknowledged.lock().expect("the writers are done"));
        self.judge(&acknowledged).await
    }

    async fn judge(&mut self, acknowledged: &BTreeMap<i64, (u64, u64)>) -> Result<()> {
        let clients = Clients::new(&self.server.endpoint())?;
        let everything =
            RangeRequest { key: vec![0].into(), range_end: vec![0].into(), ..RangeRequest::default() };
        let answer = clients.kv.clone().range(everything).await?.into_inner();
        let current = answer.header.context("a range has a header")?.revision;
        let told = if current > self.last {
            story(&clients, self.last + 1, current).await?
        } else {
            BTreeMap::new()
        };
        let dense = (self.last + 1..=current).eq(told.keys().copied());
        ensure!(dense, "revisions {}..={current} have a gap: {:?}", self.last + 1, told.keys());
        for (revision, events) in &told {
            let whole = events.len() == 2
                && number(&events[0]) == number(&events[1])
                && writer(&events[0]) == writer(&events[1]);
            ensure!(whole, "revision {revision} is not one whole transaction: {events:?}");
        }
        for (revision, (by, value)) in acknowledged {
            let events =
                told.get(revision).with_context(|| format!("acknowledged revision {revision} is lost"))?;
            ensure!(
                number(&events[0]) == *value && writer(&events[0]) == *by,
                "revision {revision} is another's"
            );
        }
        for kv in &answer.kvs {
            let Some(events) = told.get(&kv.mod_revision) else { continue };
            ensure!(
                events.iter().any(|event| event.kv.as_ref() == Some(kv)),
                "{kv:?} differs from its event"
            );
        }
        self.last = current;
        self.writes += acknowledged.len();
        Ok(())
    }
}

fn rounds() -> u64 {
    environment::number("CRASH_ROUNDS").unwrap_or(200)
}

async fn crash(kind: Kind, rounds: u64) -> Result<()> {
    let seed = environment::seed("CRASH_SEED");
    // Small segments and early snapshots, so that recycling, trimming and restoring all happen.
    let server = Server::start(kind)?;
    let mut crash = Crash { server, numbers: Arc::default(), random: seed, last: 1, writes: 0 };
    for round in 0..rounds {
        let story = format!("round {round} with CRASH_SEED={seed} and {kind:?}");
        crash.round().await.with_context(|| story)?;
    }
    ensure!(crash.writes > 0, "nothing was ever acknowledged: that was no load");
    eprintln!("{rounds} kills, {} acknowledged writes, {kind:?}, seed {seed}", crash.writes);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_kill_9() -> Result<()> {
    crash(Kind::Mainstem { partitions: 1 }, rounds() / 2).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_kill_9_with_five_partitions() -> Result<()> {
    crash(Kind::Mainstem { partitions: 5 }, rounds().div_ceil(2)).await
}

/// All processes at once, as when the power goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_every_tier_is_killed() -> Result<()> {
    for partitions in [1, 5] {
        crash(Kind::Tiers { partitions }, rounds().div_ceil(20)).await?;
    }
    Ok(())
}
