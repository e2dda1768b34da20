//! One watcher on one store: what it was told, in order.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use proto::etcdserverpb::watch_create_request::FilterType;
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse};
use proto::mvccpb::event::EventType;
use proto::mvccpb::{Event, KeyValue};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;

use super::outcome::blank;
use crate::clients::Clients;

/// How long a store may take to tell what it owes. Only a store that tells too little takes that long.
const TOLD_MAX: Duration = Duration::from_secs(20);

const ASK_AGAIN: Duration = Duration::from_millis(20);
/// The id of a progress answer that was asked for.
const ALL_WATCHERS: i64 = -1;

/// A watcher and everything it was told.
pub struct Watching {
    create: WatchCreateRequest,
    created: WatchResponse,
    answers: Arc<Mutex<Vec<WatchResponse>>>,
    grown: watch::Receiver<usize>,
    requests: mpsc::Sender<WatchRequest>,
}

impl Watching {
    /// Begins to watch, and waits for the answer to that.
    ///
    /// # Errors
    /// When the stream breaks.
    pub async fn open(clients: &Clients, create: WatchCreateRequest) -> Result<Watching> {
        let (requests, receiver) = mpsc::channel(4);
        let request_union = Some(RequestUnion::CreateRequest(create.clone()));
        requests.send(WatchRequest { request_union }).await?;
        let mut stream = clients.watch.clone().watch(ReceiverStream::new(receiver)).await?.into_inner();
        let mut created = stream.message().await?.context("the watch ended")?;
        blank(&mut created.header);
        let answers = Arc::new(Mutex::new(Vec::new()));
        let (grow, grown) = watch::channel(0);
        let store = answers.clone();
        tokio::spawn(async move {
            while let Ok(Some(mut answer)) = stream.message().await {
                blank(&mut answer.header);
                store.lock().expect("nobody panics").push(answer);
                grow.send_modify(|count| *count += 1);
            }
        });
        Ok(Watching { create, created, answers, grown, requests })
    }

    /// The answer to the creation.
    #[must_use]
    pub fn created(&self) -> &WatchResponse {
        &self.created
    }

    /// Waits until the store has this watcher up to date, so that a compaction no longer ends it. A store that
    /// is not there yet says nothing when it is asked, so it is asked again.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn caught_up(&self) -> Result<()> {
        let told = |answer: &WatchResponse| answer.watch_id == ALL_WATCHERS && !answer.canceled;
        let mut grown = self.grown.clone();
        let until = tokio::time::Instant::now() + TOLD_MAX;
        while !self.ended() && !self.answers.lock().expect("nobody panics").iter().any(told) {
            ensure!(tokio::time::Instant::now() < until, "never caught up: {:?}", self.create);
            let request_union = Some(RequestUnion::ProgressRequest(WatchProgressRequest {}));
            self.requests.send(WatchRequest { request_union }).await?;
            let _ = tokio::time::timeout(ASK_AGAIN, grown.changed()).await;
        }
        Ok(())
    }

    /// The revision of the last answer that said how far it was told, if it was asked.
    #[must_use]
    pub fn progress(&self) -> Option<i64> {
        let answers = self.answers.lock().expect("nobody panics");
        let told = answers.iter().rfind(|answer| answer.watch_id == ALL_WATCHERS && !answer.canceled)?;
        told.header.as_ref().map(|header| header.revision)
    }

    /// Whether it waits for a revision after `current`.
    #[must_use]
    pub fn waits_for_the_future(&self, current: i64) -> bool {
        self.create.start_revision > current
    }

    /// The events that this watcher is owed, out of every event there was.
    #[must_use]
    pub fn owed(&self, log: &[Event]) -> usize {
        let from = match self.create.start_revision {
            0 => self.created.header.as_ref().map_or(0, |header| header.revision) + 1,
            start => start,
        };
        let wanted = |event: &&Event| {
            let Some(kv) = &event.kv else { return false };
            let filter = match event.r#type() {
                EventType::Put => FilterType::Noput,
                EventType::Delete => FilterType::Nodelete,
            };
            kv.mod_revision >= from && self.covers(kv) && !self.create.filters.contains(&(filter as i32))
        };
        log.iter().filter(wanted).count()
    }

    fn covers(&self, kv: &KeyValue) -> bool {
        let key = if self.create.key.is_empty() { &b"\0"[..] } else { &self.create.key[..] };
        match &self.create.range_end[..] {
            [] => kv.key == key,
            [0] => kv.key[..] >= *key,
            end => kv.key[..] >= *key && kv.key[..] < *end,
        }
    }

    /// Waits for `owed` events, or for the end of the watcher, and answers what it was told: the events, and
    /// the last answer where that ended it.
    ///
    /// # Errors
    /// When too little comes, or a revision is torn over several answers.
    pub async fn told(&self, owed: usize) -> Result<(Vec<Event>, Option<WatchResponse>)> {
        let mut grown = self.grown.clone();
        let complete = async {
            loop {
                if self.ended() || self.events().len() >= owed {
                    return;
                }
                if grown.changed().await.is_err() {
                    return;
                }
            }
        };
        if tokio::time::timeout(TOLD_MAX, complete).await.is_err() {
            bail!("{} of {owed} events came: {:?}", self.events().len(), self.create);
        }
        self.whole()?;
        let end = self.answers.lock().expect("nobody panics").iter().find(|answer| answer.canceled).cloned();
        Ok((self.events(), end))
    }

    fn ended(&self) -> bool {
        self.created.canceled
            || self.answers.lock().expect("nobody panics").iter().any(|answer| answer.canceled)
    }

    fn events(&self) -> Vec<Event> {
        self.answers.lock().expect("nobody panics").iter().flat_map(|answer| answer.events.clone()).collect()
    }

    /// All events of a revision come in one answer, unless the client asked for fragments, and no answer's header
    /// lags behind its events.
    fn whole(&self) -> Result<()> {
        let revision = |event: &Event| event.kv.as_ref().map(|kv| kv.mod_revision);
        let answers = self.answers.lock().expect("nobody panics");
        let with_events: Vec<&WatchResponse> =
            answers.iter().filter(|answer| !answer.events.is_empty()).collect();
        for answer in &with_events {
            let header = answer.header.as_ref().map_or(0, |header| header.revision);
            let last = answer.events.last().and_then(revision).unwrap_or_default();
            ensure!(last <= header, "an answer of {header} tells of {last}");
        }
        for pair in with_events.windows(2) {
            let torn = pair[0].events.last().and_then(revision) == pair[1].events.first().and_then(revision);
            ensure!(!torn || pair[0].fragment, "a revision is torn over two answers: {pair:?}");
        }
        Ok(())
    }
}

/// Everything a watcher of all keys from the start was told, up to `revision`.
///
/// # Errors
/// When the stream breaks or too little comes.
pub async fn told(everything: &Watching, revision: i64) -> Result<Vec<Event>> {
    let mut grown = everything.grown.clone();
    let complete = async {
        loop {
            let events = everything.events();
            let last = events.last().and_then(|event| event.kv.as_ref()).map_or(0, |kv| kv.mod_revision);
            if last >= revision {
                return events;
            }
            if grown.changed().await.is_err() {
                return events;
            }
        }
    };
    tokio::time::timeout(TOLD_MAX, complete).await.context("the watcher of everything lags")
}
