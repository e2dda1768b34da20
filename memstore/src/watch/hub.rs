//! What the follower tells, and to whom: one hub for each partition.
//!
//! The hub's lock is taken before a stream's, never the other way round. Nothing is read from the history and
//! nobody is woken under it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use journal::{KeyRange, Revision};
use parking_lot::Mutex;

use super::index::Index;
use super::shared::Shared;
use super::watcher::Offered;
use super::{WatchLimits, WatcherKey};
use crate::event::{Change, Event};
use crate::partition::Partition;
use crate::pause::work;

/// The live watchers of a partition.
pub(crate) struct Hub {
    /// Its replica's, which a slow watcher does not keep.
    partition: Weak<Partition>,
    limits: WatchLimits,
    /// Every event up to and including this revision is in its watchers' buffers, or known to be in history.
    published: AtomicU64,
    state: Mutex<State>,
    /// Live ones and others.
    watchers: AtomicU64,
}

struct State {
    /// The partition is served no longer: nobody joins any more.
    moved: bool,
    index: Index,
    names: u64,
    /// Live watchers that want to know when a revision is published: at most one entry for each.
    asks: BTreeMap<Ask, Arc<Shared>>,
    /// Of what comes next, where it is so long that it is offered in parts.
    offered: Option<Parts>,
}

/// What was offered before it is published.
struct Parts {
    /// Watchers named later have joined since the first part. They have missed some, and are offered none.
    names: u64,
    /// Those watchers.
    joined: Vec<(u64, KeyRange)>,
    /// Those who have something to look at.
    touched: Touched,
}

/// Watchers that have something to look at, and have not been queued for it.
type Touched = Vec<(Arc<Shared>, WatcherKey)>;

/// Stream and watcher, under the revision that they wait for.
type Ask = (Revision, usize, WatcherKey);

/// Streams that have something to look at, to be woken when all partitions were told.
#[derive(Default)]
pub(crate) struct Wakes {
    streams: Vec<Arc<Shared>>,
}

impl Wakes {
    pub(super) fn push(&mut self, stream: &Arc<Shared>) {
        self.streams.push(stream.clone());
    }

    pub(crate) fn wake(&mut self) {
        self.streams.drain(..).for_each(|stream| stream.wake());
    }
}

impl Hub {
    /// The partition has applied everything up to `published`.
    pub(crate) fn new(partition: &Arc<Partition>, published: Revision, limits: WatchLimits) -> Hub {
        let state =
            State { moved: false, index: Index::new(), names: 0, asks: BTreeMap::new(), offered: None };
        let (published, watchers) = (AtomicU64::new(published.0), AtomicU64::new(0));
        Hub { partition: Arc::downgrade(partition), limits, published, state: Mutex::new(state), watchers }
    }

    /// `None` once nobody serves or reads it any more.
    pub(crate) fn partition(&self) -> Option<Arc<Partition>> {
        self.partition.upgrade()
    }

    pub(crate) fn published(&self) -> Revision {
        Revision(self.published.load(Ordering::SeqCst))
    }

    /// Watchers, and how many of them are served from history.
    pub(crate) fn watchers(&self) -> (u64, u64) {
        let live = u64::try_from(self.state.lock().index.len()).expect("a length fits 64 bits");
        let all = self.watchers.load(Ordering::Relaxed).max(live);
        (all, all - live)
    }

    /// Watchers that are live.
    #[cfg(test)]
    pub(crate) fn live(&self) -> u64 {
        let (all, slow) = self.watchers();
        all - slow
    }

    /// A watcher is there, not live yet.
    pub(super) fn came(&self) {
        self.watchers.fetch_add(1, Ordering::Relaxed);
    }

    /// A watcher is gone.
    pub(super) fn went(&self) {
        self.watchers.fetch_sub(1, Ordering::Relaxed);
    }

    /// Offers a part of the changes that come next, in order. Nobody is told of them before they are published.
    pub(crate) fn offer(&self, changes: &[Change]) {
        let mut state = self.state.lock();
        let names = state.names;
        let parts = Parts { names, joined: Vec::new(), touched: Vec::new() };
        let mut parts = state.offered.take().unwrap_or(parts);
        let touched = state.offer(changes, parts.names, &self.limits);
        parts.touched.extend(touched);
        state.offered = Some(parts);
    }

    /// Tells the changes that the partition has just applied, in order, except of those that were offered; it stands at
    /// `revision` now.
    pub(crate) fn publish(&self, changes: &[Change], revision: Revision, wakes: &mut Wakes) {
        let mut state = self.state.lock();
        assert!(self.published() <= revision, "revisions are published in order");
        let ordered = changes.is_sorted_by_key(|change| (change.revision, change.sub));
        assert!(ordered, "changes are told in the order in which they happened");
        let untold = self.published().next();
        let parts = state.offered.take();
        let names = parts.as_ref().map_or(state.names, |parts| parts.names);
        let touched = state.offer(changes, names, &self.limits);
        self.published.store(revision.0, Ordering::SeqCst);
        for (stream, watcher) in touched {
            stream.queue(watcher, wakes);
        }
        if let Some(Parts { joined, touched, .. }) = parts {
            for target in joined.iter().filter_map(|(name, keys)| state.index.remove(*name, keys)) {
                target.stream.catch_up(target.watcher, untold.max(target.from), wakes);
            }
            touched.into_iter().for_each(|(stream, watcher)| stream.queue(watcher, wakes));
        }
        state.answer_asks(revision, wakes);
    }

    /// The partition was replaced by one that stands at `revision`, without its changes being told: every
    /// watcher reads them from its history.
    pub(crate) fn skip_to(&self, revision: Revision, wakes: &mut Wakes) {
        let mut state = self.state.lock();
        let untold = self.published().next();
        self.published.store(revision.0, Ordering::SeqCst);
        state.withdraw(wakes);
        for target in state.index.drain() {
            target.stream.catch_up(target.watcher, untold.max(target.from), wakes);
        }
        state.answer_asks(revision, wakes);
    }

    /// The partition is served no longer. Each watcher is handed out what it was told, and learns it then.
    pub(crate) fn move_away(&self, wakes: &mut Wakes) {
        let mut state = self.state.lock();
        state.moved = true;
        state.asks.clear();
        let untold = self.published().next();
        state.withdraw(wakes);
        for target in state.index.drain() {
            target.stream.catch_up(target.watcher, untold.max(target.from), wakes);
        }
    }

    pub(super) fn has_moved(&self) -> bool {
        self.state.lock().moved
    }

    /// Makes a watcher live if nothing from `next` on is published yet.
    pub(super) fn join(&self, stream: &Arc<Shared>, watcher: WatcherKey, next: Revision) {
        let mut state = self.state.lock();
        if !state.moved && self.published() < next {
            state.names += 1;
            let name = state.names;
            if let Some(target) = stream.go_live(watcher, name, next) {
                if let Some(parts) = &mut state.offered {
                    parts.joined.push((name, target.spec.keys.clone()));
                }
                state.index.insert(name, target);
            }
        }
    }

    pub(super) fn leave(&self, name: u64, keys: &KeyRange) {
        self.state.lock().index.remove(name, keys);
    }

    /// Queues the watcher once `revision` is published. False where it is already, or never will be.
    pub(super) fn ask(&self, stream: &Arc<Shared>, watcher: WatcherKey, revision: Revision) -> bool {
        let mut state = self.state.lock();
        if state.moved || revision <= self.published() {
            return false;
        }
        state.asks.insert(ask(stream, watcher, revision), stream.clone());
        true
    }

    pub(super) fn unask(&self, stream: &Arc<Shared>, watcher: WatcherKey, revision: Revision) {
        self.state.lock().asks.remove(&ask(stream, watcher, revision));
    }

    pub(super) fn limits(&self) -> &WatchLimits {
        &self.limits
    }
}

impl State {
    /// Offers each change to those up to `names` who want it. Answers those who have something to look at.
    fn offer(&mut self, changes: &[Change], names: u64, limits: &WatchLimits) -> Touched {
        let mut touched = Vec::new();
        let mut slow = Vec::new();
        if self.index.len() == 0 {
            return touched;
        }
        work::did(changes.len());
        for change in changes {
            let mut event = None;
            self.index.wanting(change, |name, target| {
                if names < name {
                    return;
                }
                // Made for the first who wants it; most changes are wanted by nobody.
                let event: &Arc<Event> = event.get_or_insert_with(|| change.clone().into());
                let (offered, first) = target.stream.offer(target.watcher, event, limits);
                if first {
                    touched.push((target.stream.clone(), target.watcher));
                }
                if offered == Offered::Overflowed {
                    slow.push((name, target.spec.keys.clone()));
                }
            });
        }
        for (name, keys) in slow {
            self.index.remove(name, &keys);
        }
        touched
    }

    /// What was offered is not published: it comes otherwise.
    fn withdraw(&mut self, wakes: &mut Wakes) {
        let touched = self.offered.take().map(|parts| parts.touched);
        touched.into_iter().flatten().for_each(|(stream, watcher)| stream.queue(watcher, wakes));
    }

    fn answer_asks(&mut self, published: Revision, wakes: &mut Wakes) {
        while let Some(first) = self.asks.first_entry() {
            let (revision, _, watcher) = *first.key();
            if published < revision {
                return;
            }
            first.remove().queue(watcher, wakes);
        }
    }
}

fn ask(stream: &Arc<Shared>, watcher: WatcherKey, revision: Revision) -> Ask {
    (revision, Arc::as_ptr(stream).addr(), watcher)
}
