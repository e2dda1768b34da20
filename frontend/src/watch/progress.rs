//! Telling a client how far it was told, also while nothing happens.
//!
//! A progress answer of revision R promises that every event up to R was sent, over all partitions: a
//! Kubernetes API server holds its consistent reads until it hears that, ten times a second.

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
        for watcher in self.watchers.values() {
            watcher.ask(&mut self.stream, current);
        }
        self.answer_progress();
    }

    /// The regular notification of those watchers that asked for it and were silent since the last round.
    pub fn notify_progress(&mut self) {
        for (id, watcher) in &mut self.watchers {
            watcher.look(&self.stream);
            self.answers.extend(watcher.tell(*id, &self.store));
            let silent = !std::mem::take(&mut watcher.spoke);
            let revision = watcher.merge.told();
            let caught_up = watcher.start <= revision && watcher.merge.held_upto().is_none();
            if watcher.progress_notify && silent && caught_up {
                self.answers.push_back(Answer::Progress { id: Some(*id), revision });
            }
        }
    }

    pub(super) fn answer_progress(&mut self) {
        let Some(wanted) = self.progress_wanted else { return };
        let told = self.watchers.values().map(|watcher| watcher.merge.told()).min();
        // The last watcher may have gone in between; nobody is left to be told then.
        if told.is_none_or(|told| told >= wanted) {
            self.progress_wanted = None;
            self.answers.extend(told.map(|revision| Answer::Progress { id: None, revision }));
        }
    }
}
