//! Turns steps into blocks and blocks into one durable write.
//!
//!     steps   append 7 8 | append 9 | vote | append 10
//!     blocks  [ 7 8 9 ][ vote ][ 10 ]                    one write; all of it durable, or the log has failed

use std::sync::Arc;

use bytes::Bytes;

use crate::block::{self, ENTRY_HEADER_BYTES, HEADER_BYTES, Kind, LogEntry, PAGE_BYTES, Place, State};
use crate::clock::Clock;
use crate::error::Error;
use crate::metrics::LogMetrics;
use crate::recovery::Chain;
use crate::segment::{Header, Segment};
use crate::segments::Segments;
use crate::spans::Span;

/// Entries are joined in one block up to this; a larger entry has one for itself.
const BLOCK_BYTES: usize = 1 << 20;
/// What the buffer keeps between writes.
const RUN_BYTES_KEPT: usize = 4 << 20;

/// Something to make durable.
#[derive(Debug)]
pub(super) enum Step {
    Append(Vec<LogEntry>),
    Vote(Bytes),
    /// Entries from here on never were.
    Truncate(u64),
    /// Entries below `end` are not needed; the last was of `term`.
    Purge {
        end: u64,
        term: u64,
    },
    /// State restated, so that a later start can tell that everything before it was acknowledged.
    Mark,
    /// Nothing; it is called back in its turn.
    Nothing,
}

/// What has become durable, for those who read.
#[derive(Default)]
pub(super) struct Written {
    pub(super) changes: Vec<Change>,
    pub(super) segments: Vec<Arc<Segment>>,
}

pub(super) enum Change {
    Span(Span),
    Truncate(u64),
    Purge(u64),
}

/// The end of the log that grows.
pub(super) struct Writer {
    pub(super) segments: Segments,
    pub(super) metrics: Arc<LogMetrics>,
    cluster: u64,
    clock: Arc<dyn Clock>,
    active: Arc<Segment>,
    /// Where `run` goes in the active segment.
    offset: usize,
    /// Blocks that are not yet written.
    run: Vec<u8>,
    chain: Chain,
    /// The last block known to be on disk.
    durable: u64,
    /// As of the last block in `run`.
    state: State,
    pub(super) committed_end: u64,
    written: Written,
}

impl Writer {
    /// Goes on behind what is on disk: at `offset` of `active`, with the next block of `chain`.
    pub(super) fn resume(
        segments: Segments,
        cluster: u64,
        clock: Arc<dyn Clock>,
        active: Arc<Segment>,
        (offset, chain): (usize, Chain),
        state: State,
        committed_end: u64,
    ) -> Writer {
        let durable = chain.number - 1;
        Writer {
            segments,
            metrics: Arc::default(),
            cluster,
            clock,
            active,
            offset,
            run: Vec::new(),
            chain,
            durable,
            state,
            committed_end,
            written: Written::default(),
        }
    }

    /// The first segment of a new log.
    pub(super) fn first(
        segments: &mut Segments,
        cluster: u64,
    ) -> Result<(Arc<Segment>, usize, Chain), Error> {
        let chain = Chain { number: 1, crc: 0 };
        begin(segments, cluster, 1, chain, &State::default(), 0, 0, 0)
    }

    /// Makes the steps durable, in order. After an error nothing more may be asked.
    pub(super) fn commit<'a>(&mut self, steps: impl Iterator<Item = &'a Step>) -> Result<Written, Error> {
        let mut group = Group::default();
        for step in steps {
            if let Step::Append(entries) = step {
                for entry in entries {
                    if group.is_full_for(entry) {
                        self.entries(&group.take())?;
                    }
                    group.push(entry);
                }
            } else {
                self.entries(&group.take())?;
                self.other(step)?;
            }
        }
        self.entries(&group.take())?;
        self.flush()?;
        Ok(std::mem::take(&mut self.written))
    }

    fn entries(&mut self, group: &Group<'_>) -> Result<(), Error> {
        let Some(first) = group.entries.first() else { return Ok(()) };
        assert_eq!(first.index, self.state.next, "entries are appended in order");
        let end = first.index + group.entries.len() as u64;
        let count = u32::try_from(group.entries.len()).expect("a block holds at most 1 MiB of entries");
        let span = self.block(Kind::Entries, first.index, first.term, count, group.bytes, |out| {
            group.entries.iter().for_each(|entry| block::encode_entry(out, entry));
        })?;
        self.state.next = end;
        self.written.changes.push(Change::Span(Span { end, ..span }));
        Ok(())
    }

    fn other(&mut self, step: &Step) -> Result<(), Error> {
        match step {
            Step::Append(_) | Step::Nothing => {}
            Step::Vote(vote) => {
                self.block(Kind::Vote, 0, 0, 0, vote.len(), |out| out.extend_from_slice(vote))?;
                self.state.vote = Some(vote.clone());
            }
            Step::Truncate(from) => {
                self.block(Kind::Truncate, *from, 0, 0, 0, |_| {})?;
                self.state.next = *from;
                self.written.changes.push(Change::Truncate(*from));
            }
            Step::Purge { end, term } => {
                self.block(Kind::Purge, *end, *term, 0, 0, |_| {})?;
                self.state.purged = Some((end - 1, *term));
                self.state.next = self.state.next.max(*end);
                self.written.changes.push(Change::Purge(*end));
            }
            Step::Mark => {
                let state = self.state.clone();
                self.block(Kind::State, 0, 0, 0, state.bytes(), |out| state.encode(out))?;
            }
        }
        Ok(())
    }

    /// Adds a block to the run, in a new segment if it does not fit in this one. The span is where it is.
    fn block(
        &mut self,
        kind: Kind,
        first: u64,
        term: u64,
        count: u32,
        body_bytes: usize,
        body: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Span, Error> {
        let length = HEADER_BYTES + body_bytes;
        if self.active.header.bytes < (self.offset + self.run.len() + block::padded(length)) as u64 {
            self.next_segment(length)?;
        }
        let place = Place {
            segment: self.active.header.segment,
            number: self.chain.number,
            previous: self.chain.crc,
        };
        let (durable, committed_end) = (self.durable, self.committed_end);
        let offset = self.offset + self.run.len();
        let header = block::Header { place, kind, durable, committed_end, term, first, count };
        let crc = block::encode(&mut self.run, &header, body);
        assert_eq!(self.offset + self.run.len(), offset + block::padded(length), "the body has its size");
        self.chain = Chain { number: self.chain.number + 1, crc };
        let length = u32::try_from(length).expect("a block is far below 4 GiB");
        Ok(Span { first, end: first, segment: place.segment, offset: offset as u64, length })
    }

    fn next_segment(&mut self, needed: usize) -> Result<(), Error> {
        // Everything in the segment before is durable when the next one begins: a segment that is followed by
        // another has no torn tail.
        self.flush()?;
        let number = self.active.header.segment + 1;
        let (segment, offset, chain) = begin(
            &mut self.segments,
            self.cluster,
            number,
            self.chain,
            &self.state,
            self.durable,
            self.committed_end,
            needed,
        )?;
        self.durable = chain.number - 1;
        (self.active, self.offset, self.chain) = (Arc::clone(&segment), offset, chain);
        self.written.segments.push(segment);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.run.is_empty() {
            return Ok(());
        }
        let before = self.clock.now();
        self.active
            .file
            .write_durable(self.offset as u64, &self.run)
            .map_err(|error| self.active.failed("write to", &error))?;
        self.metrics.syncs.observe(self.clock.now().saturating_sub(before));
        self.metrics.written(self.run.len());
        self.offset += self.run.len();
        self.durable = self.chain.number - 1;
        self.run.clear();
        self.run.shrink_to(RUN_BYTES_KEPT);
        Ok(())
    }
}

/// Entries that go into one block.
#[derive(Default)]
struct Group<'a> {
    entries: Vec<&'a LogEntry>,
    bytes: usize,
}

impl<'a> Group<'a> {
    fn is_full_for(&self, entry: &LogEntry) -> bool {
        !self.entries.is_empty() && BLOCK_BYTES < self.bytes + entry_bytes(entry)
    }

    fn push(&mut self, entry: &'a LogEntry) {
        self.bytes += entry_bytes(entry);
        self.entries.push(entry);
    }

    fn take(&mut self) -> Group<'a> {
        std::mem::take(self)
    }
}

fn entry_bytes(entry: &LogEntry) -> usize {
    ENTRY_HEADER_BYTES + entry.payload.len()
}

/// A new segment with its header and state, and with room for a block of `needed` bytes.
#[expect(clippy::too_many_arguments, reason = "each is a field of what is written")]
fn begin(
    segments: &mut Segments,
    cluster: u64,
    segment: u64,
    chain: Chain,
    state: &State,
    durable: u64,
    committed_end: u64,
    needed: usize,
) -> Result<(Arc<Segment>, usize, Chain), Error> {
    let start_bytes = PAGE_BYTES + block::padded(HEADER_BYTES + state.bytes());
    let header = Header {
        cluster,
        segment,
        first_index: state.next,
        first_number: chain.number,
        chain: chain.crc,
        bytes: segments.bytes_for(start_bytes + block::padded(needed)),
    };
    let mut start = Vec::with_capacity(start_bytes);
    header.encode(&mut start);
    let place = Place { segment, number: chain.number, previous: chain.crc };
    let block =
        block::Header { place, kind: Kind::State, durable, committed_end, term: 0, first: 0, count: 0 };
    let crc = block::encode(&mut start, &block, |out| state.encode(out));
    let created = segments.create(header, &start)?;
    Ok((created, start.len(), Chain { number: chain.number + 1, crc }))
}
