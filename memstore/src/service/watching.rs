//! The watchers of one client of another process, and what they are told.
//!
//! Nothing is taken from the watchers before there is room for it on the way out. So a reader that stands still
//! leaves a message or two behind, and its watchers fall back to history.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::FutureExt;
use hashbrown::HashMap;
use journal::{Clock, Revision};
use proto::memstore::{WatchChanges, WatchQuiet, WatchUpdate, WatchUpdates};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use crate::error::Error;
use crate::farewell::{Busy, Farewell};
use crate::watch::{Update, WatchSpec, WatchStream, WatcherKey};
use crate::wire::watching::{
    Wish, read_wish, write_closed, write_compacted, write_events, write_moved, write_told,
};

/// About where a message ends. A larger event travels alone.
const MESSAGE_BYTES: usize = 32 << 10;
/// What an update needs besides its events, about.
const UPDATE_BYTES: usize = 32;

/// How often those to whom nothing happens are told how far they were told: whoever goes on elsewhere begins there,
/// and not with what may be compacted by then.
const QUIET_EVERY: Duration = Duration::from_millis(500);
/// Watchers that are named as busy. Where there are more, the next round will do.
const EXCEPT_MAX: usize = 1_024;

type Sender = mpsc::Sender<Result<WatchUpdates, Status>>;

pub(super) struct Watching {
    stream: WatchStream,
    cluster: u64,
    changes: Streaming<WatchChanges>,
    /// The caller's names for watchers, and ours.
    keys: HashMap<u64, WatcherKey>,
    watchers: HashMap<WatcherKey, Named>,
    /// The last that was added.
    last: u64,
    clock: Arc<dyn Clock>,
    /// What was last told of those to whom nothing happens.
    quiet: Option<(Revision, u64)>,
    /// Refusals, which go before everything else.
    refused: Vec<WatchUpdate>,
    farewell: Farewell,
    busy: Busy,
}

struct Named {
    watcher: u64,
    prev_kv: bool,
}

impl Watching {
    pub(super) fn new(
        stream: WatchStream,
        cluster: u64,
        changes: Streaming<WatchChanges>,
        clock: Arc<dyn Clock>,
        farewell: Farewell,
    ) -> Watching {
        let (keys, watchers, refused) = (HashMap::new(), HashMap::new(), Vec::new());
        let (last, quiet, busy) = (0, None, farewell.busy());
        Watching { stream, cluster, changes, keys, watchers, last, clock, quiet, refused, farewell, busy }
    }

    /// Until the caller is gone, or the memstore closes.
    pub(super) async fn run(mut self, out: Sender) {
        if let Err(refusal) = self.tell(&out).await {
            drop(out.send(Err(refusal)).await);
        }
    }

    async fn tell(&mut self, out: &Sender) -> Result<(), Status> {
        let mut quiet = self.clock.until(self.clock.now() + QUIET_EVERY);
        let (farewell, clock) = (self.farewell.clone(), self.clock.clone());
        let mut go = std::pin::pin!(farewell.watchers_go(&*clock));
        let mut went = false;
        loop {
            self.busy.is(self.keys.len());
            let room = tokio::select! {
                message = self.changes.message() => {
                    if !self.change(message?)? {
                        return Ok(());
                    }
                    continue;
                }
                room = out.reserve() => match room {
                    Ok(room) => room,
                    Err(_) => return Ok(()),
                },
            };
            if !self.refused.is_empty() {
                let updates = std::mem::take(&mut self.refused);
                room.send(Ok(WatchUpdates { updates, quiet: None }));
                continue;
            }
            let update = tokio::select! {
                biased;
                message = self.changes.message() => {
                    if !self.change(message?)? {
                        return Ok(());
                    }
                    continue;
                }
                () = out.closed() => return Ok(()),
                () = &mut quiet => {
                    quiet = self.clock.until(self.clock.now() + QUIET_EVERY);
                    if let Some(message) = self.quiet() {
                        room.send(Ok(message));
                    }
                    continue;
                }
                () = &mut go, if !went => {
                    went = true;
                    drop(room);
                    for message in self.go() {
                        if out.send(Ok(message)).await.is_err() {
                            return Ok(());
                        }
                    }
                    continue;
                }
                update = self.stream.next() => update,
            };
            drop(room);
            let is_closed = matches!(update, Update::Closed);
            for message in self.messages(update) {
                if out.send(Ok(message)).await.is_err() {
                    return Ok(());
                }
            }
            if is_closed {
                return Ok(());
            }
        }
    }

    /// `None`: there is nothing new to be said.
    fn quiet(&mut self) -> Option<WatchUpdates> {
        let (told, except) = self.stream.quiet()?;
        if except.len() > EXCEPT_MAX || self.quiet == Some((told, self.last)) && except.is_empty() {
            return None;
        }
        self.quiet = Some((told, self.last));
        let named = except.iter().filter_map(|key| Some(self.watchers.get(key)?.watcher));
        let quiet = Some(WatchQuiet { told: told.0, last: self.last, except: named.collect() });
        Some(WatchUpdates { updates: Vec::new(), quiet })
    }

    /// All that are here now are told that they have moved. Those that come back are served as ever.
    fn go(&mut self) -> Vec<WatchUpdates> {
        self.keys.clear();
        let all: Vec<(WatcherKey, Named)> = self.watchers.drain().collect();
        let moved = all.into_iter().map(|(key, Named { watcher, .. })| {
            // Whatever was handed out is on its way already.
            let moved = write_moved(watcher, self.stream.told(key));
            self.stream.remove(key);
            moved
        });
        let moved: Vec<WatchUpdate> = moved.collect();
        let parts = moved.chunks(MESSAGE_BYTES / UPDATE_BYTES);
        parts.map(|part| WatchUpdates { updates: part.to_vec(), quiet: None }).collect()
    }

    /// Answers whether more may come.
    fn change(&mut self, message: Option<WatchChanges>) -> Result<bool, Status> {
        let Some(WatchChanges { cluster, changes }) = message else { return Ok(false) };
        super::check(self.cluster, cluster)?;
        for change in changes {
            match read_wish(change)? {
                Wish::Add { watcher, spec } => self.add(watcher, spec)?,
                Wish::Remove { watcher } => {
                    if let Some(key) = self.keys.remove(&watcher) {
                        self.watchers.remove(&key);
                        self.stream.remove(key);
                    }
                }
                Wish::Ask { watcher, revision } => {
                    if let Some(key) = self.keys.get(&watcher) {
                        self.stream.ask(*key, revision);
                    }
                }
            }
        }
        Ok(true)
    }

    fn add(&mut self, watcher: u64, spec: WatchSpec) -> Result<(), Status> {
        if watcher <= self.last {
            return Err(Status::invalid_argument(format!("watcher {watcher} comes after {}", self.last)));
        }
        self.last = watcher;
        let (prev_kv, from) = (spec.prev_kv, spec.from);
        match self.stream.add(spec) {
            Ok(key) => {
                self.keys.insert(watcher, key);
                self.watchers.insert(key, Named { watcher, prev_kv });
            }
            Err(Error::Compacted { compacted }) => self.refused.push(write_compacted(watcher, compacted)),
            // Whoever asks looks where the keys are now.
            Err(_) => self.refused.push(write_moved(watcher, Revision(from.0.saturating_sub(1)))),
        }
        Ok(())
    }

    /// The update, and those that follow at once, in messages of a bounded size.
    fn messages(&mut self, first: Update) -> Vec<WatchUpdates> {
        let (mut messages, mut bytes) = (vec![WatchUpdates::default()], 0);
        let mut next = Some(first);
        while let Some(update) = next {
            for (update, size) in self.cut(update) {
                if bytes > 0 && bytes + size > MESSAGE_BYTES {
                    messages.push(WatchUpdates::default());
                    bytes = 0;
                }
                bytes += size;
                messages.last_mut().expect("there is one").updates.push(update);
            }
            let full = messages.len() > 1 || bytes >= MESSAGE_BYTES / 2;
            next = if full { None } else { self.stream.next().now_or_never() };
        }
        messages
    }

    /// Pieces of about the size of a message, and their sizes.
    fn cut(&mut self, update: Update) -> Vec<(WatchUpdate, usize)> {
        let alone = |update: WatchUpdate| vec![(update, UPDATE_BYTES)];
        match update {
            Update::Events { watcher: key, events, upto } => {
                let Some(Named { watcher, prev_kv }) = self.watchers.get(&key) else { return Vec::new() };
                let (mut pieces, mut from, mut bytes) = (Vec::new(), 0, UPDATE_BYTES);
                for (place, event) in events.iter().enumerate() {
                    let size = event.wire(*prev_kv).len() + UPDATE_BYTES;
                    if from < place && bytes + size > MESSAGE_BYTES {
                        pieces.push((write_events(*watcher, &events[from..place], *prev_kv, None), bytes));
                        (from, bytes) = (place, UPDATE_BYTES);
                    }
                    bytes += size;
                }
                pieces.push((write_events(*watcher, &events[from..], *prev_kv, Some(upto)), bytes));
                pieces
            }
            Update::Told { watcher: key, upto } => match self.watchers.get(&key) {
                Some(named) => alone(write_told(named.watcher, upto)),
                None => Vec::new(),
            },
            Update::Compacted { watcher: key, compacted } => match self.gone(key) {
                Some(watcher) => alone(write_compacted(watcher, compacted)),
                None => Vec::new(),
            },
            Update::Moved { watcher: key, upto } => match self.gone(key) {
                Some(watcher) => alone(write_moved(watcher, upto)),
                None => Vec::new(),
            },
            Update::Closed => alone(write_closed()),
        }
    }

    fn gone(&mut self, key: WatcherKey) -> Option<u64> {
        let Named { watcher, .. } = self.watchers.remove(&key)?;
        self.keys.remove(&watcher);
        Some(watcher)
    }
}
