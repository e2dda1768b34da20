//! Writing a snapshot of one partition.

use std::io::Write;

use super::format::{BLOCK_BYTES, VERSIONS, frame, put_header, put_summary, put_version};
use super::{Header, Summary};
use crate::error::Error;
use crate::key_value::Version;
use crate::set_hash::SetHash;

/// A snapshot that is being written. Only what was finished can be read.
pub(super) struct Writer<W> {
    file: W,
    /// Of the next block.
    number: u64,
    payload: Vec<u8>,
    versions: u64,
    set_hash: SetHash,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(file: W, header: &Header) -> Result<Writer<W>, Error> {
        let payload = Vec::with_capacity(BLOCK_BYTES);
        let mut writer = Writer { file, number: 0, payload, versions: 0, set_hash: SetHash::default() };
        put_header(&mut writer.payload, header);
        writer.end_block()?;
        Ok(writer)
    }

    /// Adds a version. They come in the order of (revision, sub).
    pub(super) fn push(&mut self, version: &Version) -> Result<(), Error> {
        if self.payload.is_empty() {
            self.payload.push(VERSIONS);
        }
        put_version(&mut self.payload, version);
        self.versions += 1;
        self.set_hash.add(version);
        if self.payload.len() >= BLOCK_BYTES { self.end_block() } else { Ok(()) }
    }

    /// Writes what is left, and the summary. The file is not yet synced.
    pub(super) fn finish(mut self) -> Result<(W, Summary), Error> {
        if !self.payload.is_empty() {
            self.end_block()?;
        }
        let summary = Summary { versions: self.versions, set_hash: self.set_hash.0 };
        put_summary(&mut self.payload, &summary);
        self.end_block()?;
        self.file.flush().map_err(|error| Error::io(&error))?;
        Ok((self.file, summary))
    }

    fn end_block(&mut self) -> Result<(), Error> {
        let block = frame(self.number, &self.payload);
        self.file.write_all(&block).map_err(|error| Error::io(&error))?;
        self.number += 1;
        self.payload.clear();
        Ok(())
    }
}
