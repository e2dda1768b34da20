//! One file of the journal: a page of header, then blocks; what lies behind the last block is zeros or stale.
//!
//!     |0 header     |4096 state | block          | block | 0 0 0 ...            size
//!
//! The header page, all but 60 bytes of it zeros:
//!
//!     |0      8        12    16        24       32            40             48      52     60
//!     | magic | format | crc | cluster | segment | first index | first number | chain | bytes |
//!
//! `chain` is the crc of the last block of the segment before. Header and state were durable before the file got
//! its name, so a named segment that lacks either is damaged, never torn.

use std::io::ErrorKind;

use bytes::{BufMut, Bytes};

use crate::block::{self, Block, PAGE_BYTES, read_u32, read_u64};
use crate::error::Error;
use crate::log_device::LogFile;

const MAGIC: &[u8; 8] = b"mainlog\0";
const FORMAT: u32 = 1;
const HEADER_BYTES: usize = 60;
/// Bytes read by one call. An error tells of it as a whole.
const READ_BYTES: usize = 1 << 20;
/// No segment is larger, whatever a header says.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// The header page of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) cluster: u64,
    pub(crate) segment: u64,
    /// The index that the first entry in here was to have when the segment began.
    pub(crate) first_index: u64,
    /// The number of the first block.
    pub(crate) first_number: u64,
    /// The crc of the block before the first.
    pub(crate) chain: u32,
    /// The size of the file.
    pub(crate) bytes: u64,
}

/// Why a header page is not one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadHeader {
    #[error("it does not begin as a segment does")]
    Magic,
    #[error("it is of format {0}, and this program reads only format {FORMAT}")]
    Format(u32),
    #[error("its header does not match its crc")]
    Crc,
}

impl Header {
    /// Appends the page.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.put_slice(MAGIC);
        out.put_u32_le(FORMAT);
        out.put_u32_le(0);
        out.put_u64_le(self.cluster);
        out.put_u64_le(self.segment);
        out.put_u64_le(self.first_index);
        out.put_u64_le(self.first_number);
        out.put_u32_le(self.chain);
        out.put_u64_le(self.bytes);
        let crc = checksum(&out[start..]);
        out[start + 12..start + 16].copy_from_slice(&crc.to_le_bytes());
        out.resize(start + PAGE_BYTES, 0);
    }

    pub(crate) fn decode(page: &[u8; PAGE_BYTES]) -> Result<Header, BadHeader> {
        let u64_at = |at| read_u64(page, at).expect("the page is longer");
        let u32_at = |at| read_u32(page, at).expect("the page is longer");
        if &page[..8] != MAGIC {
            return Err(BadHeader::Magic);
        }
        if u32_at(8) != FORMAT {
            return Err(BadHeader::Format(u32_at(8)));
        }
        if checksum(&page[..HEADER_BYTES]) != u32_at(12) {
            return Err(BadHeader::Crc);
        }
        Ok(Header {
            cluster: u64_at(16),
            segment: u64_at(24),
            first_index: u64_at(32),
            first_number: u64_at(40),
            chain: u32_at(48),
            bytes: u64_at(52),
        })
    }
}

fn checksum(header: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header[..12]);
    hasher.update(&header[16..]);
    hasher.finalize()
}

/// The name of a segment's file. Sorted by name they are in order.
pub(crate) fn name(segment: u64) -> String {
    format!("{segment:020}.segment")
}

/// The segment that a file of this name is, if it is one.
pub(crate) fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".segment")?;
    digits.parse().ok().filter(|&number| self::name(number) == name)
}

/// An open segment.
pub(crate) struct Segment {
    pub(crate) header: Header,
    /// What the file is called in messages.
    pub(crate) path: String,
    pub(crate) file: Box<dyn LogFile>,
}

impl Segment {
    pub(crate) fn new(header: Header, path: String, file: Box<dyn LogFile>) -> Segment {
        Segment { header, path, file }
    }

    /// Reads the block of `length` bytes at `offset`, and checks it again.
    ///
    /// # Errors
    /// `Io` and `Corrupt`, with the file and the offset at which it cannot be read or is damaged.
    pub(crate) fn read(&self, offset: u64, length: u32) -> Result<Bytes, Error> {
        let mut bytes = vec![0; usize::try_from(length).expect("usize has at least 32 bits")];
        self.fill(offset, &mut bytes)?;
        match block::decode(&bytes) {
            Some(Block { header, .. }) if header.place.segment == self.header.segment => Ok(bytes.into()),
            _ => Err(self.damaged(offset, "a block that was whole is not any more")),
        }
    }

    /// Fills `buffer` from `offset` on, a piece at a time, so that an error tells where it is.
    pub(crate) fn fill(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        for (offset, piece) in (offset..).step_by(READ_BYTES).zip(buffer.chunks_mut(READ_BYTES)) {
            self.file.read(offset, piece).map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => self.damaged(offset, "the file is shorter than it was"),
                _ => self.failed(&format!("read from offset {offset} of"), &error),
            })?;
        }
        Ok(())
    }

    /// The file, which may be written again: nobody else reads it.
    pub(crate) fn into_file(self) -> Box<dyn LogFile> {
        self.file
    }

    pub(crate) fn damaged(&self, offset: u64, what: &str) -> Error {
        Error::Corrupt(format!("{} is damaged at offset {offset}: {what}", self.path))
    }

    pub(crate) fn failed(&self, what: &str, error: &std::io::Error) -> Error {
        Error::io(format!("cannot {what} {}", self.path), error)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn header() -> Header {
        Header { cluster: 1, segment: 2, first_index: 3, first_number: 4, chain: 5, bytes: 6 }
    }

    fn page() -> [u8; PAGE_BYTES] {
        let mut page = Vec::new();
        header().encode(&mut page);
        page.try_into().expect("a page")
    }

    /// A disk with one page that it cannot read.
    struct BadPage(u64);

    impl LogFile for BadPage {
        fn bytes(&self) -> u64 {
            4 << 20
        }

        fn write_durable(&self, _: u64, _: &[u8]) -> io::Result<()> {
            unreachable!("it is only read")
        }

        fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
            if (offset..offset + buffer.len() as u64).contains(&self.0) {
                return Err(io::Error::from_raw_os_error(5));
            }
            buffer.fill(0);
            Ok(())
        }
    }

    #[test]
    fn what_the_disk_cannot_read_is_named_by_file_and_offset() {
        let segment = Segment::new(header(), "DIR/2.segment".into(), Box::new(BadPage(2 << 20)));
        segment.fill(0, &mut vec![0; 2 << 20]).unwrap();
        let error = segment.fill(4_096, &mut vec![0; 3 << 20]).unwrap_err();
        let named =
            |offset: u64| format!("cannot read from offset {offset} of DIR/2.segment: Input/output error");
        assert!(error.to_string().starts_with(&named(1_052_672)), "{error}");
        let error = segment.read(2 << 20, 100).unwrap_err();
        assert!(error.to_string().starts_with(&named(2 << 20)), "{error}");
    }

    #[test]
    fn a_header_is_read_as_written() {
        assert_eq!(Header::decode(&page()), Ok(header()));
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        for bit in 0..HEADER_BYTES * 8 {
            let mut page = page();
            page[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::decode(&page).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn only_names_that_we_give_are_segments() {
        assert_eq!(number(&name(7)), Some(7));
        for other in
            ["7.segment", "00000000000000000007.segment.bak", "spare-1", "+0000000000000000007.segment"]
        {
            assert_eq!(number(other), None, "{other}");
        }
    }
}
