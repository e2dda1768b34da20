//! Whether what an append read has changed since: the window of recent writes.
//!
//!     revision   ···   floor ─────────────────────────── last sequenced
//!                  too old │ every write is in the slots (one key) and, while it fits, in the ring (ranges)
//!
//! Writes are noted when they are sequenced and not when they are committed: an append must also see what is
//! still on its way before it. A conflict may be found where there is none, two keys sharing a slot, which
//! costs a retry; one that is there is never missed (I3).
//!
//! Below the floor the window knows nothing, which is how a new leader begins: it rebuilds nothing.

mod reservations;
mod ring;
mod slots;

use crate::key_range::KeyRange;
use crate::planted::Bug;
use crate::record::{LeaseId, Read, Write};
use crate::revision::Revision;
pub(crate) use reservations::Reservations;
use ring::Ring;
use slots::Slots;

/// What the window says of a footprint. The revisions are such as will be applied once everything that is
/// sequenced has committed; if its leader is lost first they may never come, so a frontend waits for them with
/// a deadline, and after it evaluates again with what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// Nothing that was read has changed.
    Fresh,
    /// Something may have, at `newest` for the last time.
    Changed { newest: Revision },
    /// Nobody can tell; what is read at `readable` or later can be told of.
    Unknowable { readable: Revision },
}

impl Freshness {
    /// Of this and the other what keeps an append from its place for longer.
    pub(crate) fn or_worse(self, other: Freshness) -> Freshness {
        match (self, other) {
            (Freshness::Changed { newest: a }, Freshness::Changed { newest: b }) => {
                Freshness::Changed { newest: a.max(b) }
            }
            (Freshness::Unknowable { readable: a }, Freshness::Unknowable { readable: b }) => {
                Freshness::Unknowable { readable: a.max(b) }
            }
            (Freshness::Unknowable { .. }, _) | (_, Freshness::Fresh) => self,
            (Freshness::Fresh | Freshness::Changed { .. }, other) => other,
        }
    }
}

/// Recent writes, since one leader began.
pub(crate) struct Window {
    floor: Revision,
    /// The revision noted last.
    last: Revision,
    slots: Slots,
    ring: Ring,
}

impl Window {
    /// An empty window. Whatever was read below `floor` is too old for it.
    pub(crate) fn new(floor: Revision, slots: usize, ring_keys_max: usize, seed: u64) -> Window {
        Window { floor, last: floor, slots: Slots::new(slots, seed), ring: Ring::new(floor, ring_keys_max) }
    }

    /// Remembers what a record changes. Revisions come in order.
    pub(crate) fn note(&mut self, writes: &[Write], revision: Revision) {
        if !writes.is_empty() {
            assert!(self.last < revision, "revisions are noted in order");
            self.note_part(writes, revision);
        }
    }

    /// Remembers some of what a record changes. Its parts come one after the other, before other records.
    pub(crate) fn note_part(&mut self, writes: &[Write], revision: Revision) {
        assert!(self.last <= revision, "revisions are noted in order");
        self.last = revision;
        for write in writes {
            self.slots.note_key(write.key(), revision);
            self.ring.note(write.key(), revision);
            match write {
                // What is attached to the lease changes: a revocation that collected it before must see that.
                Write::Put { lease, .. } if *lease != LeaseId::NONE => {
                    self.slots.note_lease(*lease, revision);
                }
                Write::Put { .. } | Write::Delete { .. } => {}
            }
        }
    }

    /// Keys that ranges were compared with so far.
    pub(crate) fn scanned(&self) -> u64 {
        self.ring.scanned()
    }

    /// Whether anything in the footprint has changed since it was read.
    pub(crate) fn check(&self, reads: &[Read]) -> Freshness {
        reads.iter().fold(Freshness::Fresh, |worst, read| worst.or_worse(self.check_read(read)))
    }

    pub(crate) fn check_read(&self, read: &Read) -> Freshness {
        match read {
            Read::Keys { keys, .. } if keys.is_empty() => Freshness::Fresh,
            Read::Keys { keys: KeyRange::Single(_), .. } if Bug::OverlookKeys.is_planted() => {
                Freshness::Fresh
            }
            Read::Keys { keys: KeyRange::Range { .. } | KeyRange::From(_), .. }
                if Bug::OverlookRanges.is_planted() =>
            {
                Freshness::Fresh
            }
            Read::Keys { at, .. } | Read::Lease { at, .. } if *at < self.floor => {
                Freshness::Unknowable { readable: self.floor }
            }
            Read::Keys { keys: KeyRange::Single(key), at } => changed_since(*at, self.slots.key(key)),
            Read::Lease { lease, at } => changed_since(*at, self.slots.lease(*lease)),
            // The newest revision and not the ring's oldest, which would be too old again in no time.
            Read::Keys { at, .. } if *at < self.ring.floor() => Freshness::Unknowable { readable: self.last },
            Read::Keys { keys, at } => match self.ring.newest_in(keys, *at) {
                None => Freshness::Fresh,
                Some(newest) => Freshness::Changed { newest },
            },
        }
    }
}

fn changed_since(at: Revision, newest: Revision) -> Freshness {
    if at < newest { Freshness::Changed { newest } } else { Freshness::Fresh }
}

#[cfg(test)]
mod tests;
