//! What was acknowledged and is not there any more is refused, by file and offset.
//!
//!     [ header ][ state ][ 1 ][ 2 ][ 3 ]        3 is the last write: nothing behind it says that it was whole
//!                          ^ damaged: refused, and so is everything before 3
//!
//! A page may rot, and a disk may say that it has written what it then loses: two writes in flight, of which any
//! pages come, in any order.

use super::disk::{Asked, Disk, Point};
use super::life::Life;
use super::torn::{self, Stale};
use super::{Case, each_life, found};
use crate::block::PAGE_BYTES;
use crate::error::Error;
use crate::segment::Header;

/// How many steps follow a beginning. More find nothing else: only the newest two writes count.
const STEPS_MAX: usize = 2;

/// A write that a life has made.
struct Write<'a> {
    point: &'a Point,
    file: usize,
    offset: usize,
    bytes: &'a [u8],
}

impl Write<'_> {
    fn begins_a_segment(&self) -> bool {
        self.offset == 0
    }

    fn before(&self) -> &[u8] {
        &self.point.before.files[self.file][self.offset..][..self.bytes.len()]
    }

    /// The offset in the file of the first block, or of the segment's header, that is not `left` whole.
    fn first_broken(&self, left: &[u8]) -> Option<usize> {
        let header = if self.begins_a_segment() { PAGE_BYTES } else { 0 };
        let read = |bytes: &[u8]| bytes.first_chunk().map(Header::decode);
        if self.begins_a_segment() && read(left) != read(self.bytes) {
            return Some(0);
        }
        let mut blocks =
            torn::blocks(&self.bytes[header..]).into_iter().map(|(at, block)| (header + at, block));
        blocks
            .find(|(at, block)| left[*at..][..block.length] != self.bytes[*at..][..block.length])
            .map(|(at, _)| self.offset + at)
    }

    fn any_whole(&self, left: &[u8]) -> bool {
        torn::blocks(self.bytes)
            .iter()
            .any(|(at, block)| left[*at..][..block.length] == self.bytes[*at..][..block.length])
    }
}

fn writes(life: &Life) -> Vec<Write<'_>> {
    fn write(point: &Point) -> Option<Write<'_>> {
        let Asked::Write { file, offset, bytes } = &point.asked_for else { return None };
        Some(Write { point, file: *file, offset: *offset, bytes })
    }
    life.points.iter().filter_map(write).collect()
}

fn replaced(disk: &Disk, write: &Write<'_>, left: &[u8]) -> Disk {
    let mut content = disk.files[write.file].to_vec();
    content[write.offset..][..left.len()].copy_from_slice(left);
    disk.with_file(write.file, content)
}

fn segment_name(disk: &Disk, file: usize) -> Option<&str> {
    let mut names = disk.names.iter().filter(|(name, _)| name.ends_with(".segment"));
    names.find(|(_, of)| **of == file).map(|(name, _)| name.as_str())
}

fn is_refused(outcome: Result<usize, Error>, name: &str, offset: usize) {
    let Err(Error::Corrupt(text)) = outcome else {
        panic!("damage at {offset} of {name} is taken for {outcome:?}")
    };
    assert!(
        text.contains(&format!("{name} is damaged at offset {offset}:")),
        "offset {offset} of {name}: {text}"
    );
}

/// Where the last write was a purge, its segments have gone.
fn lacks_what_was_purged(outcome: Result<usize, Error>, name: &str, offset: usize) {
    let Err(Error::Corrupt(text)) = outcome else { panic!("a purge that is lost is taken for {outcome:?}") };
    assert!(
        text.contains(&format!("at offset {offset} of memory/{name}")),
        "offset {offset} of {name}: {text}"
    );
}

/// Rot of the page at `offset`, one kind after the other.
fn rotten(content: &[u8], offset: usize) -> Vec<Vec<u8>> {
    let page = offset..offset + PAGE_BYTES;
    let rot = |change: &dyn Fn(&mut [u8])| {
        let mut content = content.to_vec();
        change(&mut content);
        content
    };
    vec![
        rot(&|all| all[page.clone()].fill(0)),
        rot(&|all| all[offset..offset + 512].fill(0)),
        rot(&|all| all[page.end - 512..page.end].fill(0)),
        rot(&|all| all[offset] ^= 0x80),
        rot(&|all| all[offset + 40] ^= 1),
        rot(&|all| all[page.end - 1] ^= 1),
        rot(&|all| all.copy_within(offset.saturating_sub(PAGE_BYTES)..page.start.max(PAGE_BYTES), offset)),
        rot(&|all| all.copy_within(PAGE_BYTES..2 * PAGE_BYTES, offset)),
    ]
}

#[test]
fn a_rotten_page_is_refused_unless_nothing_was_written_after_it() {
    let (mut refused, mut cut, mut harmless) = (0, 0, 0);
    each_life(STEPS_MAX, |life, steps| {
        let (disk, last) = (life.disk(), life.history.len() - 1);
        let disk = disk.settled(disk.names.clone());
        let writes = writes(life);
        let newest = writes.len() - 1;
        for (number, write) in writes.iter().enumerate() {
            // What has been recycled since is stale.
            let begun_again = |later: &Write<'_>| later.file == write.file && later.begins_a_segment();
            let stale = writes[number + 1..].iter().any(begun_again);
            let Some(name) = segment_name(&disk, write.file).filter(|_| !stale) else { continue };
            let content = &disk.files[write.file];
            for page in (write.offset..write.offset + write.bytes.len()).step_by(PAGE_BYTES) {
                for bytes in rotten(content, page) {
                    let broken = write.first_broken(&bytes[write.offset..][..write.bytes.len()]);
                    let _case = Case { steps, point: number, number: refused + cut + harmless };
                    let from = if number == newest { write.point.acknowledged } else { last };
                    let outcome = found(&disk.with_file(write.file, bytes), &life.history, from);
                    match broken {
                        None => {
                            assert_eq!(outcome.map_err(|error| error.to_string()), Ok(last), "{steps}");
                            harmless += 1;
                        }
                        Some(offset) if number == newest && !write.begins_a_segment() => {
                            if outcome.is_err() {
                                let purged = |place: usize| life.history[place].purged;
                                assert_ne!(purged(from), purged(last), "{steps}: {outcome:?}");
                                lacks_what_was_purged(outcome, name, offset);
                            }
                            cut += 1;
                        }
                        Some(offset) => {
                            is_refused(outcome, name, offset);
                            refused += 1;
                        }
                    }
                }
            }
        }
    });
    assert!(10_000 < refused && 1_000 < cut && 1_000 < harmless, "{refused}, {cut}, {harmless}");
    eprintln!("rotten pages: {refused} refused, {cut} cut, {harmless} harmless");
}

#[test]
fn a_write_that_the_disk_lost_is_refused_once_a_later_one_is_there() {
    let (mut refused, mut open) = (0, 0);
    each_life(STEPS_MAX, |life, steps| {
        let (disk, last) = (life.disk(), life.history.len() - 1);
        let disk = disk.settled(disk.names.clone());
        let writes = writes(life);
        let [.., first, second] = &writes[..] else { return };
        let Some((name, _)) = segment_name(&disk, first.file).zip(segment_name(&disk, second.file)) else {
            return;
        };
        for lost in torn::outcomes(first.before(), first.bytes, false) {
            let Some(offset) = first.first_broken(&lost) else { continue };
            let disk = replaced(&disk, first, &lost);
            for left in torn::outcomes(second.before(), second.bytes, true) {
                let disk = replaced(&disk, second, &left);
                let _case = Case { steps, point: writes.len() - 1, number: refused + open };
                let outcome = found(&disk, &life.history[..=last], first.point.acknowledged);
                if second.first_broken(&left).is_none() {
                    is_refused(outcome, name, offset);
                    refused += 1;
                } else if second.begins_a_segment() || second.any_whole(&left) {
                    assert!(matches!(outcome, Err(Error::Corrupt(_))), "{steps}: {outcome:?}");
                    refused += 1;
                } else {
                    assert!(matches!(outcome, Ok(_) | Err(Error::Corrupt(_))), "{steps}: {outcome:?}");
                    open += 1;
                }
            }
        }
    });
    assert!(800 < refused && 800 < open, "{refused}, {open}");
    eprintln!("two writes in flight: {refused} refused, {open} with nothing behind the loss");
}

/// A segment vouches for all before it.
#[test]
fn a_block_that_was_replaced_is_refused_once_a_segment_follows() {
    let mut refused = 0;
    each_life(STEPS_MAX, |life, steps| {
        let (disk, last) = (life.disk(), life.history.len() - 1);
        let disk = disk.settled(disk.names.clone());
        let writes = writes(life);
        for (number, pair) in writes.windows(2).enumerate() {
            let [write, next] = pair else { continue };
            let recycled = writes[number + 1..].iter().any(|later| later.file == write.file);
            if write.begins_a_segment() || !next.begins_a_segment() || recycled {
                continue;
            }
            let Some(name) = segment_name(&disk, write.file) else { continue };
            let other = torn::stale(write.bytes, Stale::Content);
            let _case = Case { steps, point: number, number: refused };
            match found(&replaced(&disk, write, &other), &life.history, last) {
                Err(Error::Corrupt(text)) => {
                    assert!(text.contains(&format!("{name} is damaged at offset ")), "{text}");
                }
                outcome => panic!("it is taken for {outcome:?}"),
            }
            refused += 1;
        }
    });
    assert!(100 < refused, "{refused}");
    eprintln!("replaced blocks: {refused} refused");
}

#[test]
fn a_segment_that_is_missing_is_refused_if_it_is_needed() {
    let (mut refused, mut harmless) = (0, 0);
    each_life(STEPS_MAX, |life, steps| {
        let (disk, last) = (life.disk(), life.history.len() - 1);
        let names: Vec<&String> = disk.names.keys().filter(|name| name.ends_with(".segment")).collect();
        // Of the newest nothing tells that it was there.
        for name in names.iter().rev().skip(1) {
            let mut left = disk.names.clone();
            left.remove(*name);
            let _case = Case { steps, point: life.points.len(), number: refused + harmless };
            match found(&disk.settled(left), &life.history, last) {
                Ok(_) => harmless += 1,
                Err(Error::Corrupt(text)) => {
                    assert!(text.contains(".segment are missing") && text.contains(" at offset "), "{text}");
                    refused += 1;
                }
                Err(other) => panic!("{name} is missing, and it is {other}"),
            }
        }
    });
    assert!(100 < refused, "{refused}");
    eprintln!("missing segments: {refused} refused, {harmless} not needed");
}
