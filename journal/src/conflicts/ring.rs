//! The keys written last, in order of their revisions: what a range is checked against.
//!
//!     floor ─► [ 12 a ][ 12 b ][ 13 x ][ 14 a ] ◄─ newest
//!              └ all writes above the floor, and maybe some at it
//!
//! Full, it drops its oldest key and the floor rises to that key's revision: whoever read a range below it is
//! too late and reads again.

use std::cell::Cell;
use std::collections::VecDeque;

use crate::key_range::KeyRange;
use crate::revision::Revision;

/// What the keys may hold together; beyond it the oldest go, as when there are too many.
const KEY_BYTES_MAX: usize = 16 << 20;

struct Written {
    revision: Revision,
    /// The key's first eight bytes, which settle most comparisons without a look at the key itself.
    head: u64,
    /// A copy: a part of the request would keep all of it in memory.
    key: Box<[u8]>,
}

pub(super) struct Ring {
    written: VecDeque<Written>,
    floor: Revision,
    keys_max: usize,
    key_bytes: usize,
    /// Keys that ranges were compared with.
    scanned: Cell<u64>,
}

impl Ring {
    pub(super) fn new(floor: Revision, keys_max: usize) -> Ring {
        Ring { written: VecDeque::new(), floor, keys_max, key_bytes: 0, scanned: Cell::new(0) }
    }

    /// Ranges read at this revision or later can be checked.
    pub(super) fn floor(&self) -> Revision {
        self.floor
    }

    pub(super) fn scanned(&self) -> u64 {
        self.scanned.get()
    }

    pub(super) fn note(&mut self, key: &[u8], revision: Revision) {
        self.key_bytes += key.len();
        self.written.push_back(Written { revision, head: head(key), key: key.into() });
        while self.written.len() > self.keys_max || self.key_bytes > KEY_BYTES_MAX {
            let dropped = self.written.pop_front().expect("something is over the limit");
            self.key_bytes -= dropped.key.len();
            self.floor = dropped.revision;
        }
    }

    /// The newest revision above `at` that wrote into the range.
    pub(super) fn newest_in(&self, keys: &KeyRange, at: Revision) -> Option<Revision> {
        let (first, last) = heads(keys);
        let newer = self.written.iter().rev().take_while(|written| at < written.revision);
        let newer = newer.inspect(|_| self.scanned.set(self.scanned.get() + 1));
        let mut maybe = newer.filter(|written| first <= written.head && written.head <= last);
        maybe.find(|written| keys.contains(&written.key)).map(|written| written.revision)
    }
}

/// Orders as the keys do, except that it cannot tell all of them apart.
fn head(key: &[u8]) -> u64 {
    let mut head = [0; 8];
    let length = key.len().min(8);
    head[..length].copy_from_slice(&key[..length]);
    u64::from_be_bytes(head)
}

/// Between these, ends included, are the heads of all keys in the range.
fn heads(keys: &KeyRange) -> (u64, u64) {
    match keys {
        KeyRange::Single(key) => (head(key), head(key)),
        KeyRange::Range { start, end } => (head(start), head(end)),
        KeyRange::From(start) => (head(start), u64::MAX),
    }
}
