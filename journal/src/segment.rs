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

use std::sync::OnceLock;

use bytes::{BufMut, Bytes};

use crate::block::{self, Block, PAGE_BYTES, read_u32, read_u64};
use crate::error::Error;
use crate::log_device::{LogFile, Mapping};

const MAGIC: &[u8; 8] = b"mainlog\0";
const FORMAT: u32 = 1;
const HEADER_BYTES: usize = 60;
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
    mapping: OnceLock<Mapping>,
}

impl Segment {
    pub(crate) fn new(header: Header, path: String, file: Box<dyn LogFile>) -> Segment {
        Segment { header, path, file, mapping: OnceLock::new() }
    }

    /// The block of `length` bytes at `offset`, checked again. A sealed segment answers with a part of its
    /// mapping, the newest one with a copy.
    pub(crate) fn read(&self, offset: u64, length: u32, sealed: bool) -> Result<Bytes, Error> {
        let length = usize::try_from(length).expect("usize has at least 32 bits");
        let mapped = if sealed { self.mapped(offset, length)? } else { None };
        let bytes = mapped.map_or_else(|| self.copied(offset, length), Ok)?;
        match block::decode(&bytes) {
            Some(Block { header, .. }) if header.place.segment == self.header.segment => Ok(bytes),
            _ => Err(self.damaged(offset, "a block that was whole is not any more")),
        }
    }

    /// `None` where the device maps nothing.
    fn mapped(&self, offset: u64, length: usize) -> Result<Option<Bytes>, Error> {
        let mapping = match self.mapping.get() {
            Some(mapping) => mapping,
            None => match self.file.map().map_err(|error| self.failed("map", &error))? {
                Some(mapping) => self.mapping.get_or_init(|| mapping),
                None => return Ok(None),
            },
        };
        let start = usize::try_from(offset).expect("a segment is at most 1 GiB");
        if (**mapping).as_ref().len() < start + length {
            return Err(self.damaged(offset, "the file is shorter than it was"));
        }
        Ok(Some(Bytes::from_owner(Held(Mapping::clone(mapping))).slice(start..start + length)))
    }

    fn copied(&self, offset: u64, length: usize) -> Result<Bytes, Error> {
        let mut bytes = vec![0; length];
        self.file.read(offset, &mut bytes).map_err(|error| self.failed("read", &error))?;
        Ok(bytes.into())
    }

    /// The file, if nobody else reads it through memory: then it may be written again.
    pub(crate) fn into_file(self) -> Option<Box<dyn LogFile>> {
        let alone =
            self.mapping.into_inner().is_none_or(|mut mapping| Mapping::get_mut(&mut mapping).is_some());
        alone.then_some(self.file)
    }

    pub(crate) fn damaged(&self, offset: u64, what: &str) -> Error {
        Error::Corrupt(format!("{} is damaged at offset {offset}: {what}", self.path))
    }

    pub(crate) fn failed(&self, what: &str, error: &std::io::Error) -> Error {
        Error::io(format!("cannot {what} {}", self.path), error)
    }
}

/// Keeps the mapping as long as a slice of it is held.
struct Held(Mapping);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header { cluster: 1, segment: 2, first_index: 3, first_number: 4, chain: 5, bytes: 6 }
    }

    fn page() -> [u8; PAGE_BYTES] {
        let mut page = Vec::new();
        header().encode(&mut page);
        page.try_into().expect("a page")
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
