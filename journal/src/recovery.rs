//! What the blocks on disk add up to, and where they end.
//!
//!     block 1   2   3   4   5 | bad                 bad, and nothing behind it: a torn tail, cut here
//!     block 1   2   3 | bad | 5 (durable 4)         block 5 says that 4 was on disk: damage, refused
//!
//! Pure: bytes in, state out. A block that is whole but says what cannot be is damage, too, and never a panic.

use crate::block::{self, Block, EntryPlace, Kind, PAGE_BYTES, Place, State};
use crate::spans::{Span, Spans, Terms};

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
}

/// Where a segment's blocks end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) offset: usize,
    pub(crate) chain: Chain,
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
pub(crate) fn scan(bytes: &[u8], segment: u64, chain: Chain, replay: &mut Replay) -> Result<End, Damage> {
    let (mut offset, mut chain) = (PAGE_BYTES, chain);
    while let Some(block) = bytes.get(offset..).and_then(block::decode) {
        if block.header.place != (Place { segment, number: chain.number, previous: chain.crc }) {
            break;
        }
        replay.apply(&block, offset).map_err(|what| Damage { offset, what })?;
        chain = Chain { number: chain.number + 1, crc: block.crc };
        offset += block::padded(block.length);
    }
    let torn = bytes.get(offset..).and_then(block::claims) == Some((segment, chain.number));
    Ok(End { offset, chain, torn, proof: proof(bytes, segment, offset, chain.number) })
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
    fn apply(&mut self, block: &Block<'_>, offset: usize) -> Result<(), &'static str> {
        let header = &block.header;
        if header.place.number <= header.durable {
            return Err("a block claims to be older than itself");
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
        let end = first.checked_add(u64::from(block.header.count)).ok_or("an index is too large")?;
        let state = self.known()?;
        if first != state.next {
            return Err("entries do not follow those before them");
        }
        state.next = end;
        for (index, EntryPlace { term, .. }) in (first..end).zip(entries) {
            self.terms.push(index, term);
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
        let last = end.checked_sub(1).ok_or("a purge of nothing")?;
        let state = self.known()?;
        if state.purged.is_some_and(|(purged, _)| last <= purged) {
            return Err("a purge of what is not there");
        }
        state.purged = Some((last, term));
        state.next = state.next.max(end);
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
