//! The task that applies the journal.
//!
//!     tail ──► every partition ──► its hub ──► its frontier ──► wake who waits or watches
//!
//! An entry is applied to all partitions before anything else runs on this thread: between entries they all
//! stand at the same position, and the keeper, which runs there too, takes its snapshots then.
//!
//! Applying has no branch that can fail. What can fail is getting the entries.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use journal::{Clock, Entry, SysOp};
use tokio_util::sync::CancellationToken;

use crate::event::Change;
use crate::feed::Entries;
use crate::frontier::Applied;
use crate::metrics::ApplyMetrics;
use crate::replicas::Served;
use crate::watch::Wakes;
use crate::work::{SnapshotDue, Work};

/// The follower of all partitions of this process.
pub(crate) struct Follower {
    entries: Entries,
    replicas: Arc<Served>,
    work: Arc<Work>,
    due: SnapshotDue,
    /// What is applied, on every partition.
    applied: Applied,
    /// Kept from entry to entry for its room.
    changes: Vec<Change>,
    wakes: Wakes,
    meter: Option<Meter>,
}

/// Measures what applying takes.
struct Meter {
    metrics: Arc<ApplyMetrics>,
    clock: Arc<dyn Clock>,
}

impl Meter {
    fn measure(&self, apply: impl FnOnce(), entry: &Entry) {
        let began = self.clock.now();
        apply();
        let took = self.clock.now().saturating_sub(began);
        self.metrics.took.observe(took);
        if let Some(expected) = self.metrics.slow_after.filter(|expected| *expected < took) {
            self.metrics.slow.fetch_add(1, Relaxed);
            let records = entry.batch.as_ref().map_or(0, |batch| batch.records.len());
            let (took, expected) = (format!("{took:?}"), format!("{expected:?}"));
            // In the words that people search etcd's logs for.
            tracing::warn!(
                took,
                expected_duration = expected,
                position = entry.lsn.0,
                records,
                "apply request took too long"
            );
        }
    }
}

impl Follower {
    /// The replicas stand at one position, and `entries` begin behind it.
    pub(crate) fn new(
        entries: Entries,
        replicas: Arc<Served>,
        work: Arc<Work>,
        due: SnapshotDue,
    ) -> Follower {
        let applied = replicas.first().expect("there is at least one partition").frontier.applied();
        let same = replicas.iter().all(|replica| replica.frontier.applied() == applied);
        assert!(same, "all partitions start at the same position");
        let (changes, wakes) = (Vec::new(), Wakes::default());
        Follower { entries, replicas, work, due, applied, changes, wakes, meter: None }
    }

    /// Measures from now on.
    pub(crate) fn measured(self, metrics: Arc<ApplyMetrics>, clock: Arc<dyn Clock>) -> Follower {
        Follower { meter: Some(Meter { metrics, clock }), ..self }
    }

    /// Applies until it is cancelled, or until entries cannot be had.
    pub(crate) async fn run(mut self, cancel: CancellationToken) -> Result<(), journal::Error> {
        loop {
            let entries = tokio::select! {
                biased;
                () = cancel.cancelled() => return Ok(()),
                entries = self.entries.next() => entries?,
            };
            let meter = self.meter.take();
            for entry in &entries {
                match &meter {
                    Some(meter) => meter.measure(|| self.apply(entry), entry),
                    None => self.apply(entry),
                }
            }
            self.meter = meter;
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
