//! What the follower leaves to be done behind it: memory to free, and a snapshot when enough has happened.
//!
//!     snapshot of S         snapshot of T                    snapshot
//!        ├──── S applied ────────┤──────── T applied ────────────┤       S, T: at least `SnapshotDue`
//!
//! A snapshot costs what it holds. The next one is due when as much was applied as the last one held, so what
//! a write pays for snapshots does not depend on how many keys there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use journal::{Batch, Record, SysOp, Write};
use tokio::sync::Notify;

use crate::replica::Replica;

/// When a snapshot is due at the earliest, if the last one held less than this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotDue {
    /// Bytes of records applied since the last one.
    pub bytes: u64,
    /// Records applied since the last one.
    pub records: u64,
}

/// What a snapshot of all partitions holds, or would.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) bytes: u64,
    pub(crate) versions: u64,
}

impl Held {
    pub(crate) fn by(replicas: &[Arc<Replica>]) -> Held {
        replicas.iter().map(|replica| replica.partition.stats()).fold(Held::default(), |held, part| Held {
            bytes: held.bytes + part.bytes_in_use,
            versions: held.versions + part.versions,
        })
    }
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
    /// Of the last snapshot, or of what was there at the start.
    bytes_held: AtomicU64,
    versions_held: AtomicU64,
    compaction: AtomicBool,
    pending: Notify,
}

impl Work {
    /// `held` is there already, and has a snapshot.
    pub(crate) fn new(held: Held) -> Work {
        let work = Work::default();
        work.begin_anew(held);
        work
    }

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

    /// The same, and nobody else wakes the keeper for it.
    pub(crate) fn compact_now(&self) {
        self.compact();
        self.pending.notify_one();
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
        due.bytes.max(self.bytes_held.load(SeqCst)) <= self.bytes.load(SeqCst)
            || due.records.max(self.versions_held.load(SeqCst)) <= self.records.load(SeqCst)
    }

    /// Whether anything was applied since the last snapshot.
    pub(crate) fn any(&self) -> bool {
        self.records.load(SeqCst) > 0
    }

    /// A snapshot of everything applied so far begins, and that is `held`.
    pub(crate) fn begin_anew(&self, held: Held) {
        self.bytes_held.store(held.bytes, SeqCst);
        self.versions_held.store(held.versions, SeqCst);
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use journal::{LeaseId, Origin, Revision};

    use super::*;

    /// Bytes counted for the put below.
    const PUT_BYTES: u64 = RECORD_BYTES + 3 + 16;
    const BY_RECORDS: SnapshotDue = SnapshotDue { bytes: u64::MAX, records: 100 };
    const BY_BYTES: SnapshotDue = SnapshotDue { bytes: 100 * PUT_BYTES, records: u64::MAX };

    /// Counts `records` puts one by one, and answers how many versions the snapshots took that became due on the
    /// way, in a store of `keys` keys that is compacted all the time.
    fn versions_written(due: &SnapshotDue, keys: u64, records: u64) -> u64 {
        let held = Held { bytes: keys * PUT_BYTES, versions: keys };
        let work = Work::new(held);
        let put = Write::Put { key: Bytes::from("key"), value: Bytes::new(), lease: LeaseId::NONE };
        let record = Record { origin: Origin::default(), writes: vec![put], sysop: None };
        let batch = Batch { term: 1, base_revision: Revision(2), wall_clock_ms: 0, records: vec![record] };
        let mut versions = 0;
        for _ in 0..records {
            work.count(&batch);
            if work.is_due(due) {
                work.begin_anew(held);
                versions += held.versions;
            }
        }
        versions
    }

    #[test]
    fn what_a_write_pays_for_snapshots_does_not_grow_with_the_keys() {
        for due in [BY_RECORDS, BY_BYTES] {
            assert_eq!(versions_written(&due, 10, 10_000), 1_000, "a small store: every hundred records");
            for keys in [100, 1_000, 5_000] {
                assert_eq!(versions_written(&due, keys, 10_000), 10_000, "{keys} keys");
            }
        }
    }
}
