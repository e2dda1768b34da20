//! What snapshots there are to begin from: of all keys at one position, or of each key the newest.

use std::collections::BTreeSet;

use journal::{Lsn, Revision};
use tracing::{error, info, warn};

use crate::building::Source;
use crate::error::Error;
use crate::frontier::Applied;
use crate::partition::Partition;
use crate::partition_id::PartitionRange;
use crate::snapshot::{Cover, Folder, Held, Versions};

const NOTHING: Applied = Applied { lsn: Lsn::ZERO, revision: Revision::EMPTY_STORE };

/// Partitions at one position of the journal.
pub(crate) struct Start {
    pub(crate) applied: Applied,
    pub(crate) partitions: Vec<Partition>,
}

impl Start {
    /// Where everything has to be built first.
    pub(crate) fn with_nothing() -> Start {
        empty(&[])
    }

    /// # Errors
    /// `Missing` where the journal, which begins at `first`, does not go on from here.
    pub(crate) fn check(self, first: Lsn) -> Result<Start, Error> {
        let next = self.applied.lsn.next();
        if next < first { Err(Error::Missing { next, first }) } else { Ok(self) }
    }
}

/// Builds the partitions from the newest set that has all of their keys and is whole. One that is damaged is passed over
/// for an older one, and where there is none they are empty. `None`: there are pieces, of which none of one position
/// has all the keys.
///
/// # Errors
/// `Io` from disk.
pub(crate) fn load(folder: Option<&Folder>, ranges: &[PartitionRange]) -> Result<Option<Start>, Error> {
    let Some(folder) = folder.filter(|_| !ranges.is_empty()) else { return Ok(Some(empty(ranges))) };
    let (mut damaged, mut in_pieces) = (BTreeSet::new(), false);
    for lsn in folder.sets()? {
        match read(folder, lsn, ranges) {
            Ok(Some(start)) => {
                set_aside(folder, &damaged)?;
                info!(position = lsn.0, revision = start.applied.revision.0, "started from a snapshot");
                return Ok(Some(start));
            }
            Ok(None) => in_pieces = true,
            Err(Error::Corrupt(reason)) => passed_over(lsn, &reason, &mut damaged),
            Err(error) => return Err(error),
        }
    }
    if in_pieces {
        return Ok(None);
    }
    none_left(&damaged);
    Ok(Some(empty(ranges)))
}

/// Of each key in `ranges` the newest snapshot that is whole, in the order of the keys. What is in none is empty.
///
/// # Errors
/// `Io` from disk.
pub(crate) fn newest(folder: Option<&Folder>, ranges: &[PartitionRange]) -> Result<Vec<Source>, Error> {
    let Some(folder) = folder.filter(|_| !ranges.is_empty()) else {
        return Ok(ranges.iter().cloned().map(nothing).collect());
    };
    let mut damaged = BTreeSet::new();
    // One that is not even opened is not among the others.
    for lsn in folder.sets()? {
        if let Err(Error::Corrupt(reason)) = folder.set(lsn) {
            passed_over(lsn, &reason, &mut damaged);
        }
    }
    loop {
        let mut held = folder.held()?;
        held.retain(|held| !damaged.contains(&held.header.lsn));
        let runs = ranges.iter().flat_map(|range| runs(range, &held));
        let sources: Result<Vec<_>, _> =
            runs.map(|run| run.restore().map_err(|error| (run.lsn(), error))).collect();
        match sources {
            Ok(sources) if sources.iter().all(|source| source.applied == NOTHING) => {
                none_left(&damaged);
                return Ok(sources);
            }
            Ok(sources) => {
                set_aside(folder, &damaged)?;
                return Ok(sources);
            }
            Err((lsn, Error::Corrupt(reason))) => passed_over(lsn, &reason, &mut damaged),
            Err((_, error)) => return Err(error),
        }
    }
}

/// Neighbouring keys whose newest snapshots are of one position.
struct Run<'a> {
    range: PartitionRange,
    /// None where the keys are in no snapshot.
    parts: Vec<(PartitionRange, &'a Held)>,
}

fn runs<'a>(range: &PartitionRange, held: &'a [Held]) -> Vec<Run<'a>> {
    let mut runs: Vec<Run> = Vec::new();
    for (part, at) in Cover::of(held.iter().map(|held| &held.header)).newest(range) {
        let file = at.map(|at| &held[at]);
        let lsn = file.map_or(Lsn::ZERO, |held| held.header.lsn);
        let parts = file.map(|file| (part.clone(), file));
        match runs.last_mut() {
            Some(run) if run.lsn() == lsn => {
                run.range.end = part.end;
                run.parts.extend(parts);
            }
            _ => runs.push(Run { range: part, parts: parts.into_iter().collect() }),
        }
    }
    runs
}

impl Run<'_> {
    fn lsn(&self) -> Lsn {
        self.parts.first().map_or(Lsn::ZERO, |(_, held)| held.header.lsn)
    }

    fn restore(&self) -> Result<Source, Error> {
        let Some((_, Held { header, .. })) = self.parts.first() else {
            return Ok(nothing(self.range.clone()));
        };
        let mut versions = Versions::of(self.parts.iter().map(|(part, held)| (part.clone(), *held)))?;
        let next = || versions.next();
        let partition = Partition::restore(self.range.clone(), header.compacted, header.revision, next)?;
        info!(position = header.lsn.0, revision = header.revision.0, "a part is read from a snapshot");
        Ok(Source::all_of(partition, Applied { lsn: header.lsn, revision: header.revision }))
    }
}

fn empty(ranges: &[PartitionRange]) -> Start {
    Start { applied: NOTHING, partitions: ranges.iter().cloned().map(Partition::new).collect() }
}

fn nothing(range: PartitionRange) -> Source {
    Source::all_of(Partition::new(range), NOTHING)
}

/// `None` where the set lacks some of the keys.
fn read(folder: &Folder, lsn: Lsn, ranges: &[PartitionRange]) -> Result<Option<Start>, Error> {
    let set = folder.set(lsn)?;
    if !ranges.iter().all(|range| set.holds(range)) {
        return Ok(None);
    }
    let applied = Applied { lsn, revision: set.revision() };
    let restore = |range: &PartitionRange| {
        let mut versions = set.versions(range)?;
        Partition::restore(range.clone(), set.compacted(), set.revision(), || versions.next())
    };
    let partitions = ranges.iter().map(restore).collect::<Result<_, _>>()?;
    Ok(Some(Start { applied, partitions }))
}

fn passed_over(lsn: Lsn, reason: &str, damaged: &mut BTreeSet<Lsn>) {
    warn!(position = lsn.0, reason, "a damaged snapshot is passed over");
    damaged.insert(lsn);
}

/// Now that there are others, they need not be kept in their place.
fn set_aside(folder: &Folder, damaged: &BTreeSet<Lsn>) -> Result<(), Error> {
    damaged.iter().try_for_each(|lsn| folder.set_aside(*lsn))
}

/// Does not use what is in the folder of these keys any more.
///
/// # Errors
/// `Io` from disk.
pub(crate) fn distrust(folder: &Folder, range: &PartitionRange) -> Result<(), Error> {
    let held = folder.held()?;
    let of_it = held.iter().map(|held| &held.header).filter(|header| range.overlaps(&header.range));
    set_aside(folder, &of_it.map(|header| header.lsn).collect())
}

fn none_left(damaged: &BTreeSet<Lsn>) {
    if !damaged.is_empty() {
        error!(
            "no snapshot here can be used: everything is applied from the journal's beginning, or from another member's snapshot"
        );
    }
}
