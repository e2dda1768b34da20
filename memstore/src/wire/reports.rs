//! What a memstore says of itself, from and to messages.

use journal::{Lsn, Revision};
use proto::memstore as message;

use super::Malformed;
use crate::frontier::Applied;
use crate::partition_id::{PartitionId, PartitionRange};
use crate::stats::PartitionStats;

/// Which start of which memstore speaks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) cluster: u64,
    pub(crate) process: u64,
    pub(crate) name: String,
}

/// How far a partition is, and how much that is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) applied: Applied,
    pub(crate) bytes_in_use: u64,
}

/// How the memstore is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Condition {
    /// It is about to go, and answers until then.
    pub(crate) leaving: bool,
    /// What makes it grow is to be refused.
    pub(crate) short_of_memory: bool,
    /// It hears nothing of the journal.
    pub(crate) cut_off: bool,
}

/// Of everything but its condition only what has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) identity: Identity,
    /// All of them, in the order of their keys.
    pub(crate) serving: Option<Vec<PartitionRange>>,
    pub(crate) positions: Vec<(PartitionId, Position)>,
    pub(crate) stats: Vec<(PartitionId, PartitionStats)>,
    pub(crate) condition: Condition,
}

pub(crate) fn write(report: Report) -> message::Report {
    let Report { identity, serving, positions, stats, condition } = report;
    let Identity { cluster, process, name } = identity;
    let Condition { leaving, short_of_memory, cut_off } = condition;
    let partition = |PartitionRange { id, start, end }| message::Partition { id: id.0, start, end };
    let serving =
        serving.map(|all| message::Serving { partitions: all.into_iter().map(partition).collect() });
    let position = |(id, position): (PartitionId, Position)| message::Position {
        partition: id.0,
        lsn: position.applied.lsn.0,
        revision: position.applied.revision.0,
        bytes_in_use: position.bytes_in_use,
    };
    let positions = positions.into_iter().map(position).collect();
    let stats = stats.into_iter().map(write_stats).collect();
    message::Report { cluster, process, name, serving, positions, stats, leaving, short_of_memory, cut_off }
}

pub(crate) fn read(report: message::Report) -> Result<Report, Malformed> {
    let message::Report { cluster, process, name, serving, positions, stats, .. } = report;
    let message::Report { leaving, short_of_memory, cut_off, .. } = report;
    let condition = Condition { leaving, short_of_memory, cut_off };
    let serving = serving.map(read_serving).transpose()?;
    let position = |position: message::Position| {
        let message::Position { partition, lsn, revision, bytes_in_use } = position;
        let applied = Applied { lsn: Lsn(lsn), revision: Revision(revision) };
        (PartitionId(partition), Position { applied, bytes_in_use })
    };
    let positions = positions.into_iter().map(position).collect();
    let stats = stats.into_iter().map(read_stats).collect();
    let identity = Identity { cluster, process, name };
    Ok(Report { identity, serving, positions, stats, condition })
}

/// In order and apart from each other, so that a key is looked for by halving.
fn read_serving(serving: message::Serving) -> Result<Vec<PartitionRange>, Malformed> {
    let range = |message::Partition { id, start, end }| PartitionRange { id: PartitionId(id), start, end };
    let ranges: Vec<PartitionRange> = serving.partitions.into_iter().map(range).collect();
    let apart = |pair: &[PartitionRange]| {
        pair[0].end.as_ref().is_some_and(|end| pair[0].start < *end && *end <= pair[1].start)
    };
    if !ranges.windows(2).all(apart) {
        return Err(Malformed("partitions overlap, or are not in the order of their keys".to_owned()));
    }
    Ok(ranges)
}

fn write_stats((id, stats): (PartitionId, PartitionStats)) -> message::PartitionStats {
    message::PartitionStats {
        partition: id.0,
        keys: stats.keys,
        versions: stats.versions,
        events: stats.events,
        bytes_total: stats.bytes_total,
        bytes_in_use: stats.bytes_in_use,
        leased_keys: stats.leased_keys,
        puts: stats.puts,
        deletes: stats.deletes,
        freed: stats.freed,
        put_bytes: stats.put_bytes,
        watchers: stats.watchers,
        slow_watchers: stats.slow_watchers,
        compacted: stats.compacted.0,
    }
}

fn read_stats(stats: message::PartitionStats) -> (PartitionId, PartitionStats) {
    let read = PartitionStats {
        keys: stats.keys,
        versions: stats.versions,
        events: stats.events,
        bytes_total: stats.bytes_total,
        bytes_in_use: stats.bytes_in_use,
        leased_keys: stats.leased_keys,
        puts: stats.puts,
        deletes: stats.deletes,
        freed: stats.freed,
        put_bytes: stats.put_bytes,
        watchers: stats.watchers,
        slow_watchers: stats.slow_watchers,
        compacted: Revision(stats.compacted),
    };
    (PartitionId(stats.partition), read)
}
