//! The watchers of one client in this process, and what there is to tell it.
//!
//! The stream's owner pulls. Whoever has something to look at stands in `ready`, once; the owner takes one
//! after the other, so a watcher that reads a long history takes turns with the rest.

use std::sync::Arc;

use journal::Revision;
use tokio_util::sync::CancellationToken;

use super::hub::Hub;
use super::shared::Shared;
use super::watcher::{Phase, Watcher};
use super::{Update, WatchLimits, WatchSpec, WatcherKey};
use crate::error::Error;
use crate::event::Event;
use crate::history::Happened;
use crate::replicas::Replicas;

/// Any number of watchers, over any partitions.
pub(crate) struct LocalStream {
    replicas: Arc<Replicas>,
    closed: CancellationToken,
    shared: Arc<Shared>,
    keys: u64,
}

/// What came of looking at one watcher.
enum Step {
    Tell(Update),
    /// A piece of history held nothing to tell.
    Read,
    Again,
    Idle,
}

impl LocalStream {
    /// After `closed` there is nothing but `Update::Closed`.
    pub(crate) fn new(replicas: Arc<Replicas>, closed: CancellationToken) -> LocalStream {
        let shared = Arc::new(Shared::new());
        LocalStream { replicas, closed, shared, keys: 0 }
    }

    /// Begins to watch.
    ///
    /// # Errors
    /// `Compacted` when the first revision to tell of is, `WrongPartition` where there is no such partition.
    pub(crate) fn add(&mut self, spec: WatchSpec) -> Result<WatcherKey, Error> {
        let replica = self.replicas.get(spec.partition)?;
        let (hub, compacted) = (replica.hub.clone(), replica.partition.compacted());
        if spec.from < compacted {
            return Err(Error::Compacted { compacted });
        }
        hub.came();
        self.keys += 1;
        let key = WatcherKey(self.keys);
        let mut state = self.shared.lock();
        state.watchers.insert(key, Watcher::new(spec, hub));
        state.queue(key);
        Ok(key)
    }

    /// Ends a watcher. What it was not handed is gone.
    pub(crate) fn remove(&mut self, key: WatcherKey) {
        let Some(watcher) = self.shared.lock().watchers.remove(&key) else { return };
        let hub = &watcher.hub;
        hub.went();
        if let Phase::Live { target } = watcher.phase() {
            hub.leave(target, &watcher.spec.keys);
        }
        if let Some(asked) = watcher.asked {
            hub.unask(&self.shared, key, asked);
        }
    }

    /// Waits until there is something to tell. May be given up and called again; nothing is lost.
    pub(crate) async fn next(&mut self) -> Update {
        loop {
            if self.closed.is_cancelled() {
                return Update::Closed;
            }
            match self.step() {
                Step::Tell(update) => return update,
                Step::Again => {}
                Step::Read => tokio::task::yield_now().await,
                Step::Idle => tokio::select! {
                    () = self.closed.cancelled() => {}
                    () = self.shared.woken() => {}
                },
            }
        }
    }

    /// Lets `next` answer `Told`, once, when the watcher was told of everything up to `revision`, also if that is
    /// nothing. Answered by `Events` that reach as far, too; a later call takes an earlier one's place.
    ///
    /// Whoever merges watchers of several partitions, or owes a client its progress, asks those that lag.
    pub(crate) fn ask(&mut self, key: WatcherKey, revision: Revision) {
        let mut state = self.shared.lock();
        let Some(watcher) = state.watchers.get_mut(&key) else { return };
        let before = watcher.asked.replace(revision);
        let hub = watcher.hub.clone();
        state.queue(key);
        drop(state);
        if let Some(before) = before {
            hub.unask(&self.shared, key, before);
        }
    }

    /// Every event up to and including this revision that the watcher wants was handed out by `next`.
    /// `Revision::ZERO` of a watcher that is gone.
    pub(crate) fn told(&self, key: WatcherKey) -> Revision {
        let state = self.shared.lock();
        state.watchers.get(&key).map_or(Revision::ZERO, |watcher| watcher.told(watcher.hub.published()))
    }

    /// Up to where every watcher was told but those that are answered with it. `None`: of those that have caught up
    /// there is none.
    pub(crate) fn quiet(&self) -> Option<(Revision, Vec<WatcherKey>)> {
        let (mut upto, mut except) = (None, Vec::new());
        for (key, watcher) in &self.shared.lock().watchers {
            if watcher.is_quiet() {
                let told = watcher.told(watcher.hub.published());
                upto = Some(upto.map_or(told, |upto: Revision| upto.min(told)));
            } else {
                except.push(*key);
            }
        }
        Some((upto?, except))
    }

    #[cfg(test)]
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Events in the buffers of live watchers, all together.
    #[cfg(test)]
    pub(super) fn buffered(&self) -> usize {
        self.shared.lock().watchers.values().map(Watcher::buffered).sum()
    }

    /// Looks at the watcher whose turn it is.
    fn step(&mut self) -> Step {
        let mut state = self.shared.lock();
        let Some(key) = state.ready.pop_front() else {
            state.woken = false;
            return Step::Idle;
        };
        let Some(watcher) = state.watchers.get_mut(&key) else { return Step::Again };
        watcher.queued = false;
        let published = watcher.hub.published();
        if let Some(taken) = watcher.take(published, watcher.hub.limits().answer_bytes()) {
            watcher.asked.take_if(|asked| *asked <= taken.upto);
            // There may be more: a question, or history.
            state.queue(key);
            return Step::Tell(Update::Events { watcher: key, events: taken.events, upto: taken.upto });
        }
        let upto = watcher.told(published);
        if watcher.asked.take_if(|asked| *asked <= upto).is_some() {
            state.queue(key);
            return Step::Tell(Update::Told { watcher: key, upto });
        }
        let (behind, asked, spec, hub) =
            (watcher.behind(), watcher.asked, watcher.spec.clone(), watcher.hub.clone());
        let live = matches!(watcher.phase(), Phase::Live { .. });
        drop(state);
        match (behind, asked) {
            (Some(next), _) => self.catch_up(key, &spec, &hub, next),
            (None, Some(asked)) if live => self.wait_for(key, &hub, asked),
            // Its hub is just filling its buffer and will queue it.
            (None, _) => Step::Again,
        }
    }

    fn wait_for(&self, key: WatcherKey, hub: &Arc<Hub>, asked: Revision) -> Step {
        if !hub.ask(&self.shared, key, asked) {
            self.shared.lock().queue(key);
        }
        Step::Again
    }

    /// Makes the watcher live, or reads on in the history.
    fn catch_up(&mut self, key: WatcherKey, spec: &WatchSpec, hub: &Hub, next: Revision) -> Step {
        if hub.has_moved() {
            return self.moved(key);
        }
        let published = hub.published();
        if published < next {
            hub.join(&self.shared, key, next);
            self.shared.lock().queue_unless_idle(key);
            return Step::Again;
        }
        let Some(partition) = hub.partition() else { return self.moved(key) };
        let limits = hub.limits();
        match partition.history(next, published, &spec.keys, limits.chunk, limits.answer_bytes()) {
            Ok(history) => self.hand_out(key, spec, history, limits),
            Err(Error::Compacted { compacted }) => {
                self.remove(key);
                Step::Tell(Update::Compacted { watcher: key, compacted })
            }
            Err(error) => panic!("the history of what is applied can be read: {error}"),
        }
    }

    fn moved(&mut self, key: WatcherKey) -> Step {
        let upto = self.told(key);
        self.remove(key);
        Step::Tell(Update::Moved { watcher: key, upto })
    }

    /// Hands out a piece of history, cut at the end of a revision where it is too large.
    fn hand_out(
        &mut self,
        key: WatcherKey,
        spec: &WatchSpec,
        history: Happened,
        limits: &WatchLimits,
    ) -> Step {
        let (events, next) = cut(spec, history, limits);
        let mut state = self.shared.lock();
        let watcher = state.watchers.get_mut(&key).expect("only the owner removes, and it is here");
        watcher.catch_up(next);
        state.queue(key);
        if events.is_empty() {
            return Step::Read;
        }
        let watcher = state.watchers.get_mut(&key).expect("it was here a moment ago");
        let upto = Revision(next.0 - 1);
        watcher.asked.take_if(|asked| *asked <= upto);
        Step::Tell(Update::Events { watcher: key, events, upto })
    }
}

impl Drop for LocalStream {
    fn drop(&mut self) {
        let keys: Vec<_> = self.shared.lock().watchers.keys().copied().collect();
        keys.into_iter().for_each(|key| self.remove(key));
    }
}

/// The events that the watcher wants, and the first revision that is left.
fn cut(spec: &WatchSpec, history: Happened, limits: &WatchLimits) -> (Vec<Arc<Event>>, Revision) {
    let mut events: Vec<Arc<Event>> = Vec::new();
    let mut bytes = 0;
    for change in history.changes {
        if !spec.wants(&change) {
            continue;
        }
        let event: Arc<Event> = change.into();
        bytes += event.weight();
        let full = events.len() >= limits.events || bytes > limits.answer_bytes();
        let whole = events.last().is_some_and(|last| last.revision < event.revision);
        if full && whole {
            return (events, event.revision);
        }
        events.push(event);
    }
    (events, history.next)
}
