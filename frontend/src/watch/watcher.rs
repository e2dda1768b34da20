//! One watcher of a client, and its parts: one for each partition that has some of its keys.

use std::sync::atomic::Ordering::Relaxed;

use journal::{KeyRange, Revision};
use memstore::{PartitionRange, WatchSpec, WatchStream, WatcherKey};

use super::Answer;
use super::merge::Merge;
use crate::routes::parts;
use crate::store::Store;

/// The watcher.
pub(super) struct Watcher {
    pub(super) keys: KeyRange,
    pub(super) puts: bool,
    pub(super) deletes: bool,
    /// None where some of the keys are in no partition now.
    pub(super) parts: Vec<WatcherKey>,
    pub(super) merge: Merge,
    /// The revision that the client named to start from, or zero. Before the store is there, there is no progress.
    pub(super) start: Revision,
    pub(super) prev_kv: bool,
    pub(super) fragment: bool,
    pub(super) progress_notify: bool,
    /// Said something since the last round of progress notifications.
    pub(super) spoke: bool,
}

impl Watcher {
    /// Watches each partition that has some of the keys, or none.
    pub(super) fn begin(
        &mut self,
        stream: &mut WatchStream,
        partitions: &[PartitionRange],
        from: Revision,
    ) -> Result<(), memstore::Error> {
        let mut begun = Vec::with_capacity(1);
        let Watcher { puts, deletes, prev_kv, .. } = *self;
        for (partition, keys) in parts(partitions, &self.keys)? {
            match stream.add(WatchSpec { partition, keys, from, prev_kv, puts, deletes }) {
                Ok(key) => begun.push(key),
                Err(error) => {
                    begun.into_iter().for_each(|key| stream.remove(key));
                    return Err(error);
                }
            }
        }
        self.merge = Merge::new(begun.len(), from);
        self.parts = begun;
        Ok(())
    }

    /// What is whole by now.
    pub(super) fn tell(&mut self, id: i64, store: &Store) -> Option<Answer> {
        let events = self.merge.take();
        if events.is_empty() {
            return None;
        }
        self.spoke = true;
        // Not the last event's: who catches up learns how far that brought it, as from etcd.
        let revision = self.merge.told();
        store.told(revision);
        store.activity().events.fetch_add(events.len() as u64, Relaxed);
        Some(Answer::Events { id, revision, events, prev_kv: self.prev_kv, fragment: self.fragment })
    }

    /// Looks how far its parts have come. One for which nothing happens doesn't say so by itself.
    pub(super) fn look(&mut self, stream: &WatchStream) {
        for (part, key) in self.parts.iter().enumerate() {
            self.merge.push(part, Vec::new(), stream.told(*key));
        }
    }

    /// Asks those of its parts that were not told of everything up to `upto` to say when they were.
    pub(super) fn ask(&self, stream: &mut WatchStream, upto: Revision) {
        for (part, key) in self.parts.iter().enumerate() {
            if self.merge.told_by(part) < upto {
                stream.ask(*key, upto);
            }
        }
    }
}
