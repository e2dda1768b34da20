//! Every change that is kept, in the order in which it happened.
//!
//!     [ 2.0 4.0 · 7.0 ][ 7.1 8.0 9.0 9.1 ][ 10.0 ]      blocks of (revision, sub); · was forgotten
//!                ^
//!            compacted        watches that catch up, counts in the past, hashes and snapshots walk it
//!
//! It names the changes and holds none: the versions stand with their keys. Below the compacted revision only
//! the newest version of a key is left, so blocks there thin out; two that fit into one are joined.

use std::collections::VecDeque;

use journal::Revision;

use crate::event::Change;
use crate::pause::work;
use crate::store::slab::Slot;

const BLOCK: usize = 1_024;

/// A part of what happened: whole revisions, at least one unless there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Happened {
    pub(crate) changes: Vec<Change>,
    /// The first revision not looked at.
    pub(crate) next: Revision,
}

/// A part of what happened that is read bit by bit, with room for writers in between.
pub(crate) struct Recall {
    from: Revision,
    pub(crate) next: Position,
    /// Changes that were looked at, and the bytes of those that are answered.
    pub(crate) looked: usize,
    pub(crate) bytes: usize,
    pub(crate) last: Revision,
    pub(crate) changes: Vec<Change>,
}

impl Recall {
    /// Of what happened from `from` on.
    pub(crate) fn new(from: Revision) -> Recall {
        Recall { from, next: (from, 0), looked: 0, bytes: 0, last: from, changes: Vec::new() }
    }

    pub(crate) fn from(&self) -> Revision {
        self.from
    }
}

/// Where a change stands.
pub(crate) type Position = (Revision, u32);

/// Whether a change brought its key to life or ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Born,
    Lives,
    Died,
}

/// One change.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) revision: Revision,
    /// The sub-revision, and in the two highest bits what it did to the key's life.
    packed: u32,
    pub(crate) slot: Slot,
}

const SUB: u32 = (1 << 30) - 1;

impl Entry {
    pub(crate) fn new((revision, sub): Position, life: Life, slot: Slot) -> Entry {
        assert!(sub <= SUB, "a record of 128 MiB has fewer writes");
        let life = match life {
            Life::Lives => 0,
            Life::Born => 1 << 30,
            Life::Died => 2 << 30,
        };
        Entry { revision, packed: sub | life, slot }
    }

    pub(crate) fn position(&self) -> Position {
        (self.revision, self.packed & SUB)
    }

    pub(crate) fn life(&self) -> Life {
        match self.packed >> 30 {
            0 => Life::Lives,
            1 => Life::Born,
            _ => Life::Died,
        }
    }
}

#[derive(Default)]
pub(crate) struct History {
    /// None is empty, and none holds more than `BLOCK`.
    blocks: VecDeque<Vec<Entry>>,
    entries: usize,
    /// Changes come in any order, until they are sorted. Nobody looks before.
    unsorted: bool,
}

impl History {
    /// One that is filled from several sources, one after the other, and sorted then.
    pub(crate) fn unsorted() -> History {
        History { unsorted: true, ..History::default() }
    }

    /// From here on changes come in order.
    pub(crate) fn sort(&mut self) {
        work::did(self.entries);
        let mut entries: Vec<Entry> = self.blocks.drain(..).flatten().collect();
        entries.sort_unstable_by_key(Entry::position);
        *self = History::default();
        entries.into_iter().for_each(|entry| self.push(entry));
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        if self.blocks.back().is_none_or(|last| last.len() == BLOCK) {
            let room = if self.blocks.is_empty() { 16 } else { BLOCK };
            self.blocks.push_back(Vec::with_capacity(room));
        }
        let last = self.blocks.back_mut().expect("there is one now");
        let in_order = last.last().is_none_or(|last| last.position() < entry.position());
        assert!(in_order || self.unsorted, "changes come in order");
        last.push(entry);
        self.entries += 1;
    }

    /// Changes that are kept.
    pub(crate) fn len(&self) -> usize {
        self.entries
    }

    /// The changes from `from` on, in order.
    pub(crate) fn from(&self, from: Position) -> impl Iterator<Item = Entry> {
        let block = self.blocks.partition_point(|block| last(block) < from);
        let place =
            self.blocks.get(block).map_or(0, |block| block.partition_point(|entry| entry.position() < from));
        self.blocks.range(block..).flatten().skip(place).copied()
    }

    /// The changes, the last one first.
    pub(crate) fn last(&self) -> impl Iterator<Item = Entry> {
        self.blocks.iter().rev().flat_map(|block| block.iter().rev()).copied()
    }

    /// Behind all changes there are.
    pub(crate) fn end(&self) -> Position {
        let last = self.blocks.back().map(|block| last(block));
        last.map_or((Revision::ZERO, 0), |(revision, sub)| (revision, sub + 1))
    }

    /// About how many changes there are from `from` on: true to a block.
    pub(crate) fn about_after(&self, from: Position) -> usize {
        let block = self.blocks.partition_point(|block| last(block) < from);
        self.blocks.range(block..).map(Vec::len).sum()
    }

    /// Takes out the change at `position`.
    pub(crate) fn forget(&mut self, position: Position) {
        let number = self.blocks.partition_point(|block| last(block) < position);
        let block = self.blocks.get_mut(number).expect("what is forgotten was kept");
        let place =
            block.binary_search_by_key(&position, Entry::position).expect("what is forgotten was kept");
        block.remove(place);
        self.entries -= 1;
        if block.is_empty() {
            self.blocks.remove(number);
        } else if block.len() <= BLOCK / 4 {
            self.join(number);
        }
    }

    /// Joins a thin block with the one before it where both fit into half of one.
    fn join(&mut self, number: usize) {
        let Some(before) = number.checked_sub(1) else { return };
        // Not the last one: it still grows.
        if number + 1 < self.blocks.len()
            && self.blocks[before].len() + self.blocks[number].len() <= BLOCK / 2
        {
            let block = self.blocks.remove(number).expect("it was just looked at");
            self.blocks[before].extend(block);
            self.blocks[before].shrink_to(BLOCK / 2);
        }
    }
}

fn last(block: &[Entry]) -> Position {
    block.last().expect("no block is empty").position()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(number: u64) -> Position {
        (Revision(number / 3), u32::try_from(number % 3).unwrap())
    }

    #[test]
    fn what_is_forgotten_leaves_the_rest_in_order() {
        let mut history = History::default();
        let numbers = 0..20_000_u64;
        for number in numbers.clone() {
            history.push(Entry::new(position(number), Life::Lives, Slot::default()));
        }
        // In an order that mixes old and new; every seventh stays.
        for number in numbers.clone().map(|number| number * 7_919 % 20_000).filter(|number| number % 7 != 0) {
            history.forget(position(number));
        }
        let kept: Vec<_> = numbers.filter(|number| number % 7 == 0).map(position).collect();
        let all: Vec<_> = history.from((Revision::ZERO, 0)).map(|entry| entry.position()).collect();
        assert_eq!(all, kept);
        assert_eq!(history.len(), kept.len());
        let middle = (Revision(3_333), 1);
        let rest: Vec<_> = history.from(middle).map(|entry| entry.position()).collect();
        assert_eq!(rest, kept[kept.partition_point(|position| *position < middle)..]);
        assert!(history.blocks.len() < 12, "thin blocks are joined");
    }

    #[test]
    fn what_a_change_did_is_kept_beside_its_place() {
        for life in [Life::Born, Life::Lives, Life::Died] {
            let entry = Entry::new((Revision(9), SUB), life, Slot::default());
            assert_eq!((entry.position(), entry.life()), ((Revision(9), SUB), life));
        }
    }
}
