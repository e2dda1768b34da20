//! What the follower leaves to be done behind it: memory to free, and a snapshot when enough has happened.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use journal::{Batch, Record, SysOp, Write};
use tokio::sync::Notify;

/// When a snapshot is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotDue {
    /// Bytes of records applied since the last one.
    pub bytes: u64,
    /// Records applied since the last one.
    pub records: u64,
}

impl Default for SnapshotDue {
    fn default() -> SnapshotDue {
        SnapshotDue { bytes: 64 << 20, records: 500_000 }
    }
}

/// Counts since the last snapshot. The follower counts, the keeper takes.
#[derive(Default)]
pub(crate) struct Work {
    bytes: AtomicU64,
    records: AtomicU64,
    compaction: AtomicBool,
    pending: Notify,
}

impl Work {
    /// A batch was applied.
    pub(crate) fn count(&self, batch: &Batch) {
        // A mark alone is no reason for the next snapshot.
        let is_mark = |record: &&Record| matches!(record.sysop, Some(SysOp::SnapshotMark { .. }));
        let records = batch.records.iter().filter(|record| !is_mark(record));
        let (mut bytes, mut number) = (0, 0);
        for record in records {
            bytes += RECORD_BYTES + record.writes.iter().map(write_bytes).sum::<u64>();
            number += 1;
        }
        self.bytes.fetch_add(bytes, SeqCst);
        self.records.fetch_add(number, SeqCst);
    }

    /// There is something to compact.
    pub(crate) fn compact(&self) {
        self.compaction.store(true, SeqCst);
    }

    /// Wakes the keeper if there is anything to do.
    pub(crate) fn wake(&self, due: &SnapshotDue) {
        if self.compaction.load(SeqCst) || self.is_due(due) {
            self.pending.notify_one();
        }
    }

    pub(crate) async fn pending(&self) {
        self.pending.notified().await;
    }

    /// Whether there is something to compact; asked once.
    pub(crate) fn take_compaction(&self) -> bool {
        self.compaction.swap(false, SeqCst)
    }

    pub(crate) fn is_due(&self, due: &SnapshotDue) -> bool {
        due.bytes <= self.bytes.load(SeqCst) || due.records <= self.records.load(SeqCst)
    }

    /// Whether anything was applied since the last snapshot.
    pub(crate) fn any(&self) -> bool {
        self.records.load(SeqCst) > 0
    }

    /// A snapshot of everything applied so far begins.
    pub(crate) fn begin_anew(&self) {
        self.bytes.store(0, SeqCst);
        self.records.store(0, SeqCst);
    }
}

/// About what a record needs beside its writes.
const RECORD_BYTES: u64 = 32;

fn write_bytes(write: &Write) -> u64 {
    match write {
        Write::Put { key, value, .. } => count(key.len()) + count(value.len()) + 16,
        Write::Delete { key } => count(key.len()) + 4,
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).expect("a length fits 64 bits")
}
