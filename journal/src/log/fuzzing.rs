//! What lies in a journal's directory, made by any bytes: a script of segments and blocks.
//!
//!     0  flags ...                          a segment begins
//!     1  kind, flags, term, count, ... length, body      a block goes behind the last
//!     2  pages                              zeros
//!     3  length, bytes                      anything, to the end of a page
//!
//! A flag takes a number from the script. Where it is not set the number is right, and so is every crc: what
//! comes through says what cannot be, not only what was torn.

use std::sync::Arc;

use bytes::Bytes;

use super::{Log, LogEntry, Settings};
use crate::block::{self, Kind, PAGE_BYTES, Place};
use crate::clock::ManualClock;
use crate::error::Error;
use crate::log_device::LogDevice;
use crate::log_device::sim::Sim;
use crate::segment::{self, Header};

const CLUSTER: u64 = 7;
const SETTINGS: Settings = Settings {
    segment_bytes: 5 * PAGE_BYTES as u64,
    recent_bytes_max: 0,
    make_ahead: false,
    queue_items_max: 4_096,
};
const SEGMENTS_MAX: usize = 6;
const SEGMENT_BYTES_MAX: usize = 16 * PAGE_BYTES;
const KINDS: [Kind; 5] = [Kind::State, Kind::Entries, Kind::Vote, Kind::Truncate, Kind::Purge];

const BEGIN: u8 = 0;
const BLOCK: u8 = 1;
const ZEROS: u8 = 2;
const ANYTHING: u8 = 3;

/// Opens what the script says; where that is taken for a log, a second start finds the same.
pub fn segments(data: &[u8]) {
    let sim = Sim::default();
    for (name, content) in Directory::read(data).files {
        let file = sim.create(&name, content.len() as u64).expect("there is room");
        file.write_durable(0, &content).expect("the disk is whole");
    }
    sim.sync_directory().expect("the disk is whole");
    match found(&sim) {
        Ok(first) => assert_eq!(found(&sim).expect("it has just started"), first),
        Err(Error::Corrupt(text) | Error::Io(text)) => assert!(text.contains("memory/"), "where? {text}"),
        Err(other) => panic!("not what bytes can do: {other}"),
    }
}

type Found = (Option<(u64, u64)>, Option<(u64, u64)>, Option<Bytes>, Vec<LogEntry>);

fn found(sim: &Sim) -> Result<Found, Error> {
    let (log, _worker) =
        Log::parts(Arc::new(sim.clone()), CLUSTER, SETTINGS, Arc::new(ManualClock::default()))?;
    let first = log.purged().map_or(0, |(index, _)| index + 1);
    let mut entries = Vec::new();
    loop {
        let part = log.read(first + entries.len() as u64, u64::MAX).expect("what was found can be read");
        if part.is_empty() {
            break;
        }
        entries.extend(part);
    }
    assert!((first..).zip(&entries).all(|(index, entry)| entry.index == index), "no gap");
    assert_eq!(log.last(), entries.last().map(|entry| (entry.index, entry.term)));
    Ok((log.last(), log.purged(), log.vote(), entries))
}

/// A directory as a script makes it.
#[derive(Default)]
struct Directory {
    files: Vec<(String, Vec<u8>)>,
    /// Of what is being made.
    segment: u64,
    number: u64,
    crc: u32,
    next: u64,
}

impl Directory {
    fn read(script: &[u8]) -> Directory {
        let mut directory = Directory { number: 1, ..Directory::default() };
        let mut script = Script(script);
        while directory.step(&mut script).is_some() {}
        directory
    }

    fn step(&mut self, script: &mut Script<'_>) -> Option<()> {
        match script.byte()? % 4 {
            BEGIN => return self.begin(script),
            BLOCK => return self.block(script),
            ZEROS => {
                let pages = usize::from(script.byte()? % 4);
                self.file()?.extend(vec![0; pages * PAGE_BYTES]);
            }
            _ => {
                let bytes = script.bytes()?;
                let file = self.file()?;
                file.extend(bytes);
                file.resize(block::padded(file.len()), 0);
            }
        }
        Some(())
    }

    fn file(&mut self) -> Option<&mut Vec<u8>> {
        let (_, file) = self.files.last_mut()?;
        (file.len() < SEGMENT_BYTES_MAX).then_some(file)
    }

    fn begin(&mut self, script: &mut Script<'_>) -> Option<()> {
        let flags = script.byte()?;
        let segment = script.number(flags, 1, self.segment + 1)?;
        let header = Header {
            cluster: script.number(flags, 2, CLUSTER)?,
            segment,
            first_index: script.number(flags, 4, self.next)?,
            first_number: script.number(flags, 8, self.number)?,
            chain: script.short(flags, 16, self.crc)?,
            bytes: script.number(flags, 32, SETTINGS.segment_bytes)?,
        };
        if SEGMENTS_MAX <= self.files.len() {
            return None;
        }
        let mut page = Vec::new();
        header.encode(&mut page);
        (self.segment, self.number) = (segment.min(u64::MAX - 8), header.first_number);
        self.files.push((segment::name(segment), page));
        Some(())
    }

    fn block(&mut self, script: &mut Script<'_>) -> Option<()> {
        let kind = KINDS[usize::from(script.byte()?) % KINDS.len()];
        let flags = script.byte()?;
        let (term, count) = (u64::from(script.byte()?), u32::from(script.byte()?));
        let place = Place {
            segment: script.number(flags, 1, self.segment)?,
            number: script.number(flags, 2, self.number)?,
            previous: script.short(flags, 4, self.crc)?,
        };
        let durable = script.number(flags, 8, place.number.saturating_sub(1))?;
        let first = script.number(flags, 16, self.next)?;
        let committed_end = script.number(flags, 32, 0)?;
        let body = script.bytes()?;
        let header = block::Header { place, kind, durable, committed_end, term, first, count };
        let file = self.file()?;
        let crc = block::encode(file, &header, |out| out.extend_from_slice(body));
        if flags & 64 != 0 {
            let last = file.len() - block::padded(block::HEADER_BYTES + body.len()) + 4;
            file[last] ^= 1;
        }
        (self.number, self.crc) = (place.number.saturating_add(1), crc);
        self.next = match kind {
            Kind::Entries => first.saturating_add(u64::from(count)),
            Kind::State => block::State::decode(body).map_or(self.next, |state| state.next),
            Kind::Truncate => first,
            Kind::Purge => self.next.max(first),
            Kind::Vote => self.next,
        };
        Some(())
    }
}

struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = u16::from_le_bytes(self.take(2)?.try_into().ok()?);
        self.take(usize::from(length))
    }

    fn number(&mut self, flags: u8, flag: u8, right: u64) -> Option<u64> {
        if flags & flag == 0 { Some(right) } else { block::read_u64(self.take(8)?, 0) }
    }

    fn short(&mut self, flags: u8, flag: u8, right: u32) -> Option<u32> {
        if flags & flag == 0 { Some(right) } else { block::read_u32(self.take(4)?, 0) }
    }
}

/// Scripts of what a log has written.
pub fn segments_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let sim = Sim::default();
    let (log, mut worker) =
        Log::parts(Arc::new(sim.clone()), CLUSTER, SETTINGS, Arc::new(ManualClock::default()))
            .expect("a new log");
    let mut seeds = vec![("new", script(&sim))];
    let entry = |index, term| LogEntry { index, term, kind: 1, payload: vec![7; 30].into() };
    let mut turn = |ask: &dyn Fn(&Log)| {
        ask(&log);
        worker.turn(worker.shared.take().expect("something was asked"));
    };
    turn(&|log| {
        log.append(vec![entry(0, 1), entry(1, 1)], Box::new(|_| ()));
        log.save_vote("vote".into(), Box::new(|_| ()));
    });
    turn(&|log| log.truncate(1, Box::new(|_| ())));
    seeds.push(("one", script(&sim)));
    turn(&|log| log.append(vec![entry(1, 2), entry(2, 2)], Box::new(|_| ())));
    turn(&|log| log.append(vec![entry(3, 2)], Box::new(|_| ())));
    seeds.push(("two", script(&sim)));
    turn(&|log| log.purge(2, 2, Box::new(|_| ())));
    turn(&|log| log.append(vec![entry(4, 3)], Box::new(|_| ())));
    seeds.push(("recycled", script(&sim)));
    seeds
}

/// The script that makes what is on the disk, but for spares and for what lies behind the end.
fn script(sim: &Sim) -> Vec<u8> {
    let mut out = Vec::new();
    let mut numbers: Vec<u64> =
        sim.list().expect("a list").iter().filter_map(|name| segment::number(name)).collect();
    numbers.sort_unstable();
    for number in numbers {
        let file = sim.open(&segment::name(number)).expect("it is there");
        let mut content = vec![0; usize::try_from(file.bytes()).expect("it is small")];
        file.read(0, &mut content).expect("the disk is whole");
        let header = Header::decode(content.first_chunk().expect("a page")).expect("it was written");
        out.extend([BEGIN, 1 | 4 | 8 | 16]);
        [header.segment, header.first_index, header.first_number]
            .iter()
            .for_each(|number| out.extend(number.to_le_bytes()));
        out.extend(header.chain.to_le_bytes());
        let mut at = PAGE_BYTES;
        while let Some(block) =
            content.get(at..).and_then(block::decode).filter(|block| block.header.place.segment == number)
        {
            put_block(&mut out, &block);
            at += block::padded(block.length);
        }
        out.extend([ZEROS, 1]);
    }
    out.extend([ANYTHING, 4, 0, 1, 2, 3, 4]);
    out
}

fn put_block(out: &mut Vec<u8>, block: &block::Block<'_>) {
    let header = &block.header;
    let kind = KINDS.iter().position(|kind| *kind == header.kind).expect("all are there");
    let small = |number: u64| u8::try_from(number).expect("seeds are small");
    out.extend([BLOCK, small(kind as u64), 8 | 16, small(header.term), small(u64::from(header.count))]);
    [header.durable, header.first].iter().for_each(|number| out.extend(number.to_le_bytes()));
    out.extend(u16::try_from(block.body.len()).expect("seeds are small").to_le_bytes());
    out.extend_from_slice(block.body);
}
