//! Reads what is in a directory, or refuses it.
//!
//!      3   4      6   7   8*        the newest run without a gap is the log; 8 is written on
//!     left over  [ the log  ]
//!
//! What is found is not yet on disk: whoever wrote it may have been killed before that, or told of an error, and the system
//! has it in memory still. So the names are synced, and the last write is made again, before anybody rests on them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::block::PAGE_BYTES;
use crate::error::Error;
use crate::log_device::{LogDevice, LogFile};
use crate::recovery::{self, COUNT_MAX, Chain, Damage, Replay};
use crate::segment::{self, BadHeader, Header, SEGMENT_BYTES_MAX, Segment};

/// A log as it was found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) segments: BTreeMap<u64, Arc<Segment>>,
    pub(super) replay: Replay,
    /// Where the next block goes in the newest segment, and what it connects to. `None` in a new directory.
    pub(super) end: Option<(usize, Chain)>,
    /// Where the last write is, in the newest segment.
    last_write: Range<usize>,
    /// Names of files that hold nothing any more.
    pub(super) left_over: Vec<String>,
    /// What was cut off, for an operator to read.
    pub(super) warning: Option<String>,
}

pub(super) fn open(device: &dyn LogDevice, cluster: u64) -> Result<Found, Error> {
    device
        .sync_directory()
        .map_err(|error| Error::io(format!("cannot sync the directory {}", device.place()), &error))?;
    let mut numbers: Vec<u64> = device
        .list()
        .map_err(|error| Error::io(format!("cannot read the directory {}", device.place()), &error))?
        .iter()
        .filter_map(|name| segment::number(name))
        .collect();
    numbers.sort_unstable();
    let run = newest_run(&numbers);
    let left_over =
        numbers[..numbers.len() - run.len()].iter().map(|&number| segment::name(number)).collect();
    let mut found = Found { left_over, ..Found::default() };
    let mut buffer = Vec::new();
    for &number in run {
        let segment = open_segment(device, number, cluster)?;
        found.add(segment, &mut buffer)?;
    }
    found.finish()?;
    found.write_again(&buffer)?;
    Ok(found)
}

/// The numbers at the end that follow each other.
fn newest_run(numbers: &[u64]) -> &[u64] {
    let gap = numbers.windows(2).rposition(|pair| pair[0].checked_add(1) != Some(pair[1]));
    &numbers[gap.map_or(0, |gap| gap + 1)..]
}

impl Found {
    /// Goes on with the next segment.
    fn add(&mut self, segment: Segment, buffer: &mut Vec<u8>) -> Result<(), Error> {
        let header = segment.header;
        let here = Chain { number: header.first_number, crc: header.chain };
        if let Some(((offset, end), before)) = self.end.zip(self.segments.values().next_back())
            && end != here
        {
            let what = format!("block {} is bad, and later segments go on behind it", end.number);
            return Err(before.damaged(offset as u64, &what));
        }
        let bytes = usize::try_from(header.bytes).expect("a segment is at most 1 GiB");
        buffer.resize(bytes, 0);
        segment.fill(0, buffer)?;
        let end = recovery::scan(buffer, &header, &mut self.replay)
            .map_err(|Damage { offset, what }| segment.damaged(offset as u64, what))?;
        if let Some(proof) = end.proof {
            let what =
                format!("block {} is bad, and the block at {proof} goes on behind it", end.chain.number);
            return Err(segment.damaged(end.offset as u64, &what));
        }
        self.end = Some((end.offset, end.chain));
        self.last_write = end.unproven..end.offset;
        // Only the newest segment can be torn now; older ones were cut by an earlier start.
        self.warning = end.torn.then(|| {
            format!(
                "{} ends at offset {} with a block {} that was not completely written: it is cut off",
                segment.path, end.offset, end.chain.number
            )
        });
        self.segments.insert(header.segment, Arc::new(segment));
        Ok(())
    }

    /// A sync that is tried again can succeed without the bytes, so they are written again, too. `newest` is what was read of
    /// the newest segment.
    fn write_again(&self, newest: &[u8]) -> Result<(), Error> {
        let Some(segment) = self.segments.values().next_back() else { return Ok(()) };
        let Range { start, end } = self.last_write;
        if start == end {
            return Ok(());
        }
        let written = segment.file.write_durable(start as u64, &newest[start..end]);
        written.map_err(|error| segment.failed("write to", &error))
    }

    /// Every entry that was not purged must be here.
    fn finish(&self) -> Result<(), Error> {
        let Some(((offset, _), newest)) = self.end.zip(self.segments.values().next_back()) else {
            return Ok(());
        };
        if self.replay.complete() {
            return Ok(());
        }
        let oldest = self.segments.values().next().map_or(&newest.path, |segment| &segment.path);
        Err(Error::Corrupt(format!(
            "segments before {oldest} are missing, and they hold entries that are needed: nothing up to the last \
             block, at offset {offset} of {}, purges them",
            newest.path
        )))
    }
}

fn open_segment(device: &dyn LogDevice, number: u64, cluster: u64) -> Result<Segment, Error> {
    let name = segment::name(number);
    let path = format!("{}/{name}", device.place());
    let failed = |error: std::io::Error| Error::io(format!("cannot read {path}"), &error);
    let file = device.open(&name).map_err(failed)?;
    let damaged = |what: String| Error::Corrupt(format!("{path} is damaged at offset 0: {what}"));
    let header = header(&*file).map_err(failed)?.map_err(|bad| damaged(bad.to_string()))?;
    if header.cluster != cluster {
        let (found, ours) = (header.cluster, cluster);
        return Err(Error::Io(format!(
            "{path} belongs to cluster {found:016x}, and this is cluster {ours:016x}: move that file away, or put \
             back the one that belongs here"
        )));
    }
    if header.segment != number {
        return Err(damaged(format!("its header is that of segment {}", header.segment)));
    }
    if COUNT_MAX < number {
        return Err(damaged("its number is too large".into()));
    }
    if header.bytes != file.bytes() || SEGMENT_BYTES_MAX < header.bytes {
        return Err(damaged(format!(
            "the file has {} bytes and its header says {}",
            file.bytes(),
            header.bytes
        )));
    }
    Ok(Segment::new(header, path, file))
}

fn header(file: &dyn LogFile) -> std::io::Result<Result<Header, BadHeader>> {
    let mut page = [0; PAGE_BYTES];
    if file.bytes() < PAGE_BYTES as u64 {
        return Ok(Err(BadHeader::Magic));
    }
    file.read(0, &mut page)?;
    Ok(Header::decode(&page))
}

#[cfg(test)]
mod tests {
    use super::newest_run;

    #[test]
    fn what_lies_before_a_gap_is_left_over() {
        assert_eq!(newest_run(&[3, 4, 6, 7, 8]), [6, 7, 8]);
        assert_eq!(newest_run(&[1, 2]), [1, 2]);
        assert_eq!(newest_run(&[]), [0; 0]);
        assert_eq!(newest_run(&[u64::MAX - 1, u64::MAX]), [u64::MAX - 1, u64::MAX]);
    }
}
