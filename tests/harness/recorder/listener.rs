//! A client that watches over one endpoint after the other, and notes what it is told.
//!
//! It asks for progress now and then, and goes elsewhere now and then: what it was told lastly says where it begins.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use parking_lot::Mutex;
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{PATIENCE, Recorder};
use crate::watched::{Session, Watching};

/// Between two questions for progress.
const ASKS_EVERY: Duration = Duration::from_millis(250);

/// How long a stream is listened to, at most, in milliseconds.
const STAYS_MS_MAX: u64 = 4_000;

/// Between two tries to reach an endpoint.
const PAUSE: Duration = Duration::from_millis(50);

pub struct Listener {
    watching: Arc<Mutex<Watching>>,
    /// The revision up to which everything was told; none is too high for one that a compaction has ended.
    told: watch::Receiver<i64>,
    task: JoinHandle<()>,
}

impl Listener {
    /// Begins to watch, at an endpoint that chance says, and another one each few seconds.
    #[must_use]
    pub fn begin(recorder: &Recorder, name: &str, create: WatchCreateRequest, seed: u64) -> Listener {
        Listener::new(recorder, name, create, StdRng::seed_from_u64(seed), None)
    }

    /// Begins to watch at this endpoint, and stays there.
    #[must_use]
    pub fn begin_at(
        recorder: &Recorder,
        name: &str,
        create: WatchCreateRequest,
        endpoint: usize,
    ) -> Listener {
        Listener::new(recorder, name, create, StdRng::seed_from_u64(0), Some(endpoint))
    }

    fn new(
        recorder: &Recorder,
        name: &str,
        create: WatchCreateRequest,
        chance: StdRng,
        endpoint: Option<usize>,
    ) -> Listener {
        let watching = Watching { name: name.to_owned(), create, sessions: Vec::new() };
        let (watching, (tell, told)) = (Arc::new(Mutex::new(watching)), watch::channel(0));
        let listening =
            Listening { recorder: recorder.clone(), watching: watching.clone(), tell, chance, endpoint };
        Listener { watching, told, task: tokio::spawn(listening.run()) }
    }

    /// How far that is, as it goes on.
    #[must_use]
    pub fn told(&self) -> watch::Receiver<i64> {
        self.told.clone()
    }

    /// Waits until it was told everything up to `revision`.
    ///
    /// # Errors
    /// When that does not happen in time.
    pub async fn told_upto(&self, revision: i64, within: Duration) -> Result<()> {
        let mut told = self.told.clone();
        let all = tokio::time::timeout(within, told.wait_for(|told| revision <= *told)).await;
        all.with_context(|| {
            format!("{} was told up to {}, not {revision}", self.watching.lock().name, *self.told.borrow())
        })??;
        Ok(())
    }

    /// Ends it, and answers what it was told.
    #[must_use]
    pub fn end(self) -> Watching {
        self.watching.lock().clone()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Listening {
    recorder: Recorder,
    watching: Arc<Mutex<Watching>>,
    tell: watch::Sender<i64>,
    chance: StdRng,
    /// Where it stays.
    endpoint: Option<usize>,
}

impl Listening {
    async fn run(mut self) {
        while !self.has_ended() {
            let chance = &mut self.chance;
            let elsewhere = chance.random_range(0..self.recorder.endpoints());
            let stays = Duration::from_millis(chance.random_range(0..STAYS_MS_MAX));
            let (endpoint, stays) =
                self.endpoint.map_or((elsewhere, stays), |endpoint| (endpoint, Duration::MAX));
            let start = self.watching.lock().next();
            let opened = self.recorder.now();
            if let Ok(Ok((asks, stream))) = tokio::time::timeout(PATIENCE, self.open(endpoint, start)).await {
                let session = Session { endpoint, opened, start, responses: Vec::new() };
                self.watching.lock().sessions.push(session);
                let _ = tokio::time::timeout(stays, self.listen(asks, stream)).await;
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.tell.send_replace(i64::MAX);
    }

    /// Below what is compacted nothing more is told.
    fn has_ended(&self) -> bool {
        let watching = self.watching.lock();
        let last = watching.sessions.last().and_then(|session| session.responses.last());
        last.is_some_and(|(_, response)| response.compact_revision > 0)
    }

    async fn open(
        &self,
        endpoint: usize,
        start: i64,
    ) -> Result<(mpsc::Sender<WatchRequest>, Streaming<WatchResponse>)> {
        let create = WatchCreateRequest { start_revision: start, ..self.watching.lock().create.clone() };
        let (asks, requests) = mpsc::channel(4);
        asks.send(WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }).await?;
        let mut client = self.recorder.endpoints[endpoint].watch.clone();
        Ok((asks, client.watch(ReceiverStream::new(requests)).await?.into_inner()))
    }

    async fn listen(&self, asks: mpsc::Sender<WatchRequest>, mut stream: Streaming<WatchResponse>) {
        let mut asking = tokio::time::interval(ASKS_EVERY);
        loop {
            tokio::select! {
                response = stream.message() => match response {
                    Ok(Some(response)) => self.note(response),
                    Ok(None) | Err(_) => return,
                },
                _ = asking.tick() => {
                    let progress = RequestUnion::ProgressRequest(WatchProgressRequest {});
                    // Full: the endpoint does not read. It is asked later.
                    let _ = asks.try_send(WatchRequest { request_union: Some(progress) });
                }
            }
        }
    }

    fn note(&self, response: WatchResponse) {
        let mut watching = self.watching.lock();
        let at = self.recorder.now();
        let session = watching.sessions.last_mut().expect("a session was begun");
        session.responses.push((at, response));
        self.tell.send_replace(watching.next() - 1);
    }
}
