//! All versions of one key that are kept, the newest in place.
//!
//!     older: [ put@3  put@7  delete@9 ]   head: put@12
//!              ascending by (revision, sub)
//!
//! Most keys of most stores have one version: it needs no second allocation.

use std::collections::VecDeque;

use bytes::Bytes;
use journal::{LeaseId, Revision};

use super::packed::pack;
use crate::history::Position;
use crate::key_value::{KeyValue, Version};

/// A version as it is kept: the key and its value in one allocation.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    bytes: Bytes,
    pub(crate) revision: Revision,
    pub(crate) create_revision: Revision,
    /// 0 for a deletion.
    version: u64,
    pub(crate) lease: LeaseId,
    key_length: u32,
    pub(crate) sub: u32,
}

impl Stored {
    pub(crate) fn new(version: &Version) -> Stored {
        let Version { sub, kv } = version;
        Stored {
            bytes: pack(&kv.key, &kv.value),
            revision: kv.mod_revision,
            create_revision: kv.create_revision,
            version: kv.version,
            lease: kv.lease,
            key_length: u32::try_from(kv.key.len()).expect("a record is smaller than 4 GiB"),
            sub: *sub,
        }
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.bytes[..self.key_length()]
    }

    pub(crate) fn key_bytes(&self) -> Bytes {
        self.bytes.slice(..self.key_length())
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.version == 0
    }

    pub(crate) fn position(&self) -> Position {
        (self.revision, self.sub)
    }

    /// As clients see it. Shares the bytes.
    pub(crate) fn key_value(&self) -> KeyValue {
        KeyValue { value: self.bytes.slice(self.key_length()..), ..self.without_value() }
    }

    pub(crate) fn without_value(&self) -> KeyValue {
        KeyValue {
            key: self.key_bytes(),
            value: Bytes::new(),
            create_revision: self.create_revision,
            mod_revision: self.revision,
            version: self.version,
            lease: self.lease,
        }
    }

    pub(crate) fn to_version(&self) -> Version {
        Version { sub: self.sub, kv: self.key_value() }
    }

    /// Bytes that it takes, counted.
    pub(crate) fn weight(&self) -> u64 {
        u64::try_from(self.bytes.len() + size_of::<Stored>() + OVERHEAD).expect("a length fits 64 bits")
    }

    fn key_length(&self) -> usize {
        usize::try_from(self.key_length).expect("it is the length of something in memory")
    }
}

/// About what a version needs beside itself: its allocation's header and its place in the history.
const OVERHEAD: usize = 48;

/// How many versions of one key are weighed.
const WEIGHED_MAX: usize = 512;

/// The versions of one key. There is always at least one.
#[derive(Debug)]
pub(crate) struct Chain {
    head: Stored,
    older: Option<Box<Older>>,
}

#[derive(Debug, Default)]
struct Older(VecDeque<Stored>);

impl Chain {
    pub(crate) fn new(first: Stored) -> Chain {
        Chain { head: first, older: None }
    }

    /// The newest version, which may be a deletion.
    pub(crate) fn head(&self) -> &Stored {
        &self.head
    }

    pub(crate) fn key(&self) -> &[u8] {
        self.head.key()
    }

    pub(crate) fn is_alive(&self) -> bool {
        !self.head.is_deleted()
    }

    pub(crate) fn push(&mut self, newest: Stored) {
        assert!(self.head.position() < newest.position(), "versions come in order");
        let older = &mut self.older.get_or_insert_default().0;
        if older.len() == older.capacity() {
            // Doubling from one: most keys that are written again are so only a few times between compactions.
            older.reserve_exact(older.len().max(1));
        }
        older.push_back(std::mem::replace(&mut self.head, newest));
    }

    /// About what its versions take: of many the newest stand for all.
    pub(crate) fn weight(&self) -> u64 {
        let Some(older) = self.older() else { return self.head.weight() };
        let looked = older.len().min(WEIGHED_MAX);
        let sum: u64 = older.iter().rev().take(looked).map(Stored::weight).sum();
        let length = |length: usize| u64::try_from(length).expect("a length fits 64 bits");
        self.head.weight() + sum * length(older.len()) / length(looked).max(1)
    }

    /// The newest version at `at`, which may be a deletion.
    pub(crate) fn newest(&self, at: Revision) -> Option<&Stored> {
        if self.head.revision <= at {
            return Some(&self.head);
        }
        let older = self.older()?;
        older.get(older.partition_point(|version| version.revision <= at).checked_sub(1)?)
    }

    /// The key as it was at `at`, if it was there.
    pub(crate) fn alive(&self, at: Revision) -> Option<&Stored> {
        self.newest(at).filter(|version| !version.is_deleted())
    }

    /// The version made at `position`.
    pub(crate) fn find(&self, position: Position) -> Option<&Stored> {
        if self.head.position() == position {
            return Some(&self.head);
        }
        let older = self.older()?;
        Some(&older[older.binary_search_by_key(&position, Stored::position).ok()?])
    }

    /// Whether a compaction at `at` leaves the version made at `position`: of those up to `at` only the newest,
    /// and a deletion only exactly at `at`, since a watch may begin there.
    pub(crate) fn survives(&self, position: Position, at: Revision) -> bool {
        if at < position.0 {
            return true;
        }
        let newest = self.newest(at).filter(|newest| newest.position() == position);
        newest.is_some_and(|newest| !newest.is_deleted() || newest.revision == at)
    }

    /// Forgets what does not survive a compaction at `at`, the oldest first and `max` of them at most, and tells
    /// of each. Answers whether anything is left; if not, the chain holds nothing but its key.
    pub(crate) fn prune(&mut self, at: Revision, max: usize, mut forgotten: impl FnMut(&Stored)) -> bool {
        let Some(newest) = self.newest(at) else { return true };
        let from = newest.position();
        let survives = self.survives(from, at);
        let dies = |version: &Stored| version.position() < from || !survives && version.position() == from;
        if let Some(Older(older)) = self.older.as_deref_mut() {
            let place = older.partition_point(dies).min(max);
            older.drain(..place).for_each(|version| forgotten(&version));
            if older.is_empty() {
                self.older = None;
            } else if older.len() * 4 <= older.capacity() {
                older.shrink_to_fit();
            }
        }
        if self.older.is_some() || !dies(&self.head) {
            return true;
        }
        forgotten(&self.head);
        false
    }

    fn older(&self) -> Option<&VecDeque<Stored>> {
        self.older.as_deref().map(|Older(older)| older)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(changes: &[(u64, bool)]) -> Chain {
        let version = |&(revision, put): &(u64, bool)| {
            let kv =
                KeyValue { version: u64::from(put), ..KeyValue::deleted("k".into(), Revision(revision)) };
            Stored::new(&Version { sub: 0, kv })
        };
        let mut chain = Chain::new(version(&changes[0]));
        changes[1..].iter().for_each(|change| chain.push(version(change)));
        chain
    }

    fn prune(chain: &mut Chain, at: u64) -> (Vec<u64>, bool) {
        let mut forgotten = Vec::new();
        let left = chain.prune(Revision(at), usize::MAX, |version| forgotten.push(version.revision.0));
        (forgotten, left)
    }

    #[test]
    fn the_newest_version_at_the_compacted_revision_stays() {
        let mut chain = chain(&[(3, true), (5, true), (7, true)]);
        assert_eq!(prune(&mut chain, 6), (vec![3], true));
        assert_eq!(chain.alive(Revision(6)).map(|version| version.revision), Some(Revision(5)));
    }

    #[test]
    fn a_deletion_goes_once_it_is_below_the_compacted_revision() {
        let mut chain = chain(&[(3, true), (5, false)]);
        assert_eq!(prune(&mut chain, 4), (vec![], true));
        assert_eq!(prune(&mut chain, 5), (vec![3], true), "a watch may begin at 5");
        assert_eq!(prune(&mut chain, 6), (vec![5], false));
    }

    #[test]
    fn a_later_life_outlives_an_earlier_deletion() {
        let mut chain = chain(&[(3, true), (5, false), (8, true)]);
        assert_eq!(prune(&mut chain, 6), (vec![3, 5], true));
        assert!(chain.alive(Revision(7)).is_none());
        assert!(chain.alive(Revision(8)).is_some());
    }

    #[test]
    fn a_long_chain_is_pruned_bit_by_bit() {
        let mut chain = chain(&[(1, true), (2, true), (3, true), (4, false)]);
        let mut left = Vec::new();
        for _ in 0..2 {
            left.push(chain.prune(Revision(9), 2, |_| ()));
        }
        assert_eq!(left, [true, false]);
    }
}
