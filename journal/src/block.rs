//! The bytes of one block: what one group commit, or one part of it, leaves on disk.
//!
//!     |0       4     8         12    16       24      32       40         48    56     64     68    72
//!     | length | crc | previous | kind| segment| number| durable| committed| term | first| count| zero | body ...
//!     |<--------------------------- length bytes, crc over all but itself ----------------------->| pad to 4 KiB
//!
//! `previous` is the crc of the block before and also seeds this one's, so a block vouches for its whole past, and a
//! stale block of a recycled segment never fits. `durable` is the last block that was known to be on disk when
//! this one was made: a block that can still be read proves that everything up to there had been acknowledged.
//!
//! Nothing here does IO, and no length is believed before it fits into the bytes at hand.

use bytes::{BufMut, Bytes};

/// Blocks begin at multiples of this, and fill it up with zeros.
pub(crate) const PAGE_BYTES: usize = 4_096;
/// Of a block, before its body.
pub(crate) const HEADER_BYTES: usize = 72;
/// Of an entry inside a body, before its payload: length, kind, three zeros, term.
pub(crate) const ENTRY_HEADER_BYTES: usize = 16;
/// The largest payload: a record of 128 MiB with what wraps it.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 136 << 20;
/// The largest vote.
pub(crate) const VOTE_BYTES_MAX: usize = 64 << 10;

const NO_VOTE: u32 = u32::MAX;

/// One entry of Raft's log. What kind and payload mean is not the log's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogEntry {
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) kind: u8,
    pub(crate) payload: Bytes,
}

/// What a block says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Vote, purge and position restated: first in every segment, and whenever a log is opened or closed.
    State = 1,
    /// Entries `first .. first + count`.
    Entries = 2,
    /// The vote is the body.
    Vote = 3,
    /// Entries from `first` on never were.
    Truncate = 4,
    /// Entries below `first` are no longer needed; the last of them was of `term`.
    Purge = 5,
}

impl Kind {
    fn decode(byte: u8) -> Option<Kind> {
        match byte {
            1 => Some(Kind::State),
            2 => Some(Kind::Entries),
            3 => Some(Kind::Vote),
            4 => Some(Kind::Truncate),
            5 => Some(Kind::Purge),
            _ => None,
        }
    }
}

/// Where a block stands among the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: u64,
    pub(crate) number: u64,
    /// The crc of the block before.
    pub(crate) previous: u32,
}

/// The head of a block, apart from its length and crc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) place: Place,
    pub(crate) kind: Kind,
    pub(crate) durable: u64,
    /// The first index not known to be committed: a hint that costs no write of its own.
    pub(crate) committed_end: u64,
    pub(crate) term: u64,
    pub(crate) first: u64,
    pub(crate) count: u32,
}

/// A block whose own crc is right. Whether it belongs here, its `place` says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block<'a> {
    pub(crate) header: Header,
    pub(crate) crc: u32,
    /// Header and body, without padding.
    pub(crate) length: usize,
    pub(crate) body: &'a [u8],
}

/// An entry inside a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EntryPlace {
    pub(crate) term: u64,
    pub(crate) kind: u8,
    /// Of the payload in the body.
    pub(crate) payload: std::ops::Range<usize>,
}

/// What a `State` block restates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// The index the next entry will have.
    pub(crate) next: u64,
    /// The last entry purged: index and term.
    pub(crate) purged: Option<(u64, u64)>,
    pub(crate) vote: Option<Bytes>,
}

/// How much of the disk a block of `length` bytes takes.
pub(crate) fn padded(length: usize) -> usize {
    length.next_multiple_of(PAGE_BYTES)
}

/// Writes a block behind `out`, padded, and answers its crc. `body` appends the body to what it is given.
pub(crate) fn encode(out: &mut Vec<u8>, header: &Header, body: impl FnOnce(&mut Vec<u8>)) -> u32 {
    let start = out.len();
    out.put_u32_le(0);
    out.put_u32_le(0);
    out.put_u32_le(header.place.previous);
    out.put_u32_le(header.kind as u32);
    out.put_u64_le(header.place.segment);
    out.put_u64_le(header.place.number);
    out.put_u64_le(header.durable);
    out.put_u64_le(header.committed_end);
    out.put_u64_le(header.term);
    out.put_u64_le(header.first);
    out.put_u32_le(header.count);
    out.put_u32_le(0);
    debug_assert_eq!(out.len() - start, HEADER_BYTES, "the header has its size");
    body(out);
    let length = u32::try_from(out.len() - start).expect("a body is bounded far below 4 GiB");
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    let crc = checksum(header.place.previous, &out[start..]);
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    out.resize(start + padded(out.len() - start), 0);
    crc
}

/// Appends one entry to a body.
pub(crate) fn encode_entry(out: &mut Vec<u8>, entry: &LogEntry) {
    out.put_u32_le(u32::try_from(entry.payload.len()).expect("payloads are bounded"));
    out.put_u32_le(u32::from(entry.kind));
    out.put_u64_le(entry.term);
    out.put_slice(&entry.payload);
}

/// The block that begins at the start of `bytes`, if there is a whole one and its crc is right.
pub(crate) fn decode(bytes: &[u8]) -> Option<Block<'_>> {
    let length = usize::try_from(read_u32(bytes, 0)?).ok()?;
    let bytes = bytes.get(..length).filter(|bytes| bytes.len() >= HEADER_BYTES)?;
    let previous = read_u32(bytes, 8)?;
    let crc = read_u32(bytes, 4)?;
    if checksum(previous, bytes) != crc {
        return None;
    }
    let kind = Kind::decode(u8::try_from(read_u32(bytes, 12)?).ok()?)?;
    let header = Header {
        place: Place { segment: read_u64(bytes, 16)?, number: read_u64(bytes, 24)?, previous },
        kind,
        durable: read_u64(bytes, 32)?,
        committed_end: read_u64(bytes, 40)?,
        term: read_u64(bytes, 48)?,
        first: read_u64(bytes, 56)?,
        count: read_u32(bytes, 64)?,
    };
    Some(Block { header, crc, length, body: &bytes[HEADER_BYTES..] })
}

/// Segment and number that the block at the start of `bytes` claims, whether or not it is whole.
pub(crate) fn claims(bytes: &[u8]) -> Option<(u64, u64)> {
    Some((read_u64(bytes, 16)?, read_u64(bytes, 24)?))
}

impl Block<'_> {
    /// The entries of an `Entries` block; `None` when the body is not exactly `count` of them.
    pub(crate) fn entries(&self) -> Option<Vec<EntryPlace>> {
        let count = usize::try_from(self.header.count).ok()?;
        if count > self.body.len() / ENTRY_HEADER_BYTES {
            return None;
        }
        let mut entries = Vec::with_capacity(count);
        let mut at = 0;
        for _ in 0..count {
            let length = usize::try_from(read_u32(self.body, at)?).ok()?;
            let kind = u8::try_from(read_u32(self.body, at + 4)?).ok()?;
            let term = read_u64(self.body, at + 8)?;
            let start = at + ENTRY_HEADER_BYTES;
            let end = start.checked_add(length).filter(|&end| end <= self.body.len())?;
            entries.push(EntryPlace { term, kind, payload: start..end });
            at = end;
        }
        (at == self.body.len()).then_some(entries)
    }
}

impl State {
    /// `next | purged end | purged term | vote length | vote`; a purged end of 0 means nothing was purged.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let (purged_end, purged_term) = self.purged.map_or((0, 0), |(index, term)| (index + 1, term));
        out.put_u64_le(self.next);
        out.put_u64_le(purged_end);
        out.put_u64_le(purged_term);
        match &self.vote {
            None => out.put_u32_le(NO_VOTE),
            Some(vote) => {
                out.put_u32_le(u32::try_from(vote.len()).expect("votes are bounded"));
                out.put_slice(vote);
            }
        }
    }

    /// `None` when these are not the bytes of a state.
    pub(crate) fn decode(body: &[u8]) -> Option<State> {
        let purged_end = read_u64(body, 8)?;
        let purged_term = read_u64(body, 16)?;
        let rest = &body[28.min(body.len())..];
        let vote = match read_u32(body, 24)? {
            NO_VOTE if rest.is_empty() => None,
            length if usize::try_from(length) == Ok(rest.len()) => Some(Bytes::copy_from_slice(rest)),
            _ => return None,
        };
        Some(State {
            next: read_u64(body, 0)?,
            purged: purged_end.checked_sub(1).map(|index| (index, purged_term)),
            vote,
        })
    }

    /// How long `encode` will be.
    pub(crate) fn bytes(&self) -> usize {
        28 + self.vote.as_ref().map_or(0, Bytes::len)
    }
}

fn checksum(previous: u32, block: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(previous);
    hasher.update(&block[..4]);
    hasher.update(&block[8..]);
    hasher.finalize()
}

pub(crate) fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_le_bytes)
}

pub(crate) fn read_u64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at.checked_add(8)?)?.try_into().ok().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(kind: Kind, count: u32) -> Header {
        Header {
            place: Place { segment: 3, number: 17, previous: 0xdead_beef },
            kind,
            durable: 16,
            committed_end: 9,
            term: 2,
            first: 40,
            count,
        }
    }

    fn entries_block(payloads: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        let count = u32::try_from(payloads.len()).unwrap();
        encode(&mut out, &header(Kind::Entries, count), |out| {
            for payload in payloads {
                let payload = Bytes::copy_from_slice(payload);
                encode_entry(out, &LogEntry { index: 0, term: 2, kind: 7, payload });
            }
        });
        out
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3_000), 0..5)) {
            let bytes = entries_block(&payloads);
            prop_assert_eq!(bytes.len() % PAGE_BYTES, 0);
            let block = decode(&bytes).expect("whole");
            prop_assert_eq!(block.header, header(Kind::Entries, u32::try_from(payloads.len()).unwrap()));
            let read: Vec<Vec<u8>> =
                block.entries().expect("entries").into_iter().map(|e| block.body[e.payload].to_vec()).collect();
            prop_assert_eq!(read, payloads);
        }

        #[test]
        fn a_flipped_bit_is_noticed(payload in prop::collection::vec(any::<u8>(), 0..300), bit in any::<prop::sample::Index>()) {
            let mut bytes = entries_block(&[payload]);
            let length = decode(&bytes).expect("whole").length;
            let bit = bit.index(length * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(decode(&bytes).is_none());
        }

        #[test]
        fn no_bytes_make_it_panic_or_allocate(bytes in prop::collection::vec(any::<u8>(), 0..200), count in any::<u32>()) {
            let _ = decode(&bytes);
            let _ = State::decode(&bytes);
            let block = Block { header: header(Kind::Entries, count), crc: 0, length: 0, body: &bytes };
            let _ = block.entries();
        }

        #[test]
        fn a_state_is_restated(next in any::<u64>(), purged in prop::option::of((0..u64::MAX, any::<u64>())), vote in prop::option::of(prop::collection::vec(any::<u8>(), 0..50))) {
            let state = State { next, purged, vote: vote.map(Bytes::from) };
            let mut bytes = Vec::new();
            state.encode(&mut bytes);
            prop_assert_eq!(bytes.len(), state.bytes());
            prop_assert_eq!(State::decode(&bytes), Some(state));
        }
    }
}
