//! Telling one other process what this memstore serves and how far it is.
//!
//!     something has moved ──► report ──► 5 ms, in which more may ──► report …
//!     nothing has         ──► a sign of life after 100 ms
//!
//! Reads wait here and not there, so nobody waits for a report.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use journal::Clock;
use tokio::sync::mpsc;
use tonic::Status;

use super::following::Following;
use crate::client::Memstore;
use crate::farewell::Farewell;
use crate::feed::Feed;
use crate::partition_id::{PartitionId, PartitionRange};
use crate::remote::{Health, SIGN_OF_LIFE};
use crate::stats::PartitionStats;
use crate::wire::reports::{self, Condition, Identity, Position, Report};

/// The least time between two reports.
const PAUSE: Duration = Duration::from_millis(5);
/// How often sizes are told.
const STATS_EVERY: Duration = Duration::from_millis(500);

pub(super) struct Reporting {
    memstore: Memstore,
    identity: Identity,
    feed: Feed,
    clock: Arc<dyn Clock>,
    farewell: Farewell,
    following: Following,
    /// What was told. Nothing at first.
    serving: Option<Arc<[PartitionRange]>>,
    positions: HashMap<PartitionId, Position>,
    stats: HashMap<PartitionId, PartitionStats>,
    stats_due: Duration,
    leaving: bool,
}

impl Reporting {
    pub(super) fn new(
        memstore: Memstore,
        identity: Identity,
        feed: Feed,
        clock: Arc<dyn Clock>,
        farewell: Farewell,
    ) -> Reporting {
        Reporting {
            memstore,
            identity,
            feed,
            clock,
            farewell,
            following: Following::default(),
            serving: None,
            positions: HashMap::new(),
            stats: HashMap::new(),
            stats_due: Duration::ZERO,
            leaving: false,
        }
    }

    /// Until nobody listens, or the memstore closes.
    pub(super) async fn run(mut self, out: mpsc::Sender<Result<proto::memstore::Report, Status>>) {
        while self.memstore.health() != Health::Down {
            let report = reports::write(self.report());
            if out.send(Ok(report)).await.is_err() {
                return;
            }
            tokio::select! {
                () = out.closed() => return,
                () = self.clock.until(self.clock.now() + PAUSE) => {}
            }
            tokio::select! {
                () = out.closed() => return,
                () = self.moved() => {}
                () = self.clock.until(self.clock.now() + SIGN_OF_LIFE - PAUSE) => {}
            }
        }
    }

    /// Every entry of the journal concerns every partition, so the first stands for all. One that lags is told of
    /// with the next report.
    async fn moved(&self) {
        let serving = self.memstore.partitions();
        if self.serving.as_ref().is_none_or(|told| !Arc::ptr_eq(told, &serving)) {
            return;
        }
        let applied = async {
            let Some(first) = serving.first() else { return std::future::pending().await };
            let told = self.positions.get(&first.id).copied().unwrap_or_default().applied;
            if self.memstore.wait(first.id, told.lsn.next()).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = applied => {}
            _ = self.memstore.other_partitions(&serving) => {}
            () = self.memstore.closing() => {}
            () = self.farewell.begun(), if !self.leaving => {}
        }
    }

    /// What has changed since the last one.
    fn report(&mut self) -> Report {
        let serving = self.memstore.partitions();
        let news = self.serving.as_ref().is_none_or(|told| !Arc::ptr_eq(told, &serving));
        if news {
            self.serving = Some(serving.clone());
            self.positions.retain(|id, _| serving.iter().any(|range| range.id == *id));
            self.stats.retain(|id, _| serving.iter().any(|range| range.id == *id));
            // New ones have sizes at once.
            self.stats_due = Duration::ZERO;
        }
        let mut positions = Vec::new();
        for range in serving.iter() {
            let Some(now) = self.position(range.id) else { continue };
            if self.positions.insert(range.id, now) != Some(now) {
                positions.push((range.id, now));
            }
        }
        let stats = self.stats(&serving);
        let condition = self.condition(&serving);
        let (identity, serving) = (self.identity.clone(), news.then(|| serving.to_vec()));
        Report { identity, serving, positions, stats, condition }
    }

    fn condition(&mut self, serving: &[PartitionRange]) -> Condition {
        self.leaving = self.farewell.is_leaving();
        let (now, applied) = (self.clock.now(), self.memstore.reached().lsn);
        let lost = self.following.is_lost(now, applied, self.feed.reached());
        Condition {
            leaving: self.leaving,
            short_of_memory: self.memstore.is_short_of_memory(),
            cut_off: lost && !serving.is_empty(),
        }
    }

    fn position(&self, partition: PartitionId) -> Option<Position> {
        let applied = self.memstore.applied(partition).ok()?;
        let bytes_in_use = self.memstore.partition_bytes_in_use(partition).ok()?;
        Some(Position { applied, bytes_in_use })
    }

    fn stats(&mut self, serving: &[PartitionRange]) -> Vec<(PartitionId, PartitionStats)> {
        let now = self.clock.now();
        if now < self.stats_due {
            return Vec::new();
        }
        self.stats_due = now + STATS_EVERY;
        let stats = |range: &PartitionRange| Some((range.id, self.memstore.partition_stats(range.id).ok()?));
        let now = serving.iter().filter_map(stats).collect::<Vec<_>>();
        now.into_iter().filter(|(id, stats)| self.stats.insert(*id, *stats) != Some(*stats)).collect()
    }
}
