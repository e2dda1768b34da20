//! HashKV over all partitions: their versions merged into one order, part by part.
//!
//!     partition 0   [ 2.0 5.0 ]  [ 9.1 …          each holds a part of its versions;
//!     partition 1   [ 3.0 ]      [ 9.0 …          whoever has the smallest feeds the hash
//!
//! The parts are read without holding anything in between. A compaction that comes along the way would take
//! versions out of what is still to be read, so the hash then begins again, as of that compaction.

use std::collections::VecDeque;

use journal::Revision;

use crate::error::Error;
use crate::hash_kv::{HashKv, Hashed, HashedBytes};
use crate::history::Position;
use crate::partition::Partition;

/// Versions taken from a partition at once.
const PART: usize = 512;

/// A hash of everything up to a revision, as etcd makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hash {
    pub hash: u32,
    pub revision: Revision,
    pub compacted: Revision,
}

/// The versions of one partition that come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HashesAsked {
    pub(crate) upto: Revision,
    pub(crate) compacted: Revision,
    pub(crate) after: Position,
}

/// Some of the versions of one partition, in order, for whoever merges them with others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HashedPart {
    pub(crate) versions: Vec<HashedBytes>,
    pub(crate) at_end: bool,
}

impl HashedPart {
    /// # Errors
    /// `Compacted` and `FutureRevision`.
    pub(crate) fn of(partition: &Partition, asked: HashesAsked) -> Result<HashedPart, Error> {
        let part = partition.hashed(asked.upto, asked.compacted, asked.after, PART)?;
        let mut buffer = Vec::new();
        let versions: Vec<_> = part.iter().map(|hashed| hashed.to_bytes(&mut buffer)).collect();
        Ok(HashedPart { at_end: versions.len() < PART, versions })
    }
}

/// A hash under way.
pub(crate) struct Hashing {
    upto: Revision,
    compacted: Revision,
    hash: HashKv,
    /// As many as there are partitions.
    sources: Vec<Source>,
}

/// One partition's versions on their way into the hash.
struct Source {
    held: VecDeque<Hashed>,
    after: Position,
    at_end: bool,
}

impl Hashing {
    /// # Errors
    /// `Compacted` where `upto` is below the compacted revision.
    pub(crate) fn new(upto: Revision, partitions: &[&Partition]) -> Result<Hashing, Error> {
        // A compaction that one has applied, the others have applied or will.
        let compacted = partitions.iter().map(|partition| partition.compacted()).max().unwrap_or_default();
        if upto < compacted {
            return Err(Error::Compacted { compacted });
        }
        let source =
            |_: &&Partition| Source { held: VecDeque::new(), after: (Revision::ZERO, 0), at_end: false };
        let sources = partitions.iter().map(source).collect();
        Ok(Hashing { upto, compacted, hash: HashKv::default(), sources })
    }

    /// Goes a part on, and answers the hash once it is known. `partitions` are those it began with.
    ///
    /// # Errors
    /// `Compacted` and `FutureRevision` where `upto` cannot be read, or no longer can.
    pub(crate) fn step(&mut self, partitions: &[&Partition]) -> Result<Option<Hash>, Error> {
        for (source, partition) in self.sources.iter_mut().zip(partitions) {
            match source.fill(partition, self.upto, self.compacted) {
                Err(Error::Compacted { .. }) => {
                    *self = Hashing::new(self.upto, partitions)?;
                    return Ok(None);
                }
                filled => filled?,
            }
        }
        while self.sources.iter().all(|source| source.at_end || !source.held.is_empty()) {
            let Some(next) = self.next() else { return Ok(Some(self.finish())) };
            self.hash.feed(&next);
        }
        Ok(None)
    }

    /// The smallest of what is held.
    fn next(&mut self) -> Option<Hashed> {
        let held = self.sources.iter_mut().filter(|source| !source.held.is_empty());
        held.min_by_key(|source| source.held[0].position())?.held.pop_front()
    }

    fn finish(&mut self) -> Hash {
        let hash = std::mem::take(&mut self.hash).finish();
        Hash { hash, revision: self.upto, compacted: self.compacted }
    }
}

impl Source {
    fn fill(&mut self, partition: &Partition, upto: Revision, compacted: Revision) -> Result<(), Error> {
        if self.held.is_empty() && !self.at_end {
            let part = partition.hashed(upto, compacted, self.after, PART)?;
            self.at_end = part.len() < PART;
            self.after = part.last().map_or(self.after, Hashed::position);
            self.held = part.into();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use journal::{Batch, LeaseId, Origin, Record, SysOp, Write};

    use super::*;
    use crate::compaction::Swept;
    use crate::partition_id::PartitionRange;

    const KEYS: u64 = 3 * PART as u64;

    fn written() -> Vec<Partition> {
        let ranges = PartitionRange::split(&[Bytes::from("500"), Bytes::from("7")]);
        let partitions: Vec<_> = ranges.into_iter().map(Partition::new).collect();
        for number in 0..KEYS * 2 {
            let key = (number * 7 % KEYS).to_string().into();
            append(&partitions, vec![Write::Put { key, value: Bytes::new(), lease: LeaseId::NONE }], None);
        }
        partitions
    }

    fn append(partitions: &[Partition], writes: Vec<Write>, sysop: Option<SysOp>) {
        let records = vec![Record { origin: Origin::default(), writes, sysop }];
        let base_revision = partitions[0].revision().next();
        let batch = Batch { term: 1, base_revision, wall_clock_ms: 0, records };
        partitions.iter().for_each(|partition| partition.apply(&batch, &mut |_| ()));
    }

    fn compact(partitions: &[Partition], revision: Revision) {
        append(partitions, vec![], Some(SysOp::Compact { revision }));
        for partition in partitions {
            while partition.compact_step(64) != Swept::All {}
        }
    }

    fn finish(mut hashing: Hashing, partitions: &[&Partition]) -> Hash {
        loop {
            if let Some(hash) = hashing.step(partitions).unwrap() {
                return hash;
            }
        }
    }

    #[test]
    fn a_compaction_along_the_way_begins_the_hash_again() {
        let store = written();
        let partitions: Vec<_> = store.iter().collect();
        let upto = store[0].revision();
        let mut hashing = Hashing::new(upto, &partitions).unwrap();
        assert_eq!(hashing.step(&partitions), Ok(None), "it takes several steps");
        let compacted = Revision(upto.0 - 5);
        compact(&store, compacted);
        let hash = finish(hashing, &partitions);
        assert_eq!(hash.compacted, compacted);
        assert_eq!(hash, finish(Hashing::new(upto, &partitions).unwrap(), &partitions));
        append(&store, vec![Write::Delete { key: "1".into() }], None);
        let mut hashing = Hashing::new(upto, &partitions).unwrap();
        assert_eq!(hashing.step(&partitions), Ok(None));
        compact(&store, upto.next());
        assert_eq!(hashing.step(&partitions), Err(Error::Compacted { compacted: upto.next() }));
    }

    #[test]
    fn a_revision_to_come_has_no_hash() {
        let store = written();
        let partitions: Vec<_> = store.iter().collect();
        let current = store[0].revision();
        let mut hashing = Hashing::new(current.next(), &partitions).unwrap();
        assert_eq!(hashing.step(&partitions), Err(Error::FutureRevision { current }));
    }
}
