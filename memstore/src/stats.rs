//! Figures for the operator: what a memstore holds.

use journal::Revision;

/// Of every partition, and of all together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub partitions: Vec<PartitionStats>,
    /// Sums; `compacted` is the largest, since a compaction concerns the whole store.
    pub total: PartitionStats,
}

/// Of one partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionStats {
    /// Keys that exist now.
    pub keys: u64,
    /// Versions kept, deletions too.
    pub versions: u64,
    /// Events that a watch can still be told of.
    pub events: u64,
    /// Bytes taken: what is in use, and room kept for keys to come. Counted, not measured.
    pub bytes_total: u64,
    /// Bytes of keys, values and what describes them, of all versions.
    pub bytes_in_use: u64,
    /// Keys attached to a lease.
    pub leased_keys: u64,
    /// Keys put and deleted, and versions freed by compaction, since the process began.
    pub puts: u64,
    pub deletes: u64,
    pub freed: u64,
    /// Bytes of the keys and values put since the process began.
    pub put_bytes: u64,
    /// Of each partition that a client's watcher touches, one.
    pub watchers: u64,
    /// Watchers that are served from history, since they have not caught up or are too slow.
    pub slow_watchers: u64,
    /// Reads below this revision are refused.
    pub compacted: Revision,
}

impl Stats {
    /// Puts those of all partitions together.
    #[must_use]
    pub fn sum(partitions: Vec<PartitionStats>) -> Stats {
        let total = partitions.iter().fold(PartitionStats::default(), |sum, part| PartitionStats {
            keys: sum.keys + part.keys,
            versions: sum.versions + part.versions,
            events: sum.events + part.events,
            bytes_total: sum.bytes_total + part.bytes_total,
            bytes_in_use: sum.bytes_in_use + part.bytes_in_use,
            leased_keys: sum.leased_keys + part.leased_keys,
            puts: sum.puts + part.puts,
            deletes: sum.deletes + part.deletes,
            freed: sum.freed + part.freed,
            put_bytes: sum.put_bytes + part.put_bytes,
            watchers: sum.watchers + part.watchers,
            slow_watchers: sum.slow_watchers + part.slow_watchers,
            compacted: sum.compacted.max(part.compacted),
        });
        Stats { partitions, total }
    }
}
