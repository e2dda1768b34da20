//! The journal as a memstore needs it: entries come out of it, and marks of snapshots go in.
//!
//! This and `Entries` are all that a memstore knows of journals; tests put one in memory in its place.

#[cfg(test)]
pub(crate) mod fed;

mod bridge;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use journal::{Append, Clock, Entry, Journal, Lsn, Origin, SysOp, Tail, Verdict};
use tracing::{debug, warn};

pub(crate) use self::bridge::Bridge;

/// How long the journal may take to store a mark. The next snapshot brings the next one.
const MARK_PATIENCE: Duration = Duration::from_secs(10);

/// The handle, cheap to clone.
#[derive(Clone)]
pub(crate) enum Feed {
    Journal {
        journal: Journal,
        clock: Arc<dyn Clock>,
        /// Names this process to the journal.
        process: u64,
        /// Counts what it appends.
        seq: Arc<AtomicU64>,
    },
    #[cfg(test)]
    Fed(Arc<self::fed::FedJournal>),
}

/// What is committed from some position on.
pub(crate) enum Entries {
    Journal(Tail),
    Bridge(Box<Bridge>),
    #[cfg(test)]
    Fed(self::fed::FedTail),
}

impl Feed {
    pub(crate) fn entries(&self, from: Lsn) -> Entries {
        match self {
            Feed::Journal { journal, .. } => Entries::Journal(journal.tail(from)),
            #[cfg(test)]
            Feed::Fed(journal) => Entries::Fed(journal.tail(from)),
        }
    }

    /// The first position that it still has.
    pub(crate) fn first(&self) -> Lsn {
        match self {
            Feed::Journal { journal, .. } => journal.status_now().first,
            #[cfg(test)]
            Feed::Fed(journal) => journal.first(),
        }
    }

    /// How far it is, as far as this process hears of it. `None`: nobody leads it, or nobody says so.
    pub(crate) fn reached(&self) -> Option<Lsn> {
        match self {
            Feed::Journal { journal, .. } => {
                let status = journal.status_now();
                status.leader.map(|_| status.applied)
            }
            #[cfg(test)]
            Feed::Fed(journal) => Some(journal.last()),
        }
    }

    /// What `there` has before `first`, and this one from there on.
    pub(crate) fn bridge(&self, there: Tail, first: Lsn) -> Entries {
        let (there, here) = (Entries::Journal(there), self.entries(first));
        Entries::Bridge(Box::new(Bridge::new(there, here, first, self.clock())))
    }

    /// What it tells time by.
    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        match self {
            Feed::Journal { clock, .. } => clock.clone(),
            #[cfg(test)]
            Feed::Fed(_) => Arc::new(journal::ManualClock::default()),
        }
    }

    /// Stores a mark, or leaves it at that: the next snapshot brings one that says more.
    pub(crate) async fn mark(&self, mark: SysOp) {
        match self {
            Feed::Journal { journal, clock, process, seq } => {
                let seq = seq.fetch_add(1, Ordering::Relaxed) + 1;
                let origin = Origin { frontend: *process, seq, attempt: 0 };
                let append =
                    Append { origin, reads: vec![], writes: vec![], sysop: Some(mark), reserve: false };
                let patience = clock.until(clock.now() + MARK_PATIENCE);
                tokio::select! {
                    verdict = journal.append(append) => match verdict {
                        Verdict::Committed { .. } => debug!("the journal knows of the snapshot"),
                        verdict => warn!(?verdict, "the journal did not take the mark of a snapshot"),
                    },
                    () = patience => warn!("the journal did not answer to the mark of a snapshot"),
                }
            }
            #[cfg(test)]
            Feed::Fed(journal) => journal.mark(mark),
        }
    }
}

impl Entries {
    /// # Errors
    /// The journal's: among them that what comes next is trimmed.
    pub(crate) async fn next(&mut self) -> Result<Vec<Entry>, journal::Error> {
        match self {
            Entries::Journal(tail) => tail.next().await,
            Entries::Bridge(bridge) => Box::pin(bridge.next()).await,
            #[cfg(test)]
            Entries::Fed(tail) => tail.next().await,
        }
    }
}
