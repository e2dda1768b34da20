//! The steady load: so many writes a second are begun, whatever the cluster does.
//!
//! It runs on a thread of its own, so that the hands which kill and start members do not disturb it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::RECOVERY_MAX;
use super::client::Client;
use super::record::Record;

/// Clients that share the load. Each is connected to every member.
const CLIENTS: u64 = 6;
/// What is due is begun so often.
const TICK: Duration = Duration::from_millis(2);

pub(super) struct Load {
    record: Arc<Mutex<Record>>,
    ends: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

impl Load {
    pub(super) fn start(endpoints: &[String], prefix: &str, writes_per_second: u32) -> Result<Load> {
        let (record, ends) = (Arc::<Mutex<Record>>::default(), Arc::<AtomicBool>::default());
        let (endpoints, prefix) = (endpoints.to_vec(), prefix.to_owned());
        let (shared, stop) = (record.clone(), ends.clone());
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(begin(&endpoints, &prefix, writes_per_second, &shared, &stop))
        };
        let thread = std::thread::Builder::new().name("load".to_owned()).spawn(run)?;
        Ok(Load { record, ends, thread })
    }

    /// Waits until a write is acknowledged that was begun so much later than `moment`.
    pub(super) async fn progress(&self, moment: Instant, later: Duration) -> Result<()> {
        let (upto, deadline) = (moment + later, Instant::now() + later + RECOVERY_MAX);
        while Instant::now() < deadline {
            if self.record.lock().newest.is_some_and(|newest| upto < newest) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bail!("nothing is acknowledged any more: {:?}", self.record.lock().complaints)
    }

    /// Begins nothing more, and returns when every write is acknowledged or given up.
    pub(super) async fn end(self) -> Result<Record> {
        self.ends.store(true, Ordering::Relaxed);
        let thread = tokio::task::spawn_blocking(move || self.thread.join());
        thread.await?.ok().context("the load has panicked")??;
        Ok(std::mem::take(&mut *self.record.lock()))
    }
}

async fn begin(
    endpoints: &[String],
    prefix: &str,
    writes_per_second: u32,
    record: &Arc<Mutex<Record>>,
    ends: &AtomicBool,
) -> Result<()> {
    let clients =
        (0..CLIENTS).map(|_| Client::new(endpoints, prefix).map(Arc::new)).collect::<Result<Vec<_>>>()?;
    let interval = Duration::from_secs(1) / writes_per_second;
    let mut writes = JoinSet::new();
    let mut due = Instant::now();
    let mut numbers = 0_u64..;
    while !ends.load(Ordering::Relaxed) {
        while due <= Instant::now() {
            let number = numbers.next().context("numbers do not end")?;
            let client = clients[usize::try_from(number % CLIENTS)?].clone();
            let record = record.clone();
            writes.spawn(async move { client.write(number, due, record).await });
            due += interval;
        }
        while writes.try_join_next().is_some() {}
        tokio::time::sleep(TICK).await;
    }
    writes.join_all().await;
    Ok(())
}
