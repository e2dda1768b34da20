//! The task that applies the journal.
//!
//!     tail ──► every partition ──► its hub ──► its frontier ──► wake who waits or watches
//!
//! What an entry says can be seen in all partitions before anything else runs on this thread: between entries those that
//! are served stand at the same position, and the keeper, which runs there too, takes its snapshots then. One that
//! has just been built may be ahead of the others, and is passed over until they are as far.
//!
//! A record may delete a million keys. Such a one is staged: applied in steps behind what can be seen, with others in
//! between, and then shown at once.
//!
//! Applying has no branch that can fail. What can fail is getting the entries.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use journal::{Batch, Clock, Entry, Lsn, SysOp, machine};
use tokio_util::sync::CancellationToken;

use crate::event::Change;
use crate::feed::{Entries, Feed};
use crate::holding::Holding;
use crate::metrics::ApplyMetrics;
use crate::pause::{STEP_WRITES, Turns, writes};
use crate::replica::Replica;
use crate::watch::Wakes;
use crate::work::{SnapshotDue, Work};

/// The follower of all partitions of this process.
pub(crate) struct Follower {
    feed: Feed,
    holding: Arc<Holding>,
    work: Arc<Work>,
    due: SnapshotDue,
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
    pub(crate) fn new(feed: Feed, holding: Arc<Holding>, work: Arc<Work>, due: SnapshotDue) -> Follower {
        let (changes, wakes) = (Vec::new(), Wakes::default());
        Follower { feed, holding, work, due, changes, wakes, meter: None }
    }

    /// Measures from now on.
    pub(crate) fn measured(self, metrics: Arc<ApplyMetrics>) -> Follower {
        let clock = self.feed.clock();
        Follower { meter: Some(Meter { metrics, clock }), ..self }
    }

    /// Applies until it is cancelled, or until entries cannot be had.
    /// They come out of `bridge`, or else out of the journal.
    pub(crate) async fn run(
        mut self,
        bridge: Option<Entries>,
        cancel: CancellationToken,
    ) -> Result<(), journal::Error> {
        let Some(from) = self.begins(&cancel).await else { return Ok(()) };
        let mut entries = bridge.unwrap_or_else(|| self.feed.entries(from));
        loop {
            let entries = tokio::select! {
                biased;
                () = cancel.cancelled() => return Ok(()),
                entries = entries.next() => entries?,
            };
            let (meter, mut turns, mut sum) = (self.meter.take(), Turns::default(), 0);
            for entry in &entries {
                let weight = writes(entry);
                sum += weight;
                if STEP_WRITES < weight {
                    self.stage(entry).await;
                }
                match &meter {
                    Some(meter) => meter.measure(|| self.apply(entry), entry),
                    None => self.apply(entry),
                }
                turns.took(weight.min(STEP_WRITES)).await;
            }
            self.meter = meter;
            self.work.wake(&self.due);
            if STEP_WRITES < sum {
                machine::spawn_blocking(move || drop(entries));
            }
        }
    }

    /// Applies and tells in steps, where nobody sees it yet, what is too long for one.
    async fn stage(&mut self, entry: &Entry) {
        let before = self.holding.followed().applied.expect("there is something to apply to");
        let Some(batch) = entry.effects(before.revision) else { return };
        // One that joins between two steps has all of it before it.
        while let Some(replica) = self.unstaged(entry, batch) {
            let changes = &mut self.changes;
            changes.clear();
            replica.partition.stage(batch, STEP_WRITES, &mut |change| changes.push(change));
            replica.hub.offer(changes);
            tokio::task::yield_now().await;
        }
    }

    /// A replica to which some of the batch is still to be applied.
    fn unstaged(&self, entry: &Entry, batch: &Batch) -> Option<Arc<Replica>> {
        let writes = batch.records.iter().map(|record| record.writes.len()).sum();
        let followed = self.holding.followed();
        let mut lacking = followed.lacking(entry.lsn);
        lacking.find(|replica| replica.partition.staged() < writes).cloned()
    }

    /// Waits until there is something to apply to, and answers what comes next to it. `None` when cancelled.
    async fn begins(&self, cancel: &CancellationToken) -> Option<Lsn> {
        loop {
            let applied = self.holding.followed().applied;
            if let Some(applied) = applied {
                return Some(applied.lsn.next());
            }
            tokio::select! {
                () = cancel.cancelled() => return None,
                () = self.holding.begun() => {}
            }
        }
    }

    fn apply(&mut self, entry: &Entry) {
        let mut followed = self.holding.followed();
        let (applied, effects) = followed.goes_on(entry);
        if let Some(batch) = effects {
            for replica in followed.lacking(entry.lsn) {
                self.changes.clear();
                replica.partition.apply(batch, &mut |change| self.changes.push(change));
                replica.hub.publish(&self.changes, applied.revision, &mut self.wakes);
            }
            self.work.count(batch);
            if batch.records.iter().any(|record| matches!(record.sysop, Some(SysOp::Compact { .. }))) {
                self.work.compact();
            }
        }
        for replica in followed.lacking(entry.lsn) {
            replica.frontier.advance(applied);
        }
        // What was told is shared by its watchers from here on; nothing of it stays with us.
        if STEP_WRITES < self.changes.len() {
            let changes = std::mem::take(&mut self.changes);
            machine::spawn_blocking(move || drop(changes));
        }
        self.changes.clear();
        self.wakes.wake();
        self.holding.settle(&mut followed);
    }
}
