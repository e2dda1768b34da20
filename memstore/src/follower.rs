//! The task that applies the journal.
//!
//!     tail ──► every partition ──► its hub ──► its frontier ──► wake who waits or watches
//!
//! An entry is applied to all partitions before anything else runs on this thread: between entries they all
//! stand at the same position, and the keeper, which runs there too, takes its snapshots then.
//!
//! Applying has no branch that can fail. What can fail is getting the entries.

use std::sync::Arc;

use journal::{Entry, SysOp};
use tokio_util::sync::CancellationToken;

use crate::event::Change;
use crate::feed::Entries;
use crate::frontier::Applied;
use crate::replica::Replica;
use crate::watch::Wakes;
use crate::work::{SnapshotDue, Work};

/// The follower of all partitions of this process.
pub(crate) struct Follower {
    entries: Entries,
    replicas: Arc<[Replica]>,
    work: Arc<Work>,
    due: SnapshotDue,
    /// What is applied, on every partition.
    applied: Applied,
    /// Kept from entry to entry for its room.
    changes: Vec<Change>,
    wakes: Wakes,
}

impl Follower {
    /// The replicas stand at one position, and `entries` begin behind it.
    pub(crate) fn new(
        entries: Entries,
        replicas: Arc<[Replica]>,
        work: Arc<Work>,
        due: SnapshotDue,
    ) -> Follower {
        let applied = replicas.first().expect("there is at least one partition").frontier.applied();
        let same = replicas.iter().all(|replica| replica.frontier.applied() == applied);
        assert!(same, "all partitions start at the same position");
        Follower { entries, replicas, work, due, applied, changes: Vec::new(), wakes: Wakes::default() }
    }

    /// Applies until it is cancelled, or until entries cannot be had.
    pub(crate) async fn run(mut self, cancel: CancellationToken) -> Result<(), journal::Error> {
        loop {
            let entries = tokio::select! {
                biased;
                () = cancel.cancelled() => return Ok(()),
                entries = self.entries.next() => entries?,
            };
            for entry in &entries {
                self.apply(entry);
            }
            self.work.wake(&self.due);
        }
    }

    fn apply(&mut self, entry: &Entry) {
        assert_eq!(entry.lsn, self.applied.lsn.next(), "entries are applied in order");
        self.applied.lsn = entry.lsn;
        if let Some(batch) = &entry.batch {
            assert_eq!(batch.base_revision, self.applied.revision.next(), "revisions are dense");
            self.applied.revision = batch.last_revision();
            for replica in self.replicas.iter() {
                self.changes.clear();
                replica.partition.apply(batch, &mut |change| self.changes.push(change));
                replica.hub.publish(&self.changes, self.applied.revision, &mut self.wakes);
            }
            self.work.count(batch);
            if batch.records.iter().any(|record| matches!(record.sysop, Some(SysOp::Compact { .. }))) {
                self.work.compact();
            }
        }
        for replica in self.replicas.iter() {
            replica.frontier.advance(self.applied);
        }
        // What was told is shared by its watchers from here on; nothing of it stays with us.
        self.changes.clear();
        self.wakes.wake();
    }
}
