//! HashKV over partitions of several memstores: their versions merged into one order, part by part, as `hashing`
//! does in one.
//!
//! What is hashed stays where it is; its CRCs travel, and are combined here.

use std::collections::VecDeque;

use journal::{Lsn, Revision};

use crate::client::Memstore;
use crate::error::Error;
use crate::hash_kv::{HashKv, HashedBytes};
use crate::hashing::{Hash, HashedPart, HashesAsked};
use crate::history::Position;
use crate::partition_id::PartitionId;

/// One partition's versions on their way into the hash.
struct Source<'a> {
    memstore: &'a Memstore,
    partition: PartitionId,
    held: VecDeque<HashedBytes>,
    after: Position,
    at_end: bool,
}

/// etcd's HashKV of all `partitions` together, up to `upto`, once they have applied `min_lsn`.
///
/// # Errors
/// `Compacted` and `FutureRevision` where `upto` cannot be read, or no longer can; `WrongPartition`, `Unreachable`
/// and `Closed`, where it has to be begun again.
pub async fn hash_over(
    partitions: &[(Memstore, PartitionId)],
    upto: Revision,
    min_lsn: Lsn,
) -> Result<Hash, Error> {
    let mut compacted = Revision::ZERO;
    loop {
        match hash_at(partitions, upto, compacted, min_lsn).await {
            // One was further: the others have applied that, or will, and it makes no difference.
            Err(Error::Compacted { compacted: further }) if compacted < further && further <= upto => {
                compacted = further;
            }
            hash => return hash,
        }
    }
}

async fn hash_at(
    partitions: &[(Memstore, PartitionId)],
    upto: Revision,
    compacted: Revision,
    min_lsn: Lsn,
) -> Result<Hash, Error> {
    let mut sources: Vec<_> = partitions.iter().map(Source::new).collect();
    let mut hash = HashKv::default();
    loop {
        for source in &mut sources {
            source.fill(upto, compacted, min_lsn).await?;
        }
        let held = sources.iter_mut().filter(|source| !source.held.is_empty());
        let Some(smallest) = held.min_by_key(|source| source.held[0].position) else {
            return Ok(Hash { hash: hash.finish(), revision: upto, compacted });
        };
        hash.join(&smallest.held.pop_front().expect("it was looked at"));
    }
}

impl Source<'_> {
    fn new((memstore, partition): &(Memstore, PartitionId)) -> Source<'_> {
        let (held, after) = (VecDeque::new(), (Revision::ZERO, 0));
        Source { memstore, partition: *partition, held, after, at_end: false }
    }

    async fn fill(&mut self, upto: Revision, compacted: Revision, min_lsn: Lsn) -> Result<(), Error> {
        if self.held.is_empty() && !self.at_end {
            let asked = HashesAsked { upto, compacted, after: self.after };
            let HashedPart { versions, at_end } =
                self.memstore.hashes(self.partition, asked, min_lsn).await?;
            self.at_end = at_end || versions.is_empty();
            self.after = versions.last().map_or(self.after, |last| last.position);
            self.held = versions.into();
        }
        Ok(())
    }
}
