//! Telling a client how far it was told, also while nothing happens.
//!
//! A progress answer of revision R promises that every event up to R was sent, over all partitions: a
//! Kubernetes API server holds its consistent reads until it hears that, ten times a second.

use std::collections::BTreeSet;

use super::{Answer, Session};

impl Session {
    /// Asks for one answer as soon as everything this endpoint knows of was told to every watcher.
    /// Without watchers, or with one that waits for the future, there is no answer, as in etcd.
    pub fn want_progress(&mut self) {
        let current = self.current();
        if self.watchers.values().any(|watcher| current < watcher.start) {
            return;
        }
        self.progress_wanted = Some(current);
        for watcher in self.watchers.values().filter(|watcher| watcher.told < current) {
            self.watches.ask(watcher.key, current);
        }
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

    pub(super) fn answer_progress(&mut self) {
        let Some(wanted) = self.progress_wanted else { return };
        let told = self.watchers.values().map(|watcher| watcher.told).min();
        // The last watcher may have gone in between; nobody is left to be told then.
        if told.is_none_or(|told| told >= wanted) {
            self.progress_wanted = None;
            self.answers.extend(told.map(|revision| Answer::Progress { id: None, revision }));
        }
    }
}
