//! Where a memstore begins: the newest snapshots that can be used, or nothing at all.

use journal::{Lsn, Revision};
use tracing::{error, info, warn};

use crate::error::Error;
use crate::frontier::Applied;
use crate::partition::Partition;
use crate::partition_id::PartitionRange;
use crate::snapshot::Folder;

/// Partitions at one position of the journal.
pub(crate) struct Start {
    pub(crate) applied: Applied,
    pub(crate) partitions: Vec<Partition>,
}

impl Start {
    /// # Errors
    /// `Missing` where the journal, which begins at `first`, does not go on from here.
    pub(crate) fn check(self, first: Lsn) -> Result<Start, Error> {
        let next = self.applied.lsn.next();
        if next < first { Err(Error::Missing { next, first }) } else { Ok(self) }
    }
}

/// Builds the partitions from the newest set that is whole. One that is damaged is passed over for an older one, and
/// where none is left they are empty.
///
/// # Errors
/// `Io` from disk.
pub(crate) fn load(folder: Option<&Folder>, ranges: &[PartitionRange]) -> Result<Start, Error> {
    if ranges.is_empty() {
        return Ok(empty(ranges));
    }
    let mut damaged = Vec::new();
    for lsn in folder.map(Folder::sets).transpose()?.unwrap_or_default() {
        let folder = folder.expect("it has sets");
        match read(folder, lsn, ranges) {
            Ok(start) => {
                // Now that there is another one, it need not be kept in its place.
                damaged.into_iter().try_for_each(|lsn| folder.set_aside(lsn))?;
                info!(position = lsn.0, revision = start.applied.revision.0, "started from a snapshot");
                return Ok(start);
            }
            Err(Error::Corrupt(reason)) => {
                warn!(position = lsn.0, reason, "a damaged snapshot is passed over");
                damaged.push(lsn);
            }
            Err(error) => return Err(error),
        }
    }
    if !damaged.is_empty() {
        error!(
            "no snapshot here can be used: everything is applied from the journal's beginning, or from another member's snapshot"
        );
    }
    Ok(empty(ranges))
}

fn empty(ranges: &[PartitionRange]) -> Start {
    let applied = Applied { lsn: Lsn::ZERO, revision: Revision::EMPTY_STORE };
    Start { applied, partitions: ranges.iter().cloned().map(Partition::new).collect() }
}

fn read(folder: &Folder, lsn: Lsn, ranges: &[PartitionRange]) -> Result<Start, Error> {
    let set = folder.set(lsn)?;
    let applied = Applied { lsn, revision: set.revision() };
    let restore = |range: &PartitionRange| {
        let mut versions = set.versions(range)?;
        Partition::restore(range.clone(), set.compacted(), set.revision(), || versions.next())
    };
    let partitions = ranges.iter().map(restore).collect::<Result<_, _>>()?;
    Ok(Start { applied, partitions })
}
