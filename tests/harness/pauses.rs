//! Longest pauses of a process's threads, as its `/metrics` tell them, and what a light load sees of them meanwhile.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use parking_lot::Mutex;
use proto::etcdserverpb::{PutRequest, RangeRequest, WatchCreateRequest};
use tokio_stream::StreamExt;

use crate::clients::Clients;
use crate::server::Server;

/// Time between two puts, and between two gets, of the light load.
const INTERVAL: Duration = Duration::from_millis(10);
/// Keys of the light load.
const KEYS: u64 = 1_000;

/// Figures of one thread's pauses since the start of its process.
#[derive(Clone, Debug, Default)]
pub struct Pauses {
    /// Longest pause in seconds; `None` where the process does not tell it.
    longest: Option<f64>,
    /// Upper bounds in seconds and the number of pauses up to each.
    buckets: Vec<(f64, f64)>,
}

impl Pauses {
    /// # Errors
    /// When the process does not answer.
    pub fn of_memstore(server: &Server) -> Result<Pauses> {
        Pauses::read(server, "mainstem_memstore_pause_seconds", "mainstem_memstore_longest_pause_seconds")
    }

    /// # Errors
    /// When the process does not answer.
    pub fn of_sequencer(server: &Server) -> Result<Pauses> {
        let turns = "mainstem_journal_sequencer_turn_duration_seconds";
        Pauses::read(server, turns, "mainstem_journal_sequencer_longest_turn_seconds")
    }

    /// Pauses of all tasks of the journal's thread.
    ///
    /// # Errors
    /// When the process does not answer.
    pub fn of_journal(server: &Server) -> Result<Pauses> {
        Pauses::read(server, "mainstem_journal_pause_seconds", "mainstem_journal_longest_pause_seconds")
    }

    fn read(server: &Server, histogram: &str, gauge: &str) -> Result<Pauses> {
        let page = page(server)?;
        let buckets = page.lines().filter_map(|line| {
            let (bound, count) =
                line.strip_prefix(histogram)?.strip_prefix("_bucket{le=\"")?.split_once("\"} ")?;
            Some((bound.replace("+Inf", "inf").parse().ok()?, count.parse().ok()?))
        });
        Ok(Pauses { longest: value(&page, gauge), buckets: buckets.collect() })
    }

    /// Longest pause since `before`, which was read from the same process.
    #[must_use]
    pub fn since(&self, before: &Pauses) -> Longest {
        if let Some(longest) =
            self.longest.filter(|longest| before.longest.is_none_or(|before| before < *longest))
        {
            return Longest::Exactly(longest);
        }
        let earlier = |bound: f64| {
            before.buckets.iter().find(|(other, _)| *other == bound).map_or(0.0, |(_, count)| *count)
        };
        let mut below = 0.0;
        let mut highest = None;
        for (bound, count) in &self.buckets {
            let new = count - earlier(*bound);
            if below < new {
                highest = Some(*bound);
            }
            below = new;
        }
        highest.map_or(Longest::Untold, Longest::AtMost)
    }
}

/// Longest pause of a step, in seconds.
#[derive(Clone, Copy, Debug)]
pub enum Longest {
    Exactly(f64),
    AtMost(f64),
    Untold,
}

impl fmt::Display for Longest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Longest::Exactly(seconds) => write!(out, "{:.1} ms", seconds * 1e3),
            Longest::AtMost(seconds) => write!(out, "≤ {} ms", seconds * 1e3),
            Longest::Untold => write!(out, "–"),
        }
    }
}

/// Returns the value of a metric without labels; `None` where there is none.
///
/// # Errors
/// When the process does not answer.
pub fn figure(server: &Server, name: &str) -> Result<Option<f64>> {
    Ok(value(&page(server)?, name))
}

fn page(server: &Server) -> Result<String> {
    let mut answer = ureq::get(format!("{}/metrics", server.endpoint())).call()?;
    Ok(answer.body_mut().with_config().limit(64 << 20).read_to_string()?)
}

fn value(page: &str, name: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

/// Latencies of the light load's puts and gets.
#[derive(Debug, Default)]
struct Latencies {
    taken: Vec<Duration>,
    failed: usize,
}

/// Light load: a put and a get every ten milliseconds, and a watcher of all keys, on a thread of their own.
pub struct Background {
    latencies: Arc<Mutex<Latencies>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// # Errors
    /// When there is no thread left, or `endpoint` is no URL.
    pub fn start(endpoint: &str) -> Result<Background> {
        let (latencies, ends) = (Arc::<Mutex<Latencies>>::default(), Arc::<AtomicBool>::default());
        let clients = endpoint.to_owned();
        let (shared, stop) = (latencies.clone(), ends.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let run = move || runtime.block_on(load(&clients, &shared, &stop));
        let thread = std::thread::Builder::new().name("light load".to_owned()).spawn(run)?;
        Ok(Background { latencies, ends, thread: Some(thread) })
    }

    /// Returns p99, longest and number of failures since the last call, as a cell of a table.
    #[must_use]
    pub fn seen(&self) -> String {
        let Latencies { mut taken, failed } = std::mem::take(&mut *self.latencies.lock());
        taken.sort_unstable();
        let at = |share: usize| taken.get((taken.len() * share / 100).min(taken.len().saturating_sub(1)));
        let ms = |latency: Option<&Duration>| latency.map_or(0.0, |latency| latency.as_secs_f64() * 1e3);
        format!("{:.1} ms, {:.0} ms, {failed}", ms(at(99)), ms(taken.last()))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn load(endpoint: &str, latencies: &Arc<Mutex<Latencies>>, ends: &AtomicBool) {
    let Ok(clients) = Clients::new(endpoint) else { return };
    tokio::spawn(watch(clients.clone()));
    let mut ticks = tokio::time::interval(INTERVAL);
    let mut number = 0;
    while !ends.load(Ordering::Relaxed) {
        ticks.tick().await;
        number += 1;
        let key = Bytes::from(format!("light/{:06}", number % KEYS));
        let (mut put, mut get) = (clients.kv.clone(), clients.kv.clone());
        let request =
            PutRequest { key: key.clone(), value: Bytes::from_static(b"v"), ..PutRequest::default() };
        let shared = latencies.clone();
        tokio::spawn(async move {
            let (began, put) = (Instant::now(), put.put(request).await);
            shared.lock().note(began, put.is_ok());
        });
        let request = RangeRequest { key, ..RangeRequest::default() };
        let shared = latencies.clone();
        tokio::spawn(async move {
            let (began, get) = (Instant::now(), get.range(request).await);
            shared.lock().note(began, get.is_ok());
        });
    }
}

/// Watches all keys for as long as the thread runs, again after each loss.
async fn watch(clients: Clients) {
    loop {
        let create = WatchCreateRequest {
            key: Bytes::from_static(b"\0"),
            range_end: Bytes::from_static(b"\0"),
            ..WatchCreateRequest::default()
        };
        if let Ok(mut stream) = clients.watching(create).await {
            while let Some(Ok(_)) = stream.next().await {}
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

impl Latencies {
    fn note(&mut self, began: Instant, succeeded: bool) {
        if succeeded { self.taken.push(began.elapsed()) } else { self.failed += 1 }
    }
}
