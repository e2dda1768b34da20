//! Reading a snapshot of one partition, and believing nothing of it.

use std::io::{ErrorKind, Read};

use journal::Revision;

use super::format::{
    BLOCK_BYTES_MAX, HEADER, SUMMARY, VERSIONS, checksum, expect, get_header, get_summary, get_version,
};
use super::{Header, Summary};
use crate::error::Error;
use crate::key_value::Version;
use crate::partition_id::PartitionId;
use crate::pause::work;
use crate::set_hash::SetHash;

/// A snapshot that is being read. What it yields counts only if it comes to its end without an error.
pub(super) struct Reader<R> {
    blocks: Blocks<R>,
    header: Header,
    /// Bytes of the block that were read.
    read: usize,
    versions: u64,
    set_hash: SetHash,
    last: Option<(Revision, u32)>,
    ended: bool,
}

/// A file's blocks, each checked before it is looked into.
struct Blocks<R> {
    file: R,
    /// Of the next block.
    number: u64,
    payload: Vec<u8>,
}

impl<R: Read> Reader<R> {
    /// `id` is the partition's place in its set.
    pub(super) fn open(file: R, id: PartitionId) -> Result<Reader<R>, Error> {
        let mut blocks = Blocks { file, number: 0, payload: Vec::new() };
        blocks.next()?;
        let header = get_header(&mut &blocks.payload[..], id)?;
        let read = blocks.payload.len();
        let (versions, set_hash) = (0, SetHash::default());
        Ok(Reader { blocks, header, read, versions, set_hash, last: None, ended: false })
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// The next version, or `None` where the snapshot ends as it says it does.
    pub(super) fn next(&mut self) -> Result<Option<Version>, Error> {
        if self.ended || (self.read == self.blocks.payload.len() && !self.more()?) {
            return Ok(None);
        }
        let mut rest = &self.blocks.payload[self.read..];
        let version = get_version(&mut rest)?;
        self.read = self.blocks.payload.len() - rest.len();
        self.check(&version)?;
        work::did(1);
        Ok(Some(version))
    }

    /// Reads to the end.
    pub(super) fn verify(mut self) -> Result<Summary, Error> {
        while self.next()?.is_some() {}
        Ok(Summary { versions: self.versions, set_hash: self.set_hash.0 })
    }

    /// Goes on to a block of versions. False where there is none.
    fn more(&mut self) -> Result<bool, Error> {
        self.blocks.next()?;
        let payload = &self.blocks.payload;
        match payload.first() {
            Some(&SUMMARY) => self.end().map(|()| false),
            Some(&HEADER) | None => Err(Error::Corrupt("a block is out of place".into())),
            Some(_) => {
                expect(&mut &payload[..], VERSIONS)?;
                self.read = 1;
                Ok(true)
            }
        }
    }

    fn end(&mut self) -> Result<(), Error> {
        let found = Summary { versions: self.versions, set_hash: self.set_hash.0 };
        let said = get_summary(&mut &self.blocks.payload[..])?;
        if found != said {
            return Err(Error::Corrupt(format!("it holds {found:?} where it says {said:?}")));
        }
        self.ended = true;
        match self.blocks.file.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(Error::Corrupt("something follows its end".into())),
            Err(error) => Err(Error::io(&error)),
        }
    }

    fn check(&mut self, version: &Version) -> Result<(), Error> {
        let position = version.position();
        let ordered = self.last.is_none_or(|last| last < position) && position.0 <= self.header.revision;
        if !ordered || !self.header.range.contains(&version.kv.key) {
            return Err(Error::Corrupt(format!("the version at {position:?} is out of place")));
        }
        self.last = Some(position);
        self.versions += 1;
        self.set_hash.add(version);
        Ok(())
    }
}

impl<R: Read> Blocks<R> {
    fn next(&mut self) -> Result<(), Error> {
        let mut frame = [0; 8];
        self.fill(&mut frame)?;
        let [a, b, c, d, e, f, g, h] = frame;
        let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).expect("32 bits fit an address");
        if length > BLOCK_BYTES_MAX {
            return Err(Error::Corrupt(format!("block {} says it has {length} bytes", self.number)));
        }
        let mut payload = std::mem::take(&mut self.payload);
        payload.clear();
        // Room is made as bytes come, not because a length says so.
        let mut rest = (&mut self.file).take(u64::try_from(length).expect("a length fits 64 bits"));
        let read = rest.read_to_end(&mut payload).map_err(|error| Error::io(&error))?;
        if read < length {
            return Err(self.cut());
        }
        if checksum(self.number, &payload) != u32::from_le_bytes([e, f, g, h]) {
            return Err(Error::Corrupt(format!("the checksum of block {} is wrong", self.number)));
        }
        self.payload = payload;
        self.number += 1;
        Ok(())
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        let read = self.file.read_exact(buffer);
        read.map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => self.cut(),
            _ => Error::io(&error),
        })
    }

    fn cut(&self) -> Error {
        Error::Corrupt(format!("it ends within block {}", self.number))
    }
}
