//! Telling a client how far it was told, also while nothing happens.
//!
//! A progress answer of revision R promises that every event up to R was sent, over all partitions: a
//! Kubernetes API server holds its consistent reads until it hears that, ten times a second.

use std::collections::BTreeSet;

use journal::Revision;

use super::{Answer, Session};
use crate::routes::WatchKey;

/// Progress request that is not answered yet. It is counted how many watchers lag, so that news of one watcher is no
/// reason to look at all of them.
pub(super) struct PendingProgress {
    /// Revision up to which every watcher has to be told.
    upto: Revision,
    /// Watchers that were not told of everything up to it.
    lagging: usize,
}

impl Session {
    /// Asks for one answer as soon as everything this endpoint knows of was told to every watcher.
    /// Without watchers, or with one that waits for the future, there is no answer, as in etcd.
    pub fn want_progress(&mut self) {
        let current = self.current();
        if self.watchers.values().any(|watcher| current < watcher.start) {
            return;
        }
        let mut lagging = 0;
        for watcher in self.watchers.values().filter(|watcher| watcher.told < current) {
            self.watches.ask(watcher.key, current);
            lagging += 1;
        }
        self.pending_progress = Some(PendingProgress { upto: current, lagging });
        self.answer_progress();
    }

    /// The regular notification of those watchers that asked for it and were silent since the last round.
    pub fn notify_progress(&mut self) {
        let mut whole = BTreeSet::new();
        for watcher in self.watchers.values() {
            if self.watches.look(watcher.key) {
                whole.insert(watcher.key);
            }
        }
        while let Some(news) = self.watches.ready() {
            self.apply(news);
        }
        for (id, watcher) in &mut self.watchers {
            let silent = !std::mem::take(&mut watcher.spoke);
            let revision = watcher.told;
            let caught_up = watcher.start <= revision && whole.contains(&watcher.key);
            if watcher.progress_notify && silent && caught_up {
                self.answers.push_back(Answer::Progress { id: Some(*id), revision });
            }
        }
    }

    /// Lets a pending answer wait for a new watcher, too, where that begins in the past.
    pub(super) fn await_progress_of(&mut self, key: WatchKey, told: Revision) {
        let Some(pending) = &mut self.pending_progress else { return };
        if told < pending.upto {
            pending.lagging += 1;
            self.watches.ask(key, pending.upto);
        }
    }

    /// A watcher that was told up to `before` was now told up to `after`.
    pub(super) fn advance_progress(&mut self, before: Revision, after: Revision) {
        let Some(pending) = &mut self.pending_progress else { return };
        if before < pending.upto && pending.upto <= after {
            pending.lagging -= 1;
        }
    }

    pub(super) fn answer_progress(&mut self) {
        if self.pending_progress.take_if(|pending| pending.lagging == 0).is_none() {
            return;
        }
        // The last watcher may have gone in between; nobody is left to be told then.
        let told = self.told_by_all();
        self.answers.extend(told.map(|revision| Answer::Progress { id: None, revision }));
    }
    /// Revision up to which every watcher was told; `None` without watchers. Looks at all of them.
    fn told_by_all(&mut self) -> Option<Revision> {
        #[cfg(test)]
        {
            self.progress_scans += 1;
        }
        self.watchers.values().map(|watcher| watcher.told).min()
    }
}
