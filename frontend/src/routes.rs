//! Key range → partition → memstore.
//!
//!     keys          [··············)
//!     partitions  [ 0    )[ 1  )[ 2     )
//!     parts          [···)[····)[··)          in the order of their keys
//!
//! What several partitions answer is put together here, so that nobody above knows how the keys are divided, or
//! that they are divided otherwise from now on. Where a partition is gone, all is asked again of those that came
//! in its place.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use journal::{KeyRange, LeaseId, Lsn, Revision};
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
        loop {
            let partitions = self.memstore.partitions();
            match self.find_in(&partitions, keys, fetch, view).await {
                Err(Error::WrongPartition) => self.changed(&partitions).await,
                found => return found,
            }
        }
    }

    async fn find_in(
        &self,
        partitions: &[PartitionRange],
        keys: &KeyRange,
        fetch: Fetch,
        view: View,
    ) -> Result<Found, Error> {
        let mut found = Found::default();
        for (partition, keys) in parts(partitions, keys)? {
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
            self.probe(partitions, view).await?;
        }
        Ok(found)
    }

    /// A revision that cannot be read is refused also where no key is asked for.
    async fn probe(&self, partitions: &[PartitionRange], view: View) -> Result<(), Error> {
        let partition = partitions.first().ok_or(Error::WrongPartition)?;
        let keys = KeyRange::Single(partition.start.clone());
        let query = query(keys, Fetch::all(Projection::CountOnly), view, 0);
        self.memstore.range(partition.id, query).await.map(|_| ())
    }

    /// Waits until every partition with keys of `keys` has applied `revision`.
    pub(crate) async fn reach(&self, keys: &KeyRange, revision: Revision) -> Result<(), Error> {
        loop {
            let partitions = self.memstore.partitions();
            match self.reach_in(&partitions, keys, revision).await {
                Err(Error::WrongPartition) => self.changed(&partitions).await,
                reached => return reached,
            }
        }
    }

    async fn reach_in(
        &self,
        partitions: &[PartitionRange],
        keys: &KeyRange,
        revision: Revision,
    ) -> Result<(), Error> {
        for (partition, _) in parts(partitions, keys)? {
            let mut applied = self.memstore.applied(partition)?;
            while applied.revision < revision {
                applied = self.memstore.wait(partition, applied.lsn.next()).await?;
            }
        }
        Ok(())
    }

    /// Waits until every partition with keys of `keys` has applied `lsn`, and answers the furthest of their revisions.
    pub(crate) async fn wait(&self, keys: &KeyRange, lsn: Lsn) -> Result<Revision, Error> {
        loop {
            let partitions = self.memstore.partitions();
            match self.wait_in(&partitions, keys, lsn).await {
                Err(Error::WrongPartition) => self.changed(&partitions).await,
                waited => return waited,
            }
        }
    }

    async fn wait_in(
        &self,
        partitions: &[PartitionRange],
        keys: &KeyRange,
        lsn: Lsn,
    ) -> Result<Revision, Error> {
        let mut furthest = Revision::ZERO;
        for (partition, _) in parts(partitions, keys)? {
            furthest = furthest.max(self.memstore.wait(partition, lsn).await?.revision);
        }
        Ok(furthest)
    }

    /// The smallest moment at or behind `lsn` and `revision` that all partitions with keys of `keys` have reached.
    pub(crate) async fn common(
        &self,
        keys: &KeyRange,
        lsn: Lsn,
        revision: Revision,
    ) -> Result<Applied, Error> {
        let revision = revision.max(self.wait(keys, lsn).await?);
        self.reach(keys, revision).await?;
        Ok(Applied { lsn, revision })
    }

    /// The keys attached to a lease in all partitions once they have applied `lsn`, and the smallest revision at
    /// which that was so.
    pub(crate) async fn lease_keys(
        &self,
        lease: LeaseId,
        lsn: Lsn,
    ) -> Result<(BTreeSet<Bytes>, Revision), Error> {
        loop {
            let partitions = self.memstore.partitions();
            match self.lease_keys_in(&partitions, lease, lsn).await {
                Err(Error::WrongPartition) => self.changed(&partitions).await,
                keys => return keys,
            }
        }
    }

    async fn lease_keys_in(
        &self,
        partitions: &[PartitionRange],
        lease: LeaseId,
        lsn: Lsn,
    ) -> Result<(BTreeSet<Bytes>, Revision), Error> {
        let (mut all, mut smallest) = (BTreeSet::new(), Revision(u64::MAX));
        for (partition, _) in parts(partitions, &KeyRange::all())? {
            let (at, keys) = self.memstore.lease_keys(partition, lease, lsn).await?;
            smallest = smallest.min(at);
            all.extend(keys);
        }
        Ok((all, smallest))
    }

    /// Waits until all partitions are there and have applied `lsn`.
    pub(crate) async fn reach_everywhere(&self, lsn: Lsn) -> Result<(), Error> {
        self.wait(&KeyRange::all(), lsn).await.map(|_| ())
    }

    /// A partition was not, or not any more, where it was looked for: there are others, or will be.
    async fn changed(&self, partitions: &Arc<[PartitionRange]>) {
        self.memstore.other_partitions(partitions).await;
    }
}

/// The partitions that hold keys of `keys`, each with its part of them.
///
/// # Errors
/// `WrongPartition` where some of the keys are in none.
pub(crate) fn parts<'a>(
    partitions: &'a [PartitionRange],
    keys: &'a KeyRange,
) -> Result<impl Iterator<Item = (PartitionId, KeyRange)> + 'a, Error> {
    let first = partitions.partition_point(|range| range.start <= *keys.start()).saturating_sub(1);
    let partitions = &partitions[first..];
    if !cover(partitions, keys) {
        return Err(Error::WrongPartition);
    }
    Ok(partitions.iter().map_while(move |range| Some((range.id, range.clip(keys)?))))
}

/// Whether the partitions, from that of the first key on, hold all of `keys`.
fn cover(partitions: &[PartitionRange], keys: &KeyRange) -> bool {
    let mut next = keys.start();
    for range in partitions {
        if *next < range.start {
            return keys.is_empty();
        }
        let Some(end) = &range.end else { return true };
        if keys.clip(end, None).is_none() {
            return *next < *end || keys.is_empty();
        }
        next = end;
    }
    keys.is_empty()
}

fn query(keys: KeyRange, fetch: Fetch, view: View, limit: usize) -> Query {
    let (at, min_lsn) = match view {
        View::Latest => (At::Latest, Lsn::ZERO),
        View::At { revision, lsn } => (At::Revision(revision), lsn),
    };
    Query { keys, at, min_lsn, limit, projection: fetch.projection, bounds: fetch.bounds }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_without_a_partition_are_not_passed_over() {
        let range = |id, start: &'static str, end: &'static str| PartitionRange {
            id: PartitionId(id),
            start: start.into(),
            end: (!end.is_empty()).then(|| end.into()),
        };
        let between =
            |start: &'static str, end: &'static str| KeyRange::Range { start: start.into(), end: end.into() };
        let names = |partitions: &[PartitionRange], keys: KeyRange| {
            parts(partitions, &keys).ok().map(|parts| parts.map(|(id, _)| id.0).collect::<Vec<_>>())
        };
        let all = [range(1, "", "c"), range(2, "c", "m"), range(3, "m", "")];
        assert_eq!(names(&all, KeyRange::all()), Some(vec![1, 2, 3]));
        assert_eq!(names(&all, between("b", "m")), Some(vec![1, 2]));
        assert_eq!(names(&all, KeyRange::Single("c".into())), Some(vec![2]));
        assert_eq!(names(&all, between("m", "b")), Some(vec![]), "no key at all");
        assert_eq!(names(&[], between("m", "b")), Some(vec![]), "no key at all");
        let some = [range(1, "b", "c"), range(2, "c", "m"), range(3, "n", "x")];
        for keys in [KeyRange::all(), between("a", "c"), between("b", "n"), between("n", "y")] {
            assert_eq!(names(&some, keys.clone()), None, "{keys:?}");
        }
        for key in ["a", "m", "x", "y"] {
            assert_eq!(names(&some, KeyRange::Single(key.into())), None, "{key}");
        }
        assert_eq!(names(&some, KeyRange::From("n".into())), None);
        assert_eq!(names(&some, between("b", "m")), Some(vec![1, 2]));
        assert_eq!(names(&some, between("n", "x")), Some(vec![3]));
    }
}
