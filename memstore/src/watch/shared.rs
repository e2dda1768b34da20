//! What a stream's owner and the hubs of its watchers both see, under the stream's lock.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;
use journal::Revision;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::hub::Wakes;
use super::index::Target;
use super::watcher::{Offered, Watcher};
use super::{WatchLimits, WatcherKey};
use crate::event::Event;

/// What hubs and owner share.
pub(super) struct Shared {
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) watchers: HashMap<WatcherKey, Watcher>,
    /// At most one entry for each watcher.
    pub(super) ready: VecDeque<WatcherKey>,
    /// The owner knows that it has to look.
    pub(super) woken: bool,
}

impl Shared {
    pub(super) fn new() -> Shared {
        Shared { state: Mutex::default(), wake: Notify::new() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Waits until there is something to look at.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Puts an event into a live watcher's buffer. Answers also whether the hub has to queue the watcher for it.
    pub(super) fn offer(&self, key: WatcherKey, event: &Arc<Event>, limits: &WatchLimits) -> (Offered, bool) {
        let mut state = self.state.lock();
        let Some(watcher) = state.watchers.get_mut(&key) else { return (Offered::Declined, false) };
        let offered = watcher.offer(event, limits);
        let first = offered != Offered::Declined && !std::mem::replace(&mut watcher.touched, true);
        (offered, first)
    }

    /// Lets the owner look at a watcher.
    pub(super) fn queue(self: &Arc<Shared>, key: WatcherKey, wakes: &mut Wakes) {
        let mut state = self.state.lock();
        if let Some(watcher) = state.watchers.get_mut(&key) {
            watcher.touched = false;
        }
        state.queue(key);
        if !std::mem::replace(&mut state.woken, true) {
            wakes.push(self);
        }
    }

    /// The hub has no place for it any more: from `next` on it reads the history.
    pub(super) fn catch_up(self: &Arc<Shared>, key: WatcherKey, next: Revision, wakes: &mut Wakes) {
        if let Some(watcher) = self.state.lock().watchers.get_mut(&key) {
            watcher.catch_up(next);
        }
        self.queue(key, wakes);
    }

    /// The hub has a place for it under `target`. `None` when it is gone.
    pub(super) fn go_live(
        self: &Arc<Shared>,
        key: WatcherKey,
        target: u64,
        from: Revision,
    ) -> Option<Target> {
        let mut state = self.state.lock();
        let watcher = state.watchers.get_mut(&key)?;
        watcher.go_live(target);
        Some(Target { stream: self.clone(), watcher: key, spec: watcher.spec.clone(), from })
    }

    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }
}

impl State {
    pub(super) fn queue(&mut self, key: WatcherKey) {
        let Some(watcher) = self.watchers.get_mut(&key) else { return };
        if !std::mem::replace(&mut watcher.queued, true) {
            self.ready.push_back(key);
        }
    }

    /// A live watcher that nobody asked about need not be looked at until its hub says so.
    pub(super) fn queue_unless_idle(&mut self, key: WatcherKey) {
        let idle = |watcher: &Watcher| watcher.behind().is_none() && watcher.asked.is_none();
        if !self.watchers.get(&key).is_some_and(idle) {
            self.queue(key);
        }
    }
}
