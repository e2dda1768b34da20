//! What another memstore has said of itself, for whoever holds a handle on it.
//!
//! The set of partitions and whether the memstore is up change rarely: both are told to whoever waits for them.
//! Positions move all the time: they are atomics that are looked at.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::client::Serves;
use crate::error::Error;
use crate::frontier::{Applied, Frontier};
use crate::partition_id::{PartitionId, PartitionRange};
use crate::stats::{PartitionStats, Stats};
use crate::wire::reports::{Condition, Identity, Position, Report};

/// Whether a memstore answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// It has said nothing for so long that it is given up, or never has.
    Down,
    /// It should have said something by now, or hears nothing of the journal: others are asked first.
    Quiet,
    /// It answers, and has said that it is about to go: others are asked first.
    Leaving,
    Up,
}

/// One partition of another memstore.
struct Mirrored {
    range: PartitionRange,
    frontier: Frontier,
    bytes_in_use: AtomicU64,
    stats: Mutex<PartitionStats>,
}

impl Mirrored {
    fn hear(&self, Position { applied, bytes_in_use }: Position) {
        self.bytes_in_use.store(bytes_in_use, Relaxed);
        if self.frontier.applied().lsn <= applied.lsn {
            self.frontier.advance(applied);
        }
    }

    /// As many bytes as it held once it had applied this, or what was told later.
    fn position(&self) -> Position {
        let applied = self.frontier.applied();
        Position { applied, bytes_in_use: self.bytes_in_use.load(Relaxed) }
    }
}

/// What it serves.
#[derive(Clone)]
struct Seen {
    health: Health,
    short_of_memory: bool,
    identity: Arc<Identity>,
    ranges: Arc<[PartitionRange]>,
    /// In the same order.
    mirrored: Arc<[Arc<Mirrored>]>,
}

/// The side that looks. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Mirror {
    seen: watch::Receiver<Seen>,
}

/// The side that hears.
pub(super) struct Mirroring {
    seen: watch::Sender<Seen>,
}

pub(super) fn mirror() -> (Mirroring, Mirror) {
    let (ranges, mirrored) = (Arc::from([]), Arc::from([]));
    let identity = Arc::default();
    let seen = Seen { health: Health::Down, short_of_memory: false, identity, ranges, mirrored };
    let (hears, looks) = watch::channel(seen);
    (Mirroring { seen: hears }, Mirror { seen: looks })
}

impl Mirror {
    pub(crate) fn health(&self) -> Health {
        self.seen.borrow().health
    }

    /// Of one that is down nobody knows.
    pub(crate) fn is_short_of_memory(&self) -> bool {
        self.seen.borrow().is_short_of_memory()
    }

    /// Resolves when that is otherwise than `short`.
    pub(crate) async fn memory_turned_from(&self, short: bool) {
        let mut seen = self.seen.clone();
        let turned = seen.wait_for(|seen| seen.is_short_of_memory() != short).await.map(drop);
        or_never(turned.ok()).await
    }

    /// Resolves when it is up.
    pub(crate) fn up(&self) -> impl Future<Output = ()> + Send + use<> {
        self.until(|health| health > Health::Down)
    }

    /// Resolves when it is down.
    pub(crate) fn down(&self) -> impl Future<Output = ()> + Send + use<> {
        self.until(|health| health == Health::Down)
    }

    fn until(&self, is: fn(Health) -> bool) -> impl Future<Output = ()> + Send + use<> {
        let mut seen = self.seen.clone();
        // Whoever hears does so for as long as anybody looks.
        async move { drop(seen.wait_for(|seen| is(seen.health)).await) }
    }

    /// Which start of which memstore spoke last.
    pub(crate) fn identity(&self) -> Arc<Identity> {
        self.seen.borrow().identity.clone()
    }

    pub(crate) fn partitions(&self) -> Arc<[PartitionRange]> {
        self.seen.borrow().ranges.clone()
    }

    pub(crate) async fn other_partitions(&self, known: &Arc<[PartitionRange]>) -> Arc<[PartitionRange]> {
        let mut seen = self.seen.clone();
        let other = seen.wait_for(|seen| !Arc::ptr_eq(&seen.ranges, known)).await;
        let other = other.map(|seen| seen.ranges.clone());
        or_never(other.ok()).await
    }

    pub(crate) fn serves(&self) -> Serves {
        self.seen.borrow().serves()
    }

    pub(crate) async fn other_than(&self, known: &Serves) -> Serves {
        let mut seen = self.seen.clone();
        let other = seen.wait_for(|seen| !seen.serves().is(known)).await.map(|seen| seen.serves());
        or_never(other.ok()).await
    }

    pub(crate) fn applied(&self, partition: PartitionId) -> Result<Applied, Error> {
        Ok(self.position(partition)?.applied)
    }

    pub(crate) fn position(&self, partition: PartitionId) -> Result<Position, Error> {
        let seen = self.seen.borrow();
        Ok(seen.get(partition).ok_or(Error::WrongPartition)?.position())
    }

    pub(crate) fn reached(&self) -> Applied {
        let seen = self.seen.borrow();
        let applied = seen.mirrored.iter().map(|mirrored| mirrored.frontier.applied());
        applied.max_by_key(|applied| applied.lsn).unwrap_or_default()
    }

    pub(crate) fn partition_stats(&self, partition: PartitionId) -> Result<PartitionStats, Error> {
        let seen = self.seen.borrow();
        Ok(*seen.get(partition).ok_or(Error::WrongPartition)?.stats.lock())
    }

    pub(crate) fn partition_bytes_in_use(&self, partition: PartitionId) -> Result<u64, Error> {
        Ok(self.position(partition)?.bytes_in_use)
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats::sum(self.seen.borrow().mirrored.iter().map(|mirrored| *mirrored.stats.lock()).collect())
    }

    pub(crate) fn bytes_in_use(&self) -> u64 {
        self.seen.borrow().mirrored.iter().map(|mirrored| mirrored.bytes_in_use.load(Relaxed)).sum()
    }
}

/// What nobody will ever tell is waited for without end.
async fn or_never<T>(told: Option<T>) -> T {
    match told {
        Some(told) => told,
        None => std::future::pending().await,
    }
}

impl Mirroring {
    /// Nobody looks any more.
    pub(super) async fn closed(&self) {
        self.seen.closed().await;
    }

    /// Takes a report in. Afterwards the memstore is up, if it says nothing else.
    pub(super) fn hear(&self, report: Report) {
        let Report { identity, serving, positions, stats, condition } = report;
        let health = match condition {
            Condition { cut_off: true, .. } => Health::Quiet,
            Condition { leaving: true, .. } => Health::Leaving,
            Condition { .. } => Health::Up,
        };
        self.seen.send_if_modified(|seen| {
            let short_of_memory = condition.short_of_memory;
            let mut changed = (seen.health, seen.short_of_memory) != (health, short_of_memory);
            (seen.health, seen.short_of_memory) = (health, short_of_memory);
            if *seen.identity != identity {
                // Another start of it begins with nothing.
                *seen = Seen {
                    identity: identity.into(),
                    ranges: Arc::from([]),
                    mirrored: Arc::from([]),
                    ..*seen
                };
                changed = true;
            }
            if let Some(serving) = serving {
                changed = true;
                seen.serve(serving);
            }
            for (id, position) in positions {
                if let Some(mirrored) = seen.get(id) {
                    mirrored.hear(position);
                }
            }
            for (id, stats) in stats {
                if let Some(mirrored) = seen.get(id) {
                    *mirrored.stats.lock() = stats;
                }
            }
            changed
        });
    }

    pub(super) fn is(&self, health: Health) {
        self.seen.send_if_modified(|seen| std::mem::replace(&mut seen.health, health) != health);
    }
}

impl Seen {
    fn is_short_of_memory(&self) -> bool {
        self.health > Health::Down && self.short_of_memory
    }

    fn serves(&self) -> Serves {
        Serves { health: self.health, partitions: self.ranges.clone() }
    }

    /// What stays keeps its figures.
    fn serve(&mut self, serving: Vec<PartitionRange>) {
        let mirrored = |range: &PartitionRange| match self.get(range.id) {
            Some(known) if known.range == *range => known.clone(),
            _ => Arc::new(Mirrored {
                range: range.clone(),
                frontier: Frontier::new(Applied::default()),
                bytes_in_use: AtomicU64::new(0),
                stats: Mutex::default(),
            }),
        };
        self.mirrored = serving.iter().map(mirrored).collect();
        self.ranges = serving.into();
    }

    fn get(&self, id: PartitionId) -> Option<&Arc<Mirrored>> {
        self.mirrored.iter().find(|mirrored| mirrored.range.id == id)
    }
}
