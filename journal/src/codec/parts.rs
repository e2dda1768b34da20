//! The small parts every encoding of the journal is made of, and how they are read back with care.
//!
//!     varint    7 bits a byte, lowest first; the high bit says that more follow
//!     signed    zigzag (0, -1, 1, -2 ...) as a varint
//!     bytes     varint length, then the bytes
//!
//! A length is compared with what is left before anything is allocated for it.

use bytes::Bytes;

/// Why bytes could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    /// Well-formed as far as one can tell, but of a kind that only a later version writes.
    #[error("{what} {found} is not known to this version: a newer one wrote it")]
    Newer { what: &'static str, found: u64 },
    #[error("{what} is malformed at byte {at}")]
    Malformed { what: &'static str, at: usize },
}

/// Where encoded bytes go: into a buffer, or only into a sum.
pub(crate) trait Sink {
    fn slice(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn slice(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Counts what would be written.
#[derive(Default)]
pub(crate) struct Counted {
    pub(crate) bytes: usize,
}

impl Sink for Counted {
    fn slice(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
    }
}

pub(crate) fn put_byte(out: &mut impl Sink, byte: u8) {
    out.slice(&[byte]);
}

pub(crate) fn put_varint(out: &mut impl Sink, mut value: u64) {
    let mut encoded = [0; VARINT_BYTES_MAX];
    let mut length = 0;
    loop {
        let low = value.to_le_bytes()[0] & 0x7f;
        value >>= 7;
        encoded[length] = if value == 0 { low } else { low | 0x80 };
        length += 1;
        if value == 0 {
            return out.slice(&encoded[..length]);
        }
    }
}

pub(crate) fn put_length(out: &mut impl Sink, length: usize) {
    put_varint(out, length as u64);
}

pub(crate) fn put_signed(out: &mut impl Sink, value: i64) {
    put_varint(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

pub(crate) fn put_bytes(out: &mut impl Sink, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.slice(bytes);
}

const VARINT_BYTES_MAX: usize = 10;

/// Reads parts one after the other; what it hands out shares the buffer's memory.
pub(crate) struct Reader {
    bytes: Bytes,
    at: usize,
}

impl Reader {
    pub(crate) fn new(bytes: Bytes) -> Reader {
        Reader { bytes, at: 0 }
    }

    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(crate) fn malformed(&self, what: &'static str) -> DecodeError {
        DecodeError::Malformed { what, at: self.at }
    }

    pub(crate) fn byte(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        let byte = *self.bytes.get(self.at).ok_or_else(|| self.malformed(what))?;
        self.at += 1;
        Ok(byte)
    }

    pub(crate) fn varint(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(what)?;
            let low = u64::from(byte & 0x7f);
            if (low << shift) >> shift != low {
                return Err(self.malformed(what));
            }
            value |= low << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.malformed(what))
    }

    pub(crate) fn signed(&mut self, what: &'static str) -> Result<i64, DecodeError> {
        let value = self.varint(what)?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// Eight bytes, lowest first: for numbers that are random and would only grow as varints.
    pub(crate) fn fixed(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        let bytes = self.slice(8, what)?;
        Ok(u64::from_le_bytes(bytes[..].try_into().expect("eight were taken")))
    }

    /// A length that fits into what is left.
    pub(crate) fn length(&mut self, what: &'static str) -> Result<usize, DecodeError> {
        self.count(1, what)
    }

    /// A number of things of at least `bytes_each`, all of which fit into what is left.
    pub(crate) fn count(&mut self, bytes_each: usize, what: &'static str) -> Result<usize, DecodeError> {
        let count = usize::try_from(self.varint(what)?).map_err(|_| self.malformed(what))?;
        if self.left() / bytes_each < count {
            return Err(self.malformed(what));
        }
        Ok(count)
    }

    pub(crate) fn slice(&mut self, length: usize, what: &'static str) -> Result<Bytes, DecodeError> {
        if self.left() < length {
            return Err(self.malformed(what));
        }
        let slice = self.bytes.slice(self.at..self.at + length);
        self.at += length;
        Ok(slice)
    }

    pub(crate) fn bytes(&mut self, what: &'static str) -> Result<Bytes, DecodeError> {
        let length = self.length(what)?;
        self.slice(length, what)
    }

    /// Everything was read.
    pub(crate) fn end(&self, what: &'static str) -> Result<(), DecodeError> {
        if self.left() == 0 { Ok(()) } else { Err(self.malformed(what)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_number_comes_back_as_it_was(unsigned: u64, signed: i64) {
            let mut out = Vec::new();
            put_varint(&mut out, unsigned);
            put_signed(&mut out, signed);
            let mut reader = Reader::new(Bytes::from(out));
            prop_assert_eq!(reader.varint("number"), Ok(unsigned));
            prop_assert_eq!(reader.signed("number"), Ok(signed));
            prop_assert_eq!(reader.end("numbers"), Ok(()));
        }
    }

    #[test]
    fn a_number_beyond_64_bits_is_refused() {
        let mut reader = Reader::new(Bytes::from_static(&[0xff; 10]));
        assert!(reader.varint("number").is_err());
    }

    #[test]
    fn a_length_beyond_the_end_is_refused_before_anything_is_allocated() {
        let mut out = Vec::new();
        put_varint(&mut out, u64::MAX);
        assert!(Reader::new(Bytes::from(out)).bytes("key").is_err());
    }
}
