//! Key range → partition → memstore.
//!
//!     keys          [··············)
//!     partitions  [ 0    )[ 1  )[ 2     )
//!     parts          [···)[····)[··)          in the order of their keys
//!
//! What several partitions answer is put together here, so that nobody above knows how the keys are divided.

use journal::{KeyRange, Lsn, Revision};
use memstore::{Applied, At, Error, Memstore, PartitionId, PartitionRange, Projection, Query};

use crate::arrange::Fetch;
use crate::evaluate::{Found, Part};

/// The moment to read at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// Each partition as far as it is.
    Latest,
    /// All of them at one revision, once they have applied the position.
    At { revision: Revision, lsn: Lsn },
}

/// The partitions and where they are.
#[derive(Clone)]
pub(crate) struct Routes {
    memstore: Memstore,
}

impl Routes {
    pub(crate) fn new(memstore: Memstore) -> Routes {
        Routes { memstore }
    }

    pub(crate) fn memstore(&self) -> &Memstore {
        &self.memstore
    }

    /// Reads `keys`.
    pub(crate) async fn find(&self, keys: &KeyRange, fetch: Fetch, view: View) -> Result<Found, Error> {
        let mut found = Found::default();
        for (partition, keys) in parts(&self.memstore.partitions(), keys) {
            let left = fetch.limit.saturating_sub(found.kvs.len());
            // Once the limit is reached, the rest only counts.
            let query = match fetch.limit > 0 && left == 0 {
                true => query(keys.clone(), Fetch { projection: Projection::CountOnly, ..fetch }, view, 0),
                false => query(keys.clone(), fetch, view, left),
            };
            let answer = self.memstore.range(partition, query).await?;
            found.count += answer.count;
            if found.kvs.is_empty() {
                found.kvs = answer.kvs;
            } else {
                found.kvs.extend(answer.kvs);
            }
            found.parts.push(Part { keys, at: answer.at });
        }
        if found.parts.is_empty() {
            self.probe(view).await?;
        }
        Ok(found)
    }

    /// A revision that cannot be read is refused also where no key is asked for.
    async fn probe(&self, view: View) -> Result<(), Error> {
        let partitions = self.memstore.partitions();
        let partition = partitions.first().ok_or(Error::WrongPartition)?;
        let keys = KeyRange::Single(partition.start.clone());
        let query = query(keys, Fetch::all(Projection::CountOnly), view, 0);
        self.memstore.range(partition.id, query).await.map(|_| ())
    }

    /// Waits until every partition with keys of `keys` has applied `revision`.
    pub(crate) async fn reach(&self, keys: &KeyRange, revision: Revision) -> Result<(), Error> {
        for (partition, _) in parts(&self.memstore.partitions(), keys) {
            self.reach_one(partition, revision).await?;
        }
        Ok(())
    }

    async fn reach_one(&self, partition: PartitionId, revision: Revision) -> Result<Applied, Error> {
        let mut applied = self.memstore.applied(partition)?;
        while applied.revision < revision {
            applied = self.memstore.wait(partition, applied.lsn.next()).await?;
        }
        Ok(applied)
    }

    /// The smallest moment at or behind `lsn` and `revision` that all partitions with keys of `keys` have reached.
    pub(crate) async fn common(
        &self,
        keys: &KeyRange,
        lsn: Lsn,
        revision: Revision,
    ) -> Result<Applied, Error> {
        let mut common = Applied { lsn, revision };
        for (partition, _) in parts(&self.memstore.partitions(), keys) {
            let applied = self.memstore.wait(partition, lsn).await?;
            common.revision = common.revision.max(applied.revision);
        }
        self.reach(keys, common.revision).await?;
        Ok(common)
    }

    /// Waits until all partitions have applied `lsn`.
    pub(crate) async fn reach_everywhere(&self, lsn: Lsn) -> Result<(), Error> {
        for partition in self.memstore.partitions().iter() {
            self.memstore.wait(partition.id, lsn).await?;
        }
        Ok(())
    }
}

/// The partitions that hold keys of `keys`, each with its part of them.
fn parts(partitions: &[PartitionRange], keys: &KeyRange) -> impl Iterator<Item = (PartitionId, KeyRange)> {
    let first = partitions.partition_point(|range| range.start <= *keys.start()).saturating_sub(1);
    let parts = partitions[first..].iter();
    parts.map_while(move |range| Some((range.id, keys.clip(&range.start, range.end.as_ref())?)))
}

fn query(keys: KeyRange, fetch: Fetch, view: View, limit: usize) -> Query {
    let (at, min_lsn) = match view {
        View::Latest => (At::Latest, Lsn::ZERO),
        View::At { revision, lsn } => (At::Revision(revision), lsn),
    };
    Query { keys, at, min_lsn, limit, projection: fetch.projection, bounds: fetch.bounds }
}
