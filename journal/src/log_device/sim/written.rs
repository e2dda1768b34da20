//! What was written to a file of the simulated disk, and the bits of it that have changed by themselves.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

/// Nothing proves yet that the last blocks of a log were ever whole: a bit of them that changes looks like a write that was
/// torn. So what was written last does not rot: a block is known to be on disk by those that follow it.
const LATEST: usize = 3;

/// Those behind its end are zeros that take no memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    pub(super) bytes: Vec<u8>,
    latest: VecDeque<Range<usize>>,
    /// Sectors of which the machine believes that they are written, and what the disk has there.
    only_cached: BTreeMap<usize, Vec<u8>>,
    /// Where, and which bit.
    rotten: Vec<(usize, u8)>,
}

impl Written {
    #[cfg(test)]
    pub(super) fn of(bytes: Vec<u8>) -> Written {
        Written { bytes, ..Written::default() }
    }

    pub(super) fn put(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[offset..end].copy_from_slice(bytes);
        self.rotten.retain(|(at, _)| *at < offset || end <= *at);
        self.only_cached.retain(|at, _| *at < offset || end <= *at);
    }

    /// As `put`, of one sector, and the disk keeps what it has.
    pub(super) fn cache(&mut self, offset: usize, sector: &[u8]) {
        let there = self.bytes.get(offset..).unwrap_or_default();
        let mut before = there[..sector.len().min(there.len())].to_vec();
        before.resize(sector.len(), 0);
        let before = self.only_cached.remove(&offset).unwrap_or(before);
        self.put(offset, sector);
        self.only_cached.insert(offset, before);
    }

    /// What the machine believed is gone, and what the disk has is there.
    pub(super) fn lose_cache(&mut self) {
        for (offset, before) in std::mem::take(&mut self.only_cached) {
            self.put(offset, &before);
        }
    }

    /// The file ends after so many bytes.
    pub(super) fn shorten(&mut self, bytes: u64) {
        let end = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.bytes.truncate(end);
        self.rotten.retain(|(at, _)| *at < end);
    }

    /// One write begins, however much of it arrives.
    pub(super) fn note(&mut self, place: Range<usize>) {
        self.latest.push_back(place);
        if LATEST < self.latest.len() {
            self.latest.pop_front();
        }
    }

    /// Changes the bit that these numbers hit, unless it was written just now.
    pub(super) fn rot(&mut self, place: u64, bit: u64) {
        let place = usize::try_from(place % self.bytes.len().max(1) as u64).unwrap_or(0);
        let mask = 1 << (bit % 8);
        if self.bytes.is_empty() || self.latest.iter().any(|latest| latest.contains(&place)) {
            return;
        }
        self.bytes[place] ^= mask;
        self.rotten.push((place, mask));
    }

    pub(super) fn is_rotten(&self) -> bool {
        !self.rotten.is_empty()
    }

    pub(super) fn mend(&mut self) {
        for (place, mask) in self.rotten.drain(..) {
            self.bytes[place] ^= mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rots_is_mended_or_written_again() {
        let mut written = Written::default();
        written.rot(3, 0);
        assert!(!written.is_rotten());
        for place in (0..5).map(|nth| nth * 10..nth * 10 + 10) {
            written.note(place.clone());
            written.put(place.start, &[7; 4]);
            written.put(place.start + 4, &[7; 6]);
        }
        written.rot(45, 1);
        written.rot(22, 1);
        assert!(!written.is_rotten(), "the last three are spared, in however many parts they came");
        written.rot(3, 1);
        written.rot(13, 2);
        assert_eq!((written.bytes[3], written.bytes[13]), (5, 3));
        written.put(10, &[1; 10]);
        written.mend();
        assert_eq!((written.bytes[3], written.bytes[13], written.is_rotten()), (7, 1, false));
    }

    #[test]
    fn what_is_only_cached_goes_with_the_power_unless_it_is_written_again() {
        let mut written = Written::of(vec![1; 4]);
        written.cache(2, &[2; 2]);
        written.cache(4, &[3; 2]);
        written.cache(4, &[4; 2]);
        assert_eq!(written.bytes, [1, 1, 2, 2, 4, 4]);
        written.put(2, &[5; 2]);
        written.lose_cache();
        assert_eq!(written.bytes, [1, 1, 5, 5, 0, 0]);
    }
}
