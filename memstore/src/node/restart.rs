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

/// Builds the partitions from the newest set that is whole. One that is damaged is passed over for an older one,
/// and for the journal alone where that still has everything: it begins at `first`.
///
/// # Errors
/// `Corrupt` where something is missing between what can be read and what the journal has; `Io` from disk.
pub(crate) fn load(folder: Option<&Folder>, ranges: &[PartitionRange], first: Lsn) -> Result<Start, Error> {
    let mut damaged = Vec::new();
    for lsn in folder.map(Folder::sets).transpose()?.unwrap_or_default() {
        let folder = folder.expect("it has sets");
        match read(folder, lsn, ranges) {
            Ok(start) => {
                check(&start, first)?;
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
    let start = empty(ranges);
    check(&start, first)?;
    if !damaged.is_empty() {
        error!("no snapshot can be used; the journal still has everything and is applied from its beginning");
    }
    Ok(start)
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

fn check(start: &Start, first: Lsn) -> Result<(), Error> {
    let next = start.applied.lsn.next();
    if first <= next {
        return Ok(());
    }
    Err(Error::Corrupt(format!(
        "the journal begins at {first}, and the snapshots that can be used end before {next}: what is between is missing"
    )))
}
