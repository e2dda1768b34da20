//! Purge of the log's oldest entries at this node, which followers may hold up.
//!
//!     purged         to be purged           kept
//!     [ · · · )[ 5  6  7  8  9 10 11 )[ 12 13 14 15 )
//!                         ^ acknowledged by a laggard       Raft keeps what a follower was sent and has not acknowledged
//!
//! A follower that acknowledges nothing, or too slowly, may take any time, for instance with a disk that hangs. Its
//! session of appends is interrupted then, and it continues from a snapshot.

use std::collections::BTreeMap;

use openraft::async_runtime::watch::WatchReceiver;

use super::Cluster;
use crate::clock::Clock;
use crate::error::Error;
use crate::lsn::Lsn;
use crate::raft::types::{LogId, index};

/// Upper bound on the waits for a follower that acknowledges something during each of them.
const WAITS_MAX: u32 = 10;

impl Cluster {
    /// Forgets the entries before `keep_from`, once a snapshot stands for them. They are gone when it returns.
    ///
    /// # Errors
    /// `Closed`.
    pub(crate) async fn trim(&self, keep_from: Lsn, clock: &dyn Clock) -> Result<(), Error> {
        let Some(last) = index(keep_from).checked_sub(1) else { return Ok(()) };
        let mut snapshots = self.raft.watch_snapshot_progress();
        let covers = |at: Option<LogId>| at.is_some_and(|at| last <= at.index());
        while !covers(snapshots.get()) {
            self.raft.trigger().snapshot().await.map_err(|_| Error::Closed)?;
            snapshots.changed().await.map_err(|_| Error::Closed)?;
        }
        self.raft.trigger().purge_log(last).await.map_err(|_| Error::Closed)?;
        let mut data = self.raft.data_metrics();
        let mut laggards = Laggards::default();
        let mut patience = clock.until(clock.now());
        while !covers(data.borrow_watched().purged) {
            tokio::select! {
                changed = data.changed() => changed.map_err(|_| Error::Closed)?,
                () = &mut patience => {
                    let acknowledged = data.borrow_watched().replication.clone();
                    match acknowledged {
                        Some(acknowledged) => self.interrupt(laggards.overdue(self.node, last, acknowledged)),
                        // It leads no more. Raft remembers the purge, and looks at it again with its next snapshot.
                        None => self.raft.trigger().snapshot().await.map_err(|_| Error::Closed)?,
                    }
                    patience = clock.until(clock.now() + self.patience);
                }
            }
        }
        Ok(())
    }

    fn interrupt(&self, followers: Vec<u64>) {
        for follower in followers {
            tracing::warn!(
                follower = format!("{follower:016x}"),
                "a follower does not acknowledge entries that are to be trimmed: it gets a snapshot instead of them"
            );
            self.network.interrupt(follower);
        }
    }
}

/// Followers that have not acknowledged all of what is to be purged.
#[derive(Default)]
struct Laggards {
    /// The entry that each of them had acknowledged at the last look.
    acknowledged: BTreeMap<u64, Option<LogId>>,
    waits: u32,
}

impl Laggards {
    /// Returns the laggards that are waited for no longer: those that have acknowledged nothing since the last look,
    /// and after `WAITS_MAX` waits all. `last` is the last entry to be purged.
    fn overdue(&mut self, node: u64, last: u64, acknowledged: BTreeMap<u64, Option<LogId>>) -> Vec<u64> {
        let is_behind = |at: &Option<LogId>| at.is_none_or(|at| at.index() < last);
        let behind: BTreeMap<_, _> =
            acknowledged.into_iter().filter(|(follower, at)| *follower != node && is_behind(at)).collect();
        let is_overdue = |follower: &u64, at: &Option<LogId>| {
            WAITS_MAX <= self.waits || self.acknowledged.get(follower) == Some(at)
        };
        let overdue = behind.iter().filter(|(follower, at)| is_overdue(follower, at));
        let overdue = overdue.map(|(follower, _)| *follower).collect();
        self.waits += 1;
        self.acknowledged = behind;
        overdue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Node 1 leads, and entries up to 10 are to be purged.
    fn overdue(laggards: &mut Laggards, followers: [(u64, u64); 2]) -> Vec<u64> {
        let at = |index| Some(LogId::new_term_index(1, index));
        let acknowledged = followers.map(|(follower, index)| (follower, at(index)));
        laggards.overdue(1, 10, acknowledged.into_iter().chain([(1, None)]).collect())
    }

    #[test]
    fn a_follower_that_acknowledges_nothing_is_not_waited_for() {
        let mut laggards = Laggards::default();
        assert_eq!(overdue(&mut laggards, [(2, 4), (3, 10)]), []);
        assert_eq!(overdue(&mut laggards, [(2, 4), (3, 10)]), [2]);
    }

    #[test]
    fn a_follower_that_acknowledges_something_is_waited_for() {
        let mut laggards = Laggards::default();
        assert_eq!(overdue(&mut laggards, [(2, 4), (3, 1)]), []);
        assert_eq!(overdue(&mut laggards, [(2, 5), (3, 1)]), [3]);
        assert_eq!(overdue(&mut laggards, [(2, 6), (3, 10)]), []);
    }

    #[test]
    fn a_follower_that_is_slow_is_not_waited_for_without_end() {
        let mut laggards = Laggards::default();
        for index in 0..10 {
            assert_eq!(overdue(&mut laggards, [(2, index), (3, 12)]), []);
        }
        assert_eq!(overdue(&mut laggards, [(2, 9), (3, 12)]), [2]);
    }
}
