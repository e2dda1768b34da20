//! One client's watches: what it asks for, what it is told, in etcd's order and words.
//!
//! A session is one gRPC Watch stream. It holds no events: each watcher's cursor stands in the memstores,
//! and a client that does not read stops its own session and nothing else.
//!
//!     create ──► Session ──► routes::Watches, over all partitions
//!                  ▲                 │ whole revisions up to "told"
//!                  └─────────────────┘      ──► Answer

mod progress;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use journal::{KeyRange, Revision};
use memstore::Event;

use self::progress::PendingProgress;
use crate::metrics::activity::{count, uncount};
use crate::routes::{News, Watch, WatchKey, Watches};
use crate::store::Store;

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

struct Watcher {
    key: WatchKey,
    /// What it was told of, up to here.
    told: Revision,
    /// The revision that the client named to start from, or zero. Before the store is there, there is no progress.
    start: Revision,
    prev_kv: bool,
    fragment: bool,
    progress_notify: bool,
    /// Until it was told of this much, which was there when it began, it catches up.
    catches_up_to: Revision,
    /// Said something since the last round of progress notifications.
    spoke: bool,
}

/// The watchers of one stream.
pub struct Session {
    store: Store,
    watches: Watches,
    watchers: BTreeMap<i64, Watcher>,
    /// The ids of watchers that a compaction has ended: taken until the client cancels them, as in etcd.
    compacted: BTreeSet<i64>,
    /// Which watcher is meant by news.
    owners: HashMap<WatchKey, i64>,
    next_id: i64,
    answers: VecDeque<Answer>,
    /// Progress that the client waits to hear of.
    pending_progress: Option<PendingProgress>,
    /// Times that all watchers were looked at for the sake of progress.
    #[cfg(test)]
    progress_scans: u64,
}

impl Session {
    #[must_use]
    pub fn new(store: Store) -> Session {
        let watches = store.routes().watch();
        count(&store.activity().watch_streams);
        Session {
            store,
            watches,
            watchers: BTreeMap::new(),
            compacted: BTreeSet::new(),
            owners: HashMap::new(),
            next_id: 0,
            answers: VecDeque::new(),
            pending_progress: None,
            #[cfg(test)]
            progress_scans: 0,
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
        let Create { keys, puts, deletes, prev_kv, fragment, progress_notify, .. } = create;
        let key = self.watches.add(Watch { keys, from, prev_kv, puts, deletes });
        self.owners.insert(key, id);
        let (told, start) = (Revision(from.0.saturating_sub(1)), create.from.unwrap_or_default());
        let (catches_up_to, spoke) = (revision, false);
        let watcher = Watcher { key, told, start, prev_kv, fragment, progress_notify, catches_up_to, spoke };
        self.watchers.insert(id, watcher);
        self.await_progress_of(key, told);
        count(&self.store.activity().watchers);
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
            self.answer_progress();
        }
    }

    /// Number of answers that `next` has ready without waiting for events.
    pub(crate) fn pending_answers(&self) -> usize {
        self.answers.len()
    }

    /// What happens next. Safe to give up and call again.
    pub async fn next(&mut self) -> Answer {
        loop {
            if let Some(answer) = self.answers.pop_front() {
                return answer;
            }
            let news = self.watches.next().await;
            self.apply(news);
        }
    }

    fn apply(&mut self, news: News) {
        match news {
            News::Events { watcher, events, upto } => {
                self.store.told(upto);
                let current = self.current();
                if let Some((id, watcher)) = self.owner(watcher) {
                    let (count, before) = (events.len() as u64, watcher.told);
                    let answer = watcher.tell(id, events, upto, current);
                    self.advance_progress(before, upto);
                    self.store.activity().events.fetch_add(count, Relaxed);
                    self.answers.push_back(answer);
                }
            }
            News::Told { watcher, upto } => {
                if let Some((_, watcher)) = self.owner(watcher) {
                    let before = watcher.told;
                    watcher.told = before.max(upto);
                    self.advance_progress(before, upto);
                }
            }
            News::Compacted { watcher, compacted } => {
                if let Some((id, _)) = self.owner(watcher) {
                    self.drop_watcher(id);
                    self.end_compacted(id, compacted);
                }
            }
            News::Closed => self.answers.push_back(Answer::Closed),
        }
        self.answer_progress();
    }

    fn owner(&mut self, key: WatchKey) -> Option<(i64, &mut Watcher)> {
        let id = *self.owners.get(&key)?;
        Some((id, self.watchers.get_mut(&id)?))
    }

    fn drop_watcher(&mut self, id: i64) -> bool {
        let Some(watcher) = self.watchers.remove(&id) else { return false };
        uncount(&self.store.activity().watchers);
        self.owners.remove(&watcher.key);
        self.watches.remove(watcher.key);
        self.advance_progress(watcher.told, Revision(u64::MAX));
        true
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

impl Watcher {
    /// The header of a response that catches up has the store's revision, as in etcd. Any other has the revision up
    /// to which the watcher was told.
    fn tell(&mut self, id: i64, events: Vec<Arc<Event>>, upto: Revision, current: Revision) -> Answer {
        let revision = if upto < self.catches_up_to { current } else { upto };
        self.spoke = true;
        self.told = self.told.max(upto);
        Answer::Events { id, revision, events, prev_kv: self.prev_kv, fragment: self.fragment }
    }
}

/// etcd reads an empty key as the least one there can be.
#[must_use]
pub fn watched_keys(key: Bytes, range_end: Bytes) -> KeyRange {
    let key = if key.is_empty() { Bytes::from_static(&[0]) } else { key };
    KeyRange::from_wire(key, range_end)
}
