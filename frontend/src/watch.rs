//! One client's watches: what it asks for, what it is told, in etcd's order and words.
//!
//! A session is one gRPC Watch stream. It holds no events: each watcher's cursor stands in the memstores,
//! and a client that does not read stops its own session and nothing else.
//!
//!     create ──► Session ──► memstore::WatchStream, one watcher a partition
//!                  ▲                 │ events up to "told"
//!                  └──── Merge ◄─────┘      ──► Answer, whole revisions
//!
//! Where a partition goes, all of a watcher begins anew behind what its client was told, on the partitions that
//! have the keys now: what only some of them had told is told again, and this time to the end.

mod merge;
mod progress;
#[cfg(test)]
mod tests;
mod watcher;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use journal::{KeyRange, Revision};
use memstore::{Event, PartitionRange, Update, WatchStream, WatcherKey};

use crate::metrics::activity::{count, uncount};
use crate::store::Store;
use merge::Merge;
use watcher::Watcher;

/// What a client asks for.
#[derive(Clone, Debug)]
pub struct Create {
    pub keys: KeyRange,
    /// The first revision to tell of; `None`: only what is yet to come.
    pub from: Option<Revision>,
    pub puts: bool,
    pub deletes: bool,
    pub prev_kv: bool,
    pub progress_notify: bool,
    /// `None`: the session chooses.
    pub id: Option<i64>,
    pub fragment: bool,
}

/// Why a watcher was not created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    EmptyRange,
    DuplicateId,
    /// A start below zero was compacted before the store began.
    NegativeRevision,
}

/// What a client is told.
#[derive(Clone, Debug)]
pub enum Answer {
    Created {
        id: i64,
        revision: Revision,
    },
    Refused {
        reason: Refusal,
        revision: Revision,
    },
    Canceled {
        id: i64,
        revision: Revision,
    },
    /// It asked for what is gone; the watcher is, too.
    Compacted {
        id: i64,
        compacted: Revision,
    },
    Events {
        id: i64,
        revision: Revision,
        events: Vec<Arc<Event>>,
        prev_kv: bool,
        fragment: bool,
    },
    /// Everything up to `revision` was told: to one watcher, or to every one of the session.
    Progress {
        id: Option<i64>,
        revision: Revision,
    },
    /// The store is closing.
    Closed,
}

/// The watchers of one stream.
pub struct Session {
    store: Store,
    stream: WatchStream,
    watchers: BTreeMap<i64, Watcher>,
    /// The ids of watchers that a compaction has ended: taken until the client cancels them, as in etcd.
    compacted: BTreeSet<i64>,
    /// Which watcher and which of its parts a memstore's watcher is.
    owners: HashMap<WatcherKey, (i64, usize)>,
    next_id: i64,
    /// The partitions among which some watcher did not find all of its keys.
    lacking: Option<Arc<[PartitionRange]>>,
    answers: VecDeque<Answer>,
    /// The client waits to hear that everything up to here was told.
    progress_wanted: Option<Revision>,
}

impl Session {
    #[must_use]
    pub fn new(store: Store) -> Session {
        let stream = store.memstore().watch();
        count(&store.activity().watch_streams);
        Session {
            store,
            stream,
            watchers: BTreeMap::new(),
            compacted: BTreeSet::new(),
            owners: HashMap::new(),
            next_id: 0,
            lacking: None,
            answers: VecDeque::new(),
            progress_wanted: None,
        }
    }

    /// Begins to watch. The answer comes out of `next`, as every answer does.
    pub fn create(&mut self, create: Create) {
        let revision = self.current();
        let refusal = if create.keys.is_empty() {
            Some(Refusal::EmptyRange)
        } else if create.id.is_some_and(|id| self.is_taken(id)) {
            Some(Refusal::DuplicateId)
        } else {
            None
        };
        if let Some(reason) = refusal {
            return self.refuse(reason);
        }
        let id = create.id.unwrap_or_else(|| self.unused_id());
        self.answers.push_back(Answer::Created { id, revision });
        let from = create.from.unwrap_or(revision.next());
        let start = create.from.unwrap_or_default();
        let Create { keys, puts, deletes, prev_kv, fragment, progress_notify, .. } = create;
        let (parts, merge) = (Vec::new(), Merge::new(0, from));
        let watcher = Watcher {
            keys,
            puts,
            deletes,
            parts,
            merge,
            start,
            prev_kv,
            fragment,
            progress_notify,
            spoke: true,
        };
        self.watchers.insert(id, watcher);
        count(&self.store.activity().watchers);
        self.open(id);
    }

    /// Answers a request that cannot become a watcher.
    pub fn refuse(&mut self, reason: Refusal) {
        let revision = self.current();
        self.answers.push_back(Answer::Refused { reason, revision });
    }

    /// Ends a watcher. An unknown one is not answered, as in etcd.
    pub fn cancel(&mut self, id: i64) {
        if self.drop_watcher(id) || self.compacted.remove(&id) {
            let revision = self.current();
            self.answers.push_back(Answer::Canceled { id, revision });
        }
    }

    /// What happens next. Safe to give up and call again.
    pub async fn next(&mut self) -> Answer {
        loop {
            if let Some(answer) = self.answers.pop_front() {
                return answer;
            }
            let Some(lacking) = self.lacking.clone() else {
                let update = self.stream.next().await;
                self.apply(update);
                continue;
            };
            let memstore = self.store.memstore().clone();
            tokio::select! {
                update = self.stream.next() => self.apply(update),
                _ = memstore.other_partitions(&lacking) => self.open_lacking(),
            }
        }
    }

    fn apply(&mut self, update: Update) {
        match update {
            Update::Events { watcher, events, upto } => self.hear(watcher, events, upto),
            Update::Told { watcher, upto } => self.hear(watcher, Vec::new(), upto),
            Update::Compacted { watcher, compacted } => {
                if let Some(&(id, _)) = self.owners.get(&watcher) {
                    self.drop_watcher(id);
                    self.end_compacted(id, compacted);
                }
            }
            Update::Moved { watcher, upto } => self.move_on(watcher, upto),
            Update::Closed => self.answers.push_back(Answer::Closed),
        }
        self.answer_progress();
    }

    /// A partition has told a watcher everything up to `upto`. What is whole now goes to the client; for the
    /// rest, the partitions that lag are asked to say when they are as far.
    fn hear(&mut self, key: WatcherKey, events: Vec<Arc<Event>>, upto: Revision) {
        let Some(&(id, part)) = self.owners.get(&key) else { return };
        let watcher = self.watchers.get_mut(&id).expect("owners name watchers");
        watcher.merge.push(part, events, upto);
        self.answers.extend(watcher.tell(id, &self.store));
        if let Some(held) = watcher.merge.held_upto() {
            watcher.ask(&mut self.stream, held);
        }
    }

    /// A partition that a watcher looks at is gone, and has told it everything up to `upto`.
    fn move_on(&mut self, key: WatcherKey, upto: Revision) {
        let Some(&(id, part)) = self.owners.get(&key) else { return };
        let watcher = self.watchers.get_mut(&id).expect("owners name watchers");
        watcher.merge.push(part, Vec::new(), upto);
        watcher.look(&self.stream);
        self.answers.extend(watcher.tell(id, &self.store));
        let parts = std::mem::take(&mut watcher.parts);
        self.drop_parts(parts);
        self.open(id);
    }

    /// Watches behind what the client was told, on the partitions that have the keys now.
    fn open(&mut self, id: i64) {
        let partitions = self.store.memstore().partitions();
        let watcher = self.watchers.get_mut(&id).expect("it is there");
        let from = watcher.merge.next();
        watcher.merge = Merge::new(0, from);
        match watcher.begin(&mut self.stream, &partitions, from) {
            Ok(()) => {
                for (part, key) in watcher.parts.iter().enumerate() {
                    self.owners.insert(*key, (id, part));
                }
                if let Some(wanted) = self.progress_wanted {
                    watcher.ask(&mut self.stream, wanted);
                }
            }
            Err(memstore::Error::Compacted { compacted }) => {
                self.drop_watcher(id);
                self.end_compacted(id, compacted);
            }
            Err(memstore::Error::WrongPartition) => self.lacking = Some(partitions),
            Err(_) => self.answers.push_back(Answer::Closed),
        }
    }

    /// There are other partitions now.
    fn open_lacking(&mut self) {
        self.lacking = None;
        let lacking = self.watchers.iter().filter(|(_, watcher)| watcher.parts.is_empty());
        let lacking: Vec<_> = lacking.map(|(id, _)| *id).collect();
        lacking.into_iter().for_each(|id| self.open(id));
    }

    fn drop_watcher(&mut self, id: i64) -> bool {
        let Some(watcher) = self.watchers.remove(&id) else { return false };
        uncount(&self.store.activity().watchers);
        self.drop_parts(watcher.parts);
        true
    }

    fn drop_parts(&mut self, parts: Vec<WatcherKey>) {
        for key in parts {
            self.owners.remove(&key);
            self.stream.remove(key);
        }
    }

    fn end_compacted(&mut self, id: i64, compacted: Revision) {
        self.compacted.insert(id);
        self.answers.push_back(Answer::Compacted { id, compacted });
    }

    fn is_taken(&self, id: i64) -> bool {
        self.watchers.contains_key(&id) || self.compacted.contains(&id)
    }

    fn unused_id(&mut self) -> i64 {
        while self.is_taken(self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        self.next_id - 1
    }

    /// How far this endpoint is: what it has told of, or applied, whichever is further.
    fn current(&self) -> Revision {
        self.store.seen().revision
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let activity = self.store.activity();
        uncount(&activity.watch_streams);
        self.watchers.values().for_each(|_| uncount(&activity.watchers));
    }
}

/// etcd reads an empty key as the least one there can be.
#[must_use]
pub fn watched_keys(key: Bytes, range_end: Bytes) -> KeyRange {
    let key = if key.is_empty() { Bytes::from_static(&[0]) } else { key };
    KeyRange::from_wire(key, range_end)
}
