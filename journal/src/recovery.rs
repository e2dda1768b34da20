//! What the blocks on disk add up to, and where they end.
//!
//!     block 1   2   3   4   5 | bad                 bad, and nothing behind it: a torn tail, cut here
//!     block 1   2   3 | bad | 5 (durable 4)         block 5 says that 4 was on disk: damage, refused
//!
//! Pure: bytes in, state out. A block that is whole but says what cannot be is damage, too, and never a panic.

use crate::block::{self, Block, EntryPlace, Kind, PAGE_BYTES, Place, State};
use crate::segment::Header;
use crate::spans::{Span, Spans, Terms};

/// No log comes to this many blocks, entries or segments, so that counting on is always possible.
pub(crate) const COUNT_MAX: u64 = 1 << 62;

/// Where the next block connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    /// Its number.
    pub(crate) number: u64,
    /// The crc of the block before.
    pub(crate) crc: u32,
}

/// What blocks add up to.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    /// `None` before the first block, which must be a `State`.
    pub(crate) state: Option<State>,
    pub(crate) spans: Spans,
    pub(crate) terms: Terms,
    pub(crate) committed_end: u64,
    /// Term and index of the last entry that there was, also where it was cut off later.
    pub(crate) last_ever: Option<(u64, u64)>,
}

/// Where a segment's blocks end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) offset: usize,
    pub(crate) chain: Chain,
    /// Where the last write began, which no block says to be on disk.
    pub(crate) unproven: usize,
    /// Part of another block lies here.
    pub(crate) torn: bool,
    /// A later block that proves that there was one here.
    pub(crate) proof: Option<usize>,
}

/// What cannot be, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) offset: usize,
    pub(crate) what: &'static str,
}

/// Applies the blocks of one segment, up to the first that is not the next of the chain.
pub(crate) fn scan(bytes: &[u8], segment: &Header, replay: &mut Replay) -> Result<End, Damage> {
    let mut chain = Chain { number: segment.first_number, crc: segment.chain };
    let (mut offset, mut unproven) = (PAGE_BYTES, None);
    while let Some(block) = bytes.get(offset..).and_then(block::decode) {
        let place = Place { segment: segment.segment, number: chain.number, previous: chain.crc };
        if block.header.place != place {
            break;
        }
        let applied = if offset == PAGE_BYTES {
            replay.begin(&block, segment.first_index)
        } else {
            replay.apply(&block, offset)
        };
        applied.map_err(|what| Damage { offset, what })?;
        // The first block was on disk before its segment had a name.
        if offset != PAGE_BYTES && block.header.durable + 1 == chain.number {
            unproven = Some(offset);
        }
        chain = Chain { number: chain.number + 1, crc: block.crc };
        offset += block::padded(block.length);
    }
    if offset == PAGE_BYTES {
        return Err(Damage { offset, what: "it does not begin with its state" });
    }
    let torn = bytes.get(offset..).and_then(block::claims) == Some((segment.segment, chain.number));
    let unproven = unproven.unwrap_or(offset);
    Ok(End { offset, chain, unproven, torn, proof: proof(bytes, segment.segment, offset, chain.number) })
}

/// A whole block behind `offset` that was made when block `number` was known to be on disk.
fn proof(bytes: &[u8], segment: u64, offset: usize, number: u64) -> Option<usize> {
    (offset..bytes.len()).step_by(PAGE_BYTES).skip(1).find(|&at| {
        // Few pages look like a later block of this segment, so few are summed.
        let later = block::claims(&bytes[at..]).is_some_and(|(s, n)| s == segment && number < n);
        later && block::decode(&bytes[at..]).is_some_and(|block| number <= block.header.durable)
    })
}

impl Replay {
    /// The first block of a segment is its state as it began.
    fn begin(&mut self, block: &Block<'_>, first_index: u64) -> Result<(), &'static str> {
        if block.header.kind != Kind::State {
            return Err("it does not begin with its state");
        }
        self.apply(block, PAGE_BYTES)?;
        if self.known()?.next != first_index {
            return Err("its header and its state do not agree");
        }
        Ok(())
    }

    fn apply(&mut self, block: &Block<'_>, offset: usize) -> Result<(), &'static str> {
        let header = &block.header;
        if header.place.number <= header.durable {
            return Err("a block claims to be older than itself");
        }
        if COUNT_MAX < header.place.number {
            return Err("a block's number is too large");
        }
        match header.kind {
            Kind::State => self.restate(block)?,
            Kind::Entries => self.entries(block, offset)?,
            Kind::Vote => self.known()?.vote = Some(bytes::Bytes::copy_from_slice(block.body)),
            Kind::Truncate => self.truncate(header.first)?,
            Kind::Purge => self.purge(header.first, header.term)?,
        }
        self.committed_end = header.committed_end;
        Ok(())
    }

    fn known(&mut self) -> Result<&mut State, &'static str> {
        self.state.as_mut().ok_or("a segment does not begin with a state")
    }

    fn restate(&mut self, block: &Block<'_>) -> Result<(), &'static str> {
        let state = State::decode(block.body).ok_or("a state cannot be read")?;
        bounded(state.next.max(state.purged.map_or(0, |(index, _)| index)))?;
        match &self.state {
            None => self.state = Some(state),
            Some(known) if *known == state => {}
            Some(_) => return Err("a state contradicts the blocks before it"),
        }
        Ok(())
    }

    fn entries(&mut self, block: &Block<'_>, offset: usize) -> Result<(), &'static str> {
        let first = block.header.first;
        let entries = block.entries().filter(|e| !e.is_empty()).ok_or("entries cannot be read")?;
        let end = bounded(first.saturating_add(u64::from(block.header.count)))?;
        let state = self.known()?;
        if first != state.next {
            return Err("entries do not follow those before them");
        }
        state.next = end;
        for (index, EntryPlace { term, .. }) in (first..end).zip(entries) {
            self.terms.push(index, term);
            self.last_ever = self.last_ever.max(Some((term, index)));
        }
        let length = u32::try_from(block.length).map_err(|_| "a block is too long")?;
        let segment = block.header.place.segment;
        self.spans.push(Span { first, end, segment, offset: offset as u64, length });
        Ok(())
    }

    fn truncate(&mut self, from: u64) -> Result<(), &'static str> {
        let state = self.known()?;
        if state.next < from || state.purged.is_some_and(|(purged, _)| from <= purged) {
            return Err("a truncation of what is not there");
        }
        state.next = from;
        self.spans.truncate(from);
        self.terms.truncate(from);
        Ok(())
    }

    fn purge(&mut self, end: u64, term: u64) -> Result<(), &'static str> {
        let last = bounded(end)?.checked_sub(1).ok_or("a purge of nothing")?;
        let state = self.known()?;
        if state.purged.is_some_and(|(purged, _)| last <= purged) {
            return Err("a purge of what is not there");
        }
        state.purged = Some((last, term));
        state.next = state.next.max(end);
        self.last_ever = self.last_ever.max(Some((term, last)));
        self.spans.purge(end);
        self.terms.purge(end);
        Ok(())
    }

    /// Whether every entry above the purged ones is here.
    pub(crate) fn complete(&self) -> bool {
        let Some(state) = &self.state else { return false };
        let first = state.purged.map_or(0, |(purged, _)| purged + 1);
        match self.spans.first() {
            Some(span) => span.first == first,
            None => state.next == first,
        }
    }
}

fn bounded(index: u64) -> Result<u64, &'static str> {
    if index <= COUNT_MAX { Ok(index) } else { Err("an index is too large") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![0..20_u64, Just(COUNT_MAX), any::<u64>()]
    }

    fn body() -> impl Strategy<Value = Vec<u8>> {
        let state = (number(), prop::option::of((0..u64::MAX, number()))).prop_map(|(next, purged)| {
            let mut body = Vec::new();
            State { next, purged, vote: Some(Bytes::from_static(b"vote")) }.encode(&mut body);
            body
        });
        let entries = prop::collection::vec((number(), 0..40_usize), 0..5).prop_map(|entries| {
            let mut body = Vec::new();
            for (term, bytes) in entries {
                let payload = vec![1; bytes].into();
                block::encode_entry(&mut body, &block::LogEntry { index: 0, term, kind: 1, payload });
            }
            body
        });
        prop_oneof![state, entries, prop::collection::vec(any::<u8>(), 0..60)]
    }

    fn kind() -> impl Strategy<Value = Kind> {
        prop_oneof![
            Just(Kind::State),
            Just(Kind::Entries),
            Just(Kind::Vote),
            Just(Kind::Truncate),
            Just(Kind::Purge)
        ]
    }

    proptest! {
        /// Every block is whole and in its place, and what it says is anything.
        #[test]
        fn no_blocks_make_it_panic(
            first_number in number(),
            first_index in number(),
            blocks in prop::collection::vec((kind(), number(), number(), 0..5_u32, body()), 0..12),
        ) {
            let mut header = Header { cluster: 1, segment: 1, first_index, first_number, chain: 0, bytes: 0 };
            let mut bytes = vec![0; PAGE_BYTES];
            let mut chain = Chain { number: first_number, crc: 0 };
            for (kind, first, term, count, body) in blocks {
                let place = Place { segment: 1, number: chain.number, previous: chain.crc };
                let durable = chain.number.saturating_sub(1);
                let block =
                    block::Header { place, kind, durable, committed_end: first, term, first, count };
                if bytes.len() == PAGE_BYTES && kind == Kind::State {
                    header.first_index = State::decode(&body).map_or(first_index, |state| state.next);
                }
                let crc = block::encode(&mut bytes, &block, |out| out.extend_from_slice(&body));
                chain = Chain { number: chain.number.wrapping_add(1), crc };
            }
            let mut replay = Replay::default();
            let _ = scan(&bytes, &header, &mut replay);
            replay.complete();
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..9_000)) {
            let header = Header { cluster: 1, segment: 1, first_index: 0, first_number: 1, chain: 0, bytes: 0 };
            prop_assert!(scan(&bytes, &header, &mut Replay::default()).is_err());
        }
    }
}
