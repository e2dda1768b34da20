//! One thread of the generator, with its connections, its clients and its watchers.
//!
//!     connect ──► load the keys ──► watch ──► ready ──► measure ──► await the last events

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::Error;
use super::client::{Client, Work};
use super::connection::Connection;
use super::endpoint::Endpoint;
use super::key_space::KeySpace;
use super::options::Common;
use super::pace::Pace;
use super::tally::Tally;
use super::watcher::Watcher;

/// A store that has told no watcher anything for this long will not tell the rest.
const LAST_EVENT_TIMEOUT: Duration = Duration::from_secs(5);
const LAST_EVENT_CHECK: Duration = Duration::from_millis(20);

/// What all threads are told.
pub(super) struct Plan {
    pub(super) common: Common,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) work: Work,
    pub(super) watchers: usize,
    pub(super) threads: usize,
    pub(super) space: Arc<KeySpace>,
    pub(super) stamps_from: Instant,
    /// Hands out the keys to load, if there are any.
    pub(super) loading: Option<Arc<Pace>>,
    /// Where all threads meet when their clients are done, with what they wrote.
    pub(super) written: Mutex<u64>,
    pub(super) done: Barrier,
}

/// Connected, loaded, watching.
pub(super) struct Worker {
    plan: Arc<Plan>,
    clients: Vec<Client>,
    watchers: Vec<Watcher>,
}

impl Worker {
    pub(super) async fn prepare(plan: Arc<Plan>, thread: usize) -> Result<Self, Error> {
        let mut connections = Vec::new();
        for number in (thread..plan.common.connections).step_by(plan.threads) {
            let at = number % plan.endpoints.len();
            let opened = Connection::open(plan.endpoints[at].clone()).await;
            let endpoint = || plan.common.endpoints[at].clone();
            connections.push(opened.map_err(|cause| Error::Connect { endpoint: endpoint(), cause })?);
        }
        let clients = (thread..plan.common.clients)
            .step_by(plan.threads)
            .zip(connections.iter().cycle())
            .map(|(number, connection)| plan.client(number, connection.clone()))
            .collect();
        let mut worker = Self { plan, clients, watchers: Vec::new() };
        worker.load().await?;
        for number in (thread..worker.plan.watchers).step_by(worker.plan.threads) {
            let connection = number / worker.plan.threads % connections.len();
            let opened = Watcher::open(&mut connections[connection], worker.plan.stamps_from).await;
            worker.watchers.push(opened.map_err(|failure| Error::Prepare(failure.text))?);
        }
        Ok(worker)
    }

    async fn load(&mut self) -> Result<(), Error> {
        let Some(pace) = self.plan.loading.clone() else { return Ok(()) };
        let tally = Arc::default();
        self.drive(Work::Put { sequential: true }, &pace, &tally).await;
        match tally.lock().failures.values().next() {
            Some(failures) => Err(Error::Prepare(failures.text.clone())),
            None => Ok(()),
        }
    }

    pub(super) async fn measure(mut self, pace: Arc<Pace>) -> Tally {
        let tally = Arc::default();
        let mut watching = JoinSet::new();
        let watchers = std::mem::take(&mut self.watchers);
        let mine = u64::try_from(watchers.len()).expect("a count");
        for watcher in watchers {
            watching.spawn(watcher.counts_from(pace.started()).run(Arc::clone(&tally)));
        }
        self.drive(self.plan.work, &pace, &tally).await;
        *self.plan.written.lock() += tally.lock().written();
        self.plan.done.wait().await;
        let expected = *self.plan.written.lock() * mine;
        await_events(&tally, expected, &watching).await;
        watching.shutdown().await;
        std::mem::take(&mut *tally.lock())
    }

    async fn drive(&mut self, work: Work, pace: &Arc<Pace>, tally: &Arc<Mutex<Tally>>) {
        let mut running = JoinSet::new();
        for client in self.clients.drain(..) {
            running.spawn(client.run(work, Arc::clone(pace), Arc::clone(tally)));
        }
        self.clients = running.join_all().await;
    }
}

impl Plan {
    fn client(&self, number: usize, connection: Connection) -> Client {
        let seed = self.common.seed.wrapping_add(u64::try_from(number).expect("a count") << 32);
        let space = Arc::clone(&self.space);
        Client::new(connection, space, seed, self.common.value_bytes, self.stamps_from, self.common.timeout)
    }
}

/// Waits while events still come in and some are missing.
async fn await_events(tally: &Mutex<Tally>, expected: u64, watching: &JoinSet<()>) {
    let mut quiet_since = Instant::now();
    let mut events = tally.lock().events();
    while events < expected && !watching.is_empty() && quiet_since.elapsed() < LAST_EVENT_TIMEOUT {
        tokio::time::sleep(LAST_EVENT_CHECK).await;
        let now = tally.lock().events();
        if now > events {
            (events, quiet_since) = (now, Instant::now());
        }
    }
}
