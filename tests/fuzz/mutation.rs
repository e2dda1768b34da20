//! Changes of an input, from random numbers that are the same for the same seed.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::corpus::BYTES_MAX;

/// Numbers at which something begins or ends.
const NUMBERS: [u64; 16] = [
    0,
    1,
    2,
    7,
    0x7f,
    0x80,
    0xff,
    0x100,
    0xfff,
    0x1000,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 62,
    i64::MAX as u64,
    u64::MAX - 1,
    u64::MAX,
];

pub(crate) struct Mutation {
    chance: StdRng,
}

impl Mutation {
    pub(crate) fn new(seed: u64) -> Mutation {
        Mutation { chance: StdRng::seed_from_u64(seed) }
    }

    /// One of so many.
    pub(crate) fn pick(&mut self, count: usize) -> usize {
        self.chance.random_range(0..count)
    }

    /// Changes an input in one place or in a few. `other` is one to take parts from.
    pub(crate) fn change(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        for _ in 0..1 << self.pick(4) {
            self.once(bytes, other);
            bytes.truncate(BYTES_MAX);
        }
    }

    fn once(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        if bytes.is_empty() {
            return bytes.push(self.chance.random());
        }
        let at = self.pick(bytes.len());
        let length = 1 + self.pick((bytes.len() - at).min(32));
        match self.pick(12) {
            0 => bytes[at] ^= 1 << self.pick(8),
            1 => bytes[at] = self.chance.random(),
            2 => bytes[at] = bytes[at].wrapping_add(1),
            3 => bytes[at] = bytes[at].wrapping_sub(1),
            4 => drop(bytes.drain(at..at + length)),
            5 => bytes.insert(at, self.chance.random()),
            6 => {
                let again = bytes[at..at + length].to_vec();
                let to = self.pick(bytes.len());
                bytes.splice(to..to, again);
            }
            7 => bytes.truncate(at),
            8 => self.number(bytes, at),
            9 => {
                let to = self.pick(bytes.len() - length + 1);
                bytes.copy_within(at..at + length, to);
            }
            10 if !other.is_empty() => {
                let from = self.pick(other.len());
                bytes.splice(at..at + length, other[from..].iter().copied().take(64));
            }
            _ if !other.is_empty() => {
                bytes.truncate(at);
                bytes.extend_from_slice(&other[self.pick(other.len())..]);
            }
            _ => bytes.push(0),
        }
    }

    /// Puts a number over what is there: of a fixed width, of either order, or a varint.
    fn number(&mut self, bytes: &mut [u8], at: usize) {
        let number = NUMBERS[self.pick(NUMBERS.len())];
        let width = [1, 2, 4, 8][self.pick(4)];
        let mut written = match self.pick(3) {
            0 => number.to_le_bytes()[..width].to_vec(),
            1 => number.to_be_bytes()[8 - width..].to_vec(),
            _ => varint(number),
        };
        written.truncate(bytes.len() - at);
        bytes[at..at + written.len()].copy_from_slice(&written);
    }
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut written = Vec::new();
    while number > 0x7f {
        written.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    written.push(number.to_le_bytes()[0]);
    written
}
