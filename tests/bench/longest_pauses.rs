//! Longest pauses of the memstore's and the journal's threads, step by step, as a table: once with all tiers in one process and
//! once with three journals, a memstore and a frontend of their own.
//!
//!     cargo build --release
//!     MAINSTEM_BIN=target/release/mainstem cargo run --release -p tests --bin longest-pauses
//!
//!     --keys 1000000               keys to begin with
//!     --value-bytes 4096           size of their values
//!     --leased 100000              keys attached to each lease that ends
//!     --deleted 400000             keys that one DeleteRange deletes
//!     --shape process,tiers        where it is measured, with commas
//!     --overwrite no               leaves out the step that takes as much disk as all others together
//!
//! Puts, gets and a watcher of all keys go on all the time. Pauses are read from `/metrics` after each step. The exact longest
//! pause is a gauge since the start of its process: a step that does not raise it shows the bound of the histogram's highest
//! bucket with a new observation.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use harness::clients::Clients;
use harness::pauses::{Background, Pauses};
use harness::server::{Kind, Server};
use harness::tiers::{Shape, Tier, Tiers};
use proto::etcdserverpb::request_op::Request;
use proto::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest, PutRequest, RangeRequest,
    RequestOp, TxnRequest,
};
use tokio::task::JoinSet;
use tonic::Code;

/// Puts in one transaction.
const TXN_PUTS: usize = 64;
/// Transactions on their way together.
const TXNS: usize = 16;
/// Seconds of the lease that ends by its time: more than attaching takes.
const TTL_SECONDS: i64 = 20;
/// How long a step may take to show its effect.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often another process is asked whether a step has shown its effect.
const LOOK: Duration = Duration::from_millis(100);

struct Options {
    keys: usize,
    value_bytes: usize,
    leased: usize,
    deleted: usize,
    shapes: Vec<String>,
    overwrite: bool,
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options> {
    let shapes = vec!["process".to_owned(), "tiers".to_owned()];
    let mut options = Options {
        keys: 1_000_000,
        value_bytes: 4_096,
        leased: 100_000,
        deleted: 400_000,
        shapes,
        overwrite: true,
    };
    while let Some(flag) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--keys" => options.keys = value.parse()?,
            "--value-bytes" => options.value_bytes = value.parse()?,
            "--leased" => options.leased = value.parse()?,
            "--deleted" => options.deleted = value.parse()?,
            "--overwrite" => options.overwrite = value != "no",
            "--shape" => options.shapes = value.split(',').map(str::to_owned).collect(),
            _ => bail!("unknown flag {flag}: tests/bench/longest_pauses.rs begins with those there are"),
        }
    }
    Ok(options)
}

/// Store that is measured.
enum Store {
    Process(Box<Server>),
    Tiers(Box<Tiers>),
}

impl Store {
    fn start(shape: &str) -> Result<Store> {
        let room = ["--quota-backend-bytes=34359738368"];
        match shape {
            "process" => {
                let kind = Kind::Mainstem { partitions: 1 };
                Ok(Store::Process(Box::new(Server::start_with(kind, &room)?)))
            }
            "tiers" => {
                let shape = Shape { journals: 3, memstores: 1, frontends: 1, partitions: 1 };
                let tiers = Tiers::start_each(shape, |_, server| {
                    server.arguments(&room);
                    Ok(())
                })?;
                Ok(Store::Tiers(Box::new(tiers)))
            }
            other => bail!("unknown shape {other}: process, tiers"),
        }
    }

    fn endpoint(&self) -> String {
        match self {
            Store::Process(server) => server.endpoint(),
            Store::Tiers(tiers) => tiers.endpoints()[0].clone(),
        }
    }

    /// Process of the memstore, and the one of the journal that leads.
    async fn processes(&self) -> Result<[&Server; 2]> {
        match self {
            Store::Process(server) => Ok([server, server]),
            Store::Tiers(tiers) => Ok([tiers.server(Tier::Memstore(0)), tiers.server(tiers.leader().await?)]),
        }
    }

    /// Number of snapshots that were written.
    fn snapshots(&self) -> usize {
        let log = match self {
            Store::Process(server) => server.log(),
            Store::Tiers(tiers) => tiers.server(Tier::Memstore(0)).log(),
        };
        log.matches("a snapshot was written").count()
    }

    /// `kill -9` of the memstore and of the journal that leads, which start again.
    async fn restart(&mut self) -> Result<()> {
        let again = |server: &mut Server| server.kill().and_then(|()| server.spawn());
        match self {
            Store::Process(server) => again(server),
            Store::Tiers(tiers) => {
                let leader = tiers.leader().await?;
                [Tier::Memstore(0), leader].into_iter().try_for_each(|tier| again(tiers.server_mut(tier)))
            }
        }
    }
}

/// Steps of one run, and the table's lines.
struct Run<'a> {
    store: Store,
    clients: Clients,
    background: Background,
    options: &'a Options,
    shape: &'a str,
    before: [Pauses; 2],
}

impl<'a> Run<'a> {
    async fn start(shape: &'a str, options: &'a Options) -> Result<Run<'a>> {
        let store = Store::start(shape)?;
        let clients = Clients::new(&store.endpoint())?;
        let background = Background::start(&store.endpoint())?;
        Ok(Run { store, clients, background, options, shape, before: Default::default() })
    }

    async fn told(&mut self, step: &str, took: Duration) -> Result<()> {
        let [memstore, journal] = self.store.processes().await?;
        let now = [Pauses::of_memstore(memstore)?, Pauses::of_sequencer(journal)?];
        let [memstore, sequencer] = [0, 1].map(|at| now[at].since(&self.before[at]));
        let journal = Pauses::of_journal(journal)?.since(&Pauses::default());
        self.before = now;
        let load = self.background.seen();
        show(&format!(
            "| {} | {step} | {:.1} s | {memstore} | {sequencer} | {journal} | {load} |",
            self.shape,
            took.as_secs_f64()
        ));
        Ok(())
    }

    async fn run(&mut self) -> Result<()> {
        let Options { keys, value_bytes, leased, deleted, .. } = *self.options;
        let value = Bytes::from(vec![b'v'; value_bytes]);
        let began = Instant::now();
        self.puts("fill", 0..keys, &value, 0).await?;
        self.told("fill", began.elapsed()).await?;

        let began = Instant::now();
        let lease = self.grant(TTL_SECONDS).await?;
        self.puts("lease-a", 0..leased, &Bytes::from_static(b"v"), lease).await?;
        self.told("attach keys to a lease", began.elapsed()).await?;
        let began = Instant::now();
        self.gone("lease-a").await?;
        self.told("the lease expires", began.elapsed()).await?;

        let two = [self.grant(10 * TTL_SECONDS).await?, self.grant(10 * TTL_SECONDS).await?];
        for (prefix, lease) in ["lease-b", "lease-c"].into_iter().zip(two) {
            self.puts(prefix, 0..leased, &Bytes::from_static(b"v"), lease).await?;
        }
        let began = Instant::now();
        let revoke = |id| {
            let mut lease = self.clients.lease.clone();
            async move { lease.lease_revoke(LeaseRevokeRequest { id }).await }
        };
        let (one, other) = tokio::join!(revoke(two[0]), revoke(two[1]));
        one.and(other)?;
        self.told("two leases are revoked at once", began.elapsed()).await?;

        if self.options.overwrite {
            self.overwrite(&value).await?;
        }

        let began = Instant::now();
        self.compact().await?;
        self.told("compact", began.elapsed()).await?;

        let began = Instant::now();
        let request = DeleteRangeRequest {
            key: key("fill", 0),
            range_end: key("fill", deleted),
            ..DeleteRangeRequest::default()
        };
        let answer = self.clients.kv.delete_range(request).await?.into_inner();
        ensure!(answer.deleted == i64::try_from(deleted)?, "{} keys were deleted", answer.deleted);
        self.told("one DeleteRange", began.elapsed()).await?;
        let began = Instant::now();
        self.compact().await?;
        self.told("compact what was deleted", began.elapsed()).await?;

        let began = Instant::now();
        self.store.restart().await?;
        self.before = Default::default();
        self.answers().await?;
        self.told("kill -9 and start again", began.elapsed()).await
    }

    /// Writes keys anew until a snapshot is written.
    async fn overwrite(&mut self, value: &Bytes) -> Result<()> {
        let keys = self.options.keys;
        let (began, snapshots) = (Instant::now(), self.store.snapshots());
        let mut parts = (0..keys).step_by((keys / 20).max(1)).cycle().take(60);
        while self.store.snapshots() == snapshots {
            let from = parts.next().context("no snapshot was written although all was written anew")?;
            self.puts("fill", from..keys.min(from + keys / 20), value, 0).await?;
        }
        self.told("overwrite until a snapshot is written", began.elapsed()).await
    }

    async fn grant(&mut self, ttl: i64) -> Result<i64> {
        Ok(self.clients.lease.lease_grant(LeaseGrantRequest { ttl, id: 0 }).await?.into_inner().id)
    }

    async fn puts(&self, prefix: &'static str, keys: Range<usize>, value: &Bytes, lease: i64) -> Result<()> {
        let next = Arc::new(AtomicUsize::new(keys.start));
        let mut workers = JoinSet::new();
        for _ in 0..TXNS {
            let (mut kv, next, value) = (self.clients.kv.clone(), next.clone(), value.clone());
            workers.spawn(async move {
                loop {
                    let from = next.fetch_add(TXN_PUTS, Ordering::Relaxed);
                    if keys.end <= from {
                        return Ok(());
                    }
                    let numbers = from..keys.end.min(from + TXN_PUTS);
                    let success: Vec<_> = numbers.map(|number| put(prefix, number, &value, lease)).collect();
                    // A store whose queue is full is asked again.
                    while let Err(status) =
                        kv.txn(TxnRequest { success: success.clone(), ..TxnRequest::default() }).await
                    {
                        if status.code() != Code::ResourceExhausted {
                            return Err(status);
                        }
                        tokio::time::sleep(LOOK).await;
                    }
                }
            });
        }
        while let Some(done) = workers.join_next().await {
            done??;
        }
        Ok(())
    }

    async fn count(&mut self, prefix: &str) -> Result<i64> {
        let (from, to) = (key(prefix, 0), Bytes::from(format!("{prefix}0")));
        let request = RangeRequest { key: from, range_end: to, count_only: true, ..RangeRequest::default() };
        Ok(self.clients.kv.range(request).await?.into_inner().count)
    }

    async fn gone(&mut self, prefix: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if self.count(prefix).await? == 0 {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
        bail!("{prefix} is still there")
    }

    /// Compacts at the current revision, and waits until no more is freed.
    async fn compact(&mut self) -> Result<()> {
        let answer = self.clients.kv.range(RangeRequest { key: key("fill", 0), ..RangeRequest::default() });
        let revision = answer.await?.into_inner().header.context("an answer has a header")?.revision;
        self.clients.kv.compact(CompactionRequest { revision, physical: true }).await?;
        let (mut freed, mut looks) = (-1.0, 0);
        while looks < 10 {
            let [memstore, _] = self.store.processes().await?;
            let now = harness::pauses::figure(memstore, "etcd_debugging_mvcc_db_compaction_keys_total")?;
            looks = if now.unwrap_or(0.0) == freed { looks + 1 } else { 0 };
            freed = now.unwrap_or(0.0);
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Waits until all keys can be counted.
    async fn answers(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.count("fill").await.is_err() {
            ensure!(Instant::now() < deadline, "the store does not answer after its restart");
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}

fn put(prefix: &str, number: usize, value: &Bytes, lease: i64) -> RequestOp {
    let put = PutRequest { key: key(prefix, number), value: value.clone(), lease, ..PutRequest::default() };
    RequestOp { request: Some(Request::RequestPut(put)) }
}

fn key(prefix: &str, number: usize) -> Bytes {
    Bytes::from(format!("{prefix}/{number:09}"))
}

#[expect(clippy::print_stdout, reason = "the table is what it is for")]
fn show(line: &str) {
    println!("{line}");
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let options = options(std::env::args().skip(1))?;
    show(
        "| where | step | time | memstore | sequencer | journal's thread so far | puts and gets: p99, longest, failed |",
    );
    show("| --- | --- | ---: | ---: | ---: | ---: | ---: |");
    for shape in &options.shapes {
        let mut run = Run::start(shape, &options).await?;
        let ran = run.run().await;
        ran.with_context(|| match &run.store {
            Store::Process(server) => server.log_end(),
            Store::Tiers(tiers) => tiers.logs(),
        })?;
    }
    Ok(())
}
