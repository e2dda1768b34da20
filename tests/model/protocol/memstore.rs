//! A replica of one partition: the versions of its keys, made of committed entries alone, in their order.
//!
//!     snapshot pieces ─► [ floor of each key ]─── entries ───► lsn
//!
//! Pieces may stand at different positions: a key leaves out what its piece already has. Nothing is read before
//! all keys are as far as their pieces.

use std::rc::Rc;

use super::broken::Broken;
use super::record::{Entry, KEYS, Key, KeyRange, Lsn, Revision, SysOp, Write};
use super::request::Kv;
use super::routes::MemstoreId;

#[derive(Clone, Copy, Debug)]
struct Version {
    revision: Revision,
    /// Nothing where it was deleted.
    kv: Option<Kv>,
}

/// What the snapshot store has of some keys.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) keys: KeyRange,
    pub(crate) lsn: Lsn,
    revision: Revision,
    compacted: Revision,
    versions: Vec<Vec<Version>>,
}

#[derive(Debug)]
pub(crate) struct Memstore {
    pub(crate) id: MemstoreId,
    pub(crate) keys: KeyRange,
    /// How much of the journal is applied.
    pub(crate) lsn: Lsn,
    pub(crate) revision: Revision,
    pub(crate) compacted: Revision,
    /// From here on it is read.
    pub(crate) whole_at: Lsn,
    /// Whether it is to be built, from pieces and the journal.
    pub(crate) is_missing: bool,
    /// Whether it is gone for good.
    pub(crate) is_retired: bool,
    floors: [Lsn; KEYS],
    versions: Vec<Vec<Version>>,
}

impl Memstore {
    pub(crate) fn new(id: MemstoreId, keys: KeyRange) -> Memstore {
        Memstore {
            id,
            keys,
            lsn: 0,
            revision: 1,
            compacted: 0,
            whole_at: 0,
            is_missing: true,
            is_retired: false,
            floors: [0; KEYS],
            versions: vec![Vec::new(); KEYS],
        }
    }

    /// From the journal's beginning where no pieces are given; else they have all of its keys.
    pub(crate) fn build(&mut self, pieces: &[Rc<Piece>]) {
        *self = Memstore::new(self.id, self.keys);
        self.is_missing = false;
        for key in self.keys.keys() {
            let of_key = pieces.iter().filter(|piece| piece.keys.contains(key));
            let Some(piece) = of_key.max_by_key(|piece| piece.lsn) else { continue };
            self.floors[key] = piece.lsn;
            self.versions[key].clone_from(&piece.versions[key - piece.keys.from]);
            self.compacted = self.compacted.max(piece.compacted);
            self.whole_at = self.whole_at.max(piece.lsn);
            if self.lsn == 0 || piece.lsn < self.lsn {
                self.lsn = piece.lsn;
                self.revision = piece.revision;
            }
        }
    }

    /// The switch that serves what it does not have.
    pub(crate) fn pretend(&mut self, lsn: Lsn, revision: Revision) {
        *self = Memstore { lsn, revision, is_missing: false, ..Memstore::new(self.id, self.keys) };
    }

    pub(crate) fn lose(&mut self) {
        *self = Memstore::new(self.id, self.keys);
    }

    pub(crate) fn retire(&mut self) {
        self.lose();
        self.is_retired = true;
    }

    pub(crate) fn is_readable(&self) -> bool {
        !self.is_missing && self.whole_at <= self.lsn
    }

    /// Cannot fail. Answers whether the entry was the next one.
    pub(crate) fn apply(&mut self, entry: &Entry, broken: Option<Broken>) -> bool {
        self.lsn += 1;
        let Some(batch) = &entry.batch else { return true };
        let follows = batch.base_revision == self.revision + 1;
        for record in &batch.records {
            self.revision += usize::from(record.is_mutating());
            for write in &record.writes {
                if self.keys.contains(write.key()) && self.floors[write.key()] < self.lsn {
                    self.write(*write);
                }
            }
            if let Some(SysOp::Compact { revision }) = record.sysop {
                self.compact(revision, broken);
            }
        }
        follows
    }

    fn write(&mut self, write: Write) {
        let revision = self.revision;
        let versions = &mut self.versions[write.key()];
        let old = versions.last().and_then(|version| version.kv);
        let kv = match write {
            Write::Delete { .. } => None,
            Write::Put { value, lease, .. } => Some(Kv {
                value,
                lease,
                created: old.map_or(revision, |old| old.created),
                modified: revision,
                version: old.map_or(1, |old| old.version + 1),
            }),
        };
        versions.push(Version { revision, kv });
    }

    /// Forgets what nobody can read at `revision` or later.
    fn compact(&mut self, revision: Revision, broken: Option<Broken>) {
        self.compacted = self.compacted.max(revision);
        for versions in &mut self.versions {
            let mut old = versions.iter().take_while(|version| version.revision <= revision).count();
            if broken != Some(Broken::CompactedTooFar) || old == versions.len() {
                old = old.saturating_sub(1);
            }
            versions.drain(..old);
        }
    }

    pub(crate) fn read(&self, key: Key, at: Revision) -> Option<Kv> {
        let versions = &self.versions[key];
        versions.iter().rev().find(|version| version.revision <= at).and_then(|version| version.kv)
    }

    pub(crate) fn snapshot(&self) -> Piece {
        let versions = self.keys.keys().map(|key| self.versions[key].clone()).collect();
        Piece { keys: self.keys, lsn: self.lsn, revision: self.revision, compacted: self.compacted, versions }
    }
}
