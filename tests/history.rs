//! Random clients against real processes that are killed and frozen, and everything that they were told, judged: by
//! revisions, key by key, and what watchers heard.
//!
//! `HISTORY_SECONDS` (18) for each kind of store, and `HISTORY_SEED` (of this moment, and printed) are read from the environment.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::cluster::Cluster;
use harness::compat::{Outcome, Request};
use harness::environment;
use harness::history::{Operation, revision};
use harness::recorder::{Listener, Recorder, judge};
use harness::server::{Kind, Server};
use harness::tiers::{Shape, Tiers};
use harness::watched::Watching;
use harness::workload::Workload;
use proto::etcdserverpb::watch_create_request::FilterType;
use proto::etcdserverpb::{RangeRequest, WatchCreateRequest};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const CLIENTS: u32 = 8;

/// How long a store may take until it has told everybody everything.
const SETTLES_MAX: Duration = Duration::from_secs(30);

/// Stores would take the machine from each other.
static MACHINE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Something whose processes may die and freeze.
enum Store {
    Members(Cluster),
    Tiers(Tiers),
}

impl Store {
    fn endpoints(&self) -> Vec<String> {
        match self {
            Store::Members(cluster) => cluster.endpoints(),
            Store::Tiers(tiers) => tiers.endpoints(),
        }
    }

    fn processes(&self) -> usize {
        match self {
            Store::Members(cluster) => cluster.endpoints().len(),
            Store::Tiers(tiers) => tiers.all().len(),
        }
    }

    fn process(&mut self, at: usize) -> &mut Server {
        match self {
            Store::Members(cluster) => cluster.member_mut(at),
            Store::Tiers(tiers) => tiers.server_mut(tiers.all()[at]),
        }
    }

    fn logs(&mut self) -> String {
        (0..self.processes()).map(|at| format!("-- {at}\n{}\n", self.process(at).log_end())).collect()
    }

    /// One process stands still for a while, or one or all are killed and started again.
    async fn suffer(&mut self, chance: &mut StdRng) -> Result<()> {
        let (count, one) = (self.processes(), chance.random_range(0..self.processes()));
        let while_away = Duration::from_millis(chance.random_range(0..2_000));
        let kind = chance.random_range(0..7);
        if kind < 3 {
            self.process(one).freeze()?;
            // How long is the experiment: there is nothing to wait for.
            tokio::time::sleep(while_away).await;
            return self.process(one).thaw();
        }
        let victims = if kind < 6 { one..one + 1 } else { 0..count };
        victims.clone().try_for_each(|at| self.process(at).kill())?;
        tokio::time::sleep(while_away).await;
        victims.clone().try_for_each(|at| self.process(at).spawn())?;
        victims.clone().try_for_each(|at| self.process(at).await_answer())
    }
}

fn watch(key: &str, end: &str, more: WatchCreateRequest) -> WatchCreateRequest {
    WatchCreateRequest { key: key.to_owned().into(), range_end: end.to_owned().into(), ..more }
}

/// What is watched: everything twice, of which one needs all that was before; parts, and with filters.
fn wishes() -> Vec<WatchCreateRequest> {
    let begun = WatchCreateRequest { start_revision: 1, ..WatchCreateRequest::default() };
    let full = WatchCreateRequest { prev_kv: true, ..begun.clone() };
    vec![
        watch("\0", "\0", full.clone()),
        watch("\0", "\0", begun.clone()),
        watch("a", "", full.clone()),
        watch("b", "m", WatchCreateRequest { fragment: true, ..full.clone() }),
        watch("k", "\0", WatchCreateRequest { filters: vec![FilterType::Noput.into()], ..full }),
        watch("/", "z", WatchCreateRequest { filters: vec![FilterType::Nodelete.into()], ..begun }),
        watch("k1", "z", WatchCreateRequest { progress_notify: true, ..WatchCreateRequest::default() }),
    ]
}

fn listen(recorder: &Recorder, wishes: Vec<WatchCreateRequest>, seed: u64) -> Vec<Listener> {
    let named = (seed..).zip(wishes);
    named.map(|(seed, wish)| Listener::begin(recorder, &format!("watcher {seed:x}"), wish, seed)).collect()
}

/// Reads everything over each endpoint, and answers the last revision.
async fn settle(recorder: &Recorder) -> Result<i64> {
    let everything =
        RangeRequest { key: vec![0].into(), range_end: vec![0].into(), ..RangeRequest::default() };
    let (deadline, mut last) = (Instant::now() + SETTLES_MAX, 0);
    for endpoint in 0..recorder.endpoints() {
        loop {
            let told = recorder.ask(u32::MAX, endpoint, Request::Range(everything.clone())).await;
            if let Some(Outcome::Range(answer)) = told {
                last = last.max(answer.header.map_or(0, |header| header.revision));
                break;
            }
            ensure!(Instant::now() < deadline, "endpoint {endpoint} does not answer: {told:?}");
        }
    }
    Ok(last)
}

async fn run(store: &mut Store, seed: u64) -> Result<()> {
    let recorder = Recorder::new(&store.endpoints())?;
    let mut listeners = listen(&recorder, wishes(), seed);
    let witnesses = [listeners[0].told(), listeners[1].told()];
    let workload = Workload::begin(&recorder, CLIENTS, seed, &witnesses);
    let mut chance = StdRng::seed_from_u64(seed);
    let ends = Instant::now() + Duration::from_secs(environment::number("HISTORY_SECONDS").unwrap_or(18));
    let mut faults = 0;
    while Instant::now() < ends {
        tokio::time::sleep(Duration::from_millis(chance.random_range(200..1_500))).await;
        store.suffer(&mut chance).await?;
        faults += 1;
    }
    workload.end().await?;
    // Leases that end by themselves would be later than the end.
    let upto = settle(&recorder).await?;
    // From the beginning, of which some may be compacted by now.
    listeners.extend(listen(&recorder, wishes(), seed + 0x100));
    for listener in &listeners {
        listener.told_upto(upto, SETTLES_MAX).await?;
    }
    let watchings: Vec<Watching> = listeners.into_iter().map(Listener::end).collect();
    let history = recorder.history();
    let began = Instant::now();
    let judged = judge(&history, &watchings, upto)?;
    eprintln!("{faults} faults, {judged:?}, judged in {:?}", began.elapsed());
    ensure!(judged.answered > 200 && judged.events > 200, "that was no load");
    lies_are_found(&history, &watchings, upto)
}

/// The same history with one lie: a judge that finds none of these has judged nothing.
fn lies_are_found(history: &[Operation], watchings: &[Watching], upto: i64) -> Result<()> {
    let middle = history.len() / 2;
    let write = (middle..).find(|at| harness::history::wrote(&history[*at]).is_some()).context("a write")?;
    let mut unsaid = history.to_vec();
    let lost = unsaid.remove(write);
    ensure!(judge(&unsaid, watchings, upto).is_err(), "nobody missed {lost}");

    let is_read =
        |operation: &Operation| matches!(operation.call.request, Request::Range(_)) && operation.is_ok();
    let read = (middle..).find(|at| is_read(&history[*at])).context("a read")?;
    let mut late = history.to_vec();
    let before = late[read].invoked;
    let behind = history.iter().map(|operation| operation.invoked).max().context("operations")?;
    let stale = &mut late[read];
    let answer = stale.answer().context("it was answered")?.clone();
    stale.outcome = harness::history::Outcome::Ok { at: behind + before, answer };
    stale.invoked = behind;
    ensure!(
        revision(stale) == Some(upto) || judge(&late, watchings, upto).is_err(),
        "nobody saw that it is stale: {stale}",
        stale = late[read]
    );

    let mut deaf = watchings.to_vec();
    let responses = deaf
        .iter_mut()
        .skip(2)
        .flat_map(|watching| &mut watching.sessions)
        .map(|session| &mut session.responses);
    let told = responses.flatten().find(|(_, response)| response.events.len() == 1).context("an event")?;
    told.1.events.clear();
    ensure!(judge(history, &deaf, upto).is_err(), "nobody missed an event");
    Ok(())
}

async fn judged(mut store: Store) -> Result<()> {
    let seed = environment::seed("HISTORY_SEED");
    eprintln!("HISTORY_SEED={seed}");
    run(&mut store, seed).await.with_context(|| format!("HISTORY_SEED={seed}\n{}", store.logs()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_are_one_store_whatever_dies_or_freezes() -> Result<()> {
    let _alone = MACHINE.lock().await;
    judged(Store::Members(Cluster::start(Kind::Mainstem { partitions: 5 }, 3)?)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tiers_are_one_store_whatever_dies_or_freezes() -> Result<()> {
    let _alone = MACHINE.lock().await;
    let shape = Shape { journals: 3, memstores: 2, frontends: 2, partitions: 5 };
    judged(Store::Tiers(Tiers::start(shape)?)).await
}
