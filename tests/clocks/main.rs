//! Journals, memstores and frontends whose wall clocks are hours apart, and jump while they run: nothing is decided by
//! them. Writes, reads, watches, leases and compaction go on as if all clocks were right, and a leader's death, too.

mod wall_clocks;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use harness::clients::Clients;
use harness::failover::under_load;
use harness::tiers::{Shape, Tier, Tiers};
use proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseTimeToLiveRequest, PutRequest, RangeRequest,
    WatchCreateRequest, WatchResponse,
};
use tokio::task::JoinHandle;
use tonic::Streaming;

use self::wall_clocks::WallClocks;

const HOUR: i64 = 3_600;
const SHAPE: Shape = Shape { journals: 3, memstores: 2, frontends: 2, partitions: 5 };
const WRITES_PER_SECOND: u32 = 300;
/// As the frontends are told it.
const RETENTION: Duration = Duration::from_secs(4);
/// Between two turns of a clock: it should be wrong for a while.
const TURN: Duration = Duration::from_millis(20);
/// Only a store that does not do it at all takes that long.
const DONE_MAX: Duration = Duration::from_secs(60);

/// How far ahead each clock is from the start on.
fn ahead(tier: Tier) -> i64 {
    HOUR * match tier {
        Tier::Journal(0) => -9,
        Tier::Journal(1) => 7,
        Tier::Memstore(0) => 3,
        Tier::Memstore(1) => -4,
        Tier::Frontend(0) => 11,
        Tier::Frontend(1) => -5,
        _ => 0,
    }
}

struct Skewed {
    tiers: Tiers,
    clocks: WallClocks,
    turns: i64,
}

impl Skewed {
    fn start() -> Result<Skewed> {
        let clocks = WallClocks::new()?;
        let tiers = Tiers::start_each(SHAPE, |tier, server| {
            if let Tier::Frontend(_) = tier {
                let retention = format!("--auto-compaction-retention={}s", RETENTION.as_secs());
                server.arguments(&["--auto-compaction-mode=periodic", &retention]);
            }
            clocks.give(tier, server, ahead(tier))
        })?;
        for tier in tiers.all() {
            WallClocks::is_kept(tiers.server(tier), ahead(tier)).with_context(|| format!("{tier:?}"))?;
        }
        Ok(Skewed { tiers, clocks, turns: 0 })
    }

    fn clients(&self, frontend: usize) -> Result<Clients> {
        Clients::new(&self.tiers.endpoints()[frontend])
    }

    /// Turns the clocks of some processes by twelve hours, back and forth, and each time further.
    async fn turn(&mut self, tiers: &[Tier]) -> Result<()> {
        self.turns += 1;
        let way = if self.turns % 2 == 0 { 1 } else { -1 };
        for tier in tiers {
            self.clocks.turn(*tier, way * (12 * HOUR + self.turns * 60))?;
        }
        // What is looked for is that nothing happens of it: there is no event.
        tokio::time::sleep(TURN).await;
        Ok(())
    }
}

fn put(key: &str, lease: i64) -> PutRequest {
    PutRequest { key: key.to_owned().into(), value: "1".into(), lease, ..PutRequest::default() }
}

/// The revision at which it was put.
async fn put_at(clients: &mut Clients, key: &str, lease: i64) -> Result<i64> {
    Ok(clients.kv.put(put(key, lease)).await?.into_inner().header.context("a header")?.revision)
}

async fn granted(clients: &mut Clients, ttl: i64) -> Result<i64> {
    Ok(clients.lease.lease_grant(LeaseGrantRequest { ttl, id: 0 }).await?.into_inner().id)
}

async fn watch(clients: &Clients, create: WatchCreateRequest) -> Result<Streaming<WatchResponse>> {
    let mut stream = clients.watching(create).await?;
    ensure!(stream.message().await?.context("an answer")?.created, "the watcher is created");
    Ok(stream)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wall_clocks_decide_nothing() -> Result<()> {
    let mut store = Skewed::start()?;
    let suffered = suffer(&mut store).await;
    suffered.with_context(|| store.tiers.logs())
}

async fn suffer(store: &mut Skewed) -> Result<()> {
    compacts_neither_early_nor_never(store).await.context("compaction")?;
    let mut clients = store.clients(1)?;
    let long = granted(&mut clients, 600).await?;
    let from = put_at(&mut clients, "long", long).await?;
    let told = Told::of_everything(store, from).await?;
    loses_nothing_under_load(store, long).await.context("load")?;
    told.without_a_gap(put_at(&mut clients, "last", 0).await?).await.context("the watcher")?;
    ends_leases_when_they_are_over(store).await.context("a short lease")?;
    let request = LeaseTimeToLiveRequest { id: long, keys: true };
    let left = clients.lease.lease_time_to_live(request).await?.into_inner();
    ensure!(left.granted_ttl == 600 && (1..=600).contains(&left.ttl) && left.keys == ["long"], "{left:?}");
    Ok(())
}

/// What was overtaken is there for the retention, measured here, and not for ever.
async fn compacts_neither_early_nor_never(store: &mut Skewed) -> Result<()> {
    let mut clients = store.clients(0)?;
    let began = Instant::now();
    let revision = put_at(&mut clients, "old", 0).await?;
    put_at(&mut clients, "old", 0).await?;
    let past = RangeRequest { key: "old".into(), revision, ..RangeRequest::default() };
    while began.elapsed() < DONE_MAX {
        store.turn(&store.tiers.all()).await?;
        // The newest is never compacted: what is compacted lies behind it.
        put_at(&mut clients, "new", 0).await?;
        if let Err(refusal) = clients.kv.range(past.clone()).await {
            let compacted = "etcdserver: mvcc: required revision has been compacted";
            ensure!(refusal.message() == compacted, "{refusal}");
            ensure!(RETENTION <= began.elapsed(), "after {:?}", began.elapsed());
            return Ok(());
        }
    }
    anyhow::bail!("nobody compacts")
}

/// A leader dies meanwhile, and all that has a clock turns.
async fn loses_nothing_under_load(store: &mut Skewed, lease: i64) -> Result<()> {
    let (endpoints, mut clients) = (store.tiers.endpoints(), store.clients(0)?);
    let gap = under_load(&endpoints, 1, WRITES_PER_SECOND, async || {
        for round in 0..100 {
            store.turn(&store.tiers.all()).await?;
            if round == 50 {
                let leader = store.tiers.leader().await?;
                store.tiers.server_mut(leader).kill()?;
                store.tiers.server_mut(leader).spawn()?;
                store.tiers.server_mut(leader).await_answer()?;
            }
        }
        let asked = tokio_stream::once(LeaseKeepAliveRequest { id: lease });
        let kept = clients.lease.lease_keep_alive(asked).await?.into_inner().message().await?;
        ensure!(kept.as_ref().is_some_and(|kept| kept.ttl == 600), "it is kept alive: {kept:?}");
        Ok(())
    });
    eprintln!("a leader died: nothing was acknowledged for {} ms", gap.await?.as_millis());
    Ok(())
}

/// Not before its time has passed, measured here, and then it goes.
async fn ends_leases_when_they_are_over(store: &mut Skewed) -> Result<()> {
    let (mut here, there) = (store.clients(0)?, store.clients(1)?);
    let create = WatchCreateRequest { key: "short".into(), ..WatchCreateRequest::default() };
    let mut stream = watch(&there, create).await?;
    let began = Instant::now();
    let lease = granted(&mut here, 3).await?;
    put_at(&mut here, "short", lease).await?;
    let mut events = Vec::new();
    while events.len() < 2 {
        ensure!(began.elapsed() < DONE_MAX, "it stays: {events:?}");
        tokio::select! {
            answer = stream.message() => events.extend(answer?.context("the watch goes on")?.events),
            turned = store.turn(&[Tier::Journal(0), Tier::Journal(1), Tier::Journal(2), Tier::Frontend(0)]) => turned?,
        }
    }
    ensure!(events[1].r#type == 1 && events[0].r#type == 0, "put, then deleted: {events:?}");
    ensure!(Duration::from_secs(3) <= began.elapsed(), "after {:?}", began.elapsed());
    Ok(())
}

/// A watcher of everything over one frontend: revisions and keys that it is told of.
struct Told(JoinHandle<Result<Vec<(i64, Bytes)>>>);

impl Told {
    /// From a revision on, until the key "last" is put.
    async fn of_everything(store: &Skewed, start_revision: i64) -> Result<Told> {
        let all = vec![0];
        let create = WatchCreateRequest {
            key: all.clone().into(),
            range_end: all.into(),
            start_revision,
            ..WatchCreateRequest::default()
        };
        let mut stream = watch(&store.clients(1)?, create).await?;
        Ok(Told(tokio::spawn(async move {
            let mut told = Vec::new();
            loop {
                let answer = stream.message().await?.context("the watch goes on")?;
                for event in answer.events {
                    let kv = event.kv.context("an event has a key")?;
                    told.push((kv.mod_revision, kv.key));
                    if told.last().is_some_and(|(_, key)| &key[..] == b"last") {
                        return Ok(told);
                    }
                }
            }
        })))
    }

    /// Every revision once.
    async fn without_a_gap(self, last: i64) -> Result<()> {
        let told = tokio::time::timeout(DONE_MAX, self.0).await.context("it is told too little")???;
        let first = told[0].0;
        // The keys that one request deletes share a revision, in their order.
        ensure!(told.windows(2).all(|pair| pair[0] < pair[1]), "out of order, or twice");
        let mut revisions: Vec<i64> = told.iter().map(|(revision, _)| *revision).collect();
        revisions.dedup();
        ensure!(
            revisions.iter().copied().eq(first..=last),
            "{first}..={last}: {} revisions",
            revisions.len()
        );
        Ok(())
    }
}
