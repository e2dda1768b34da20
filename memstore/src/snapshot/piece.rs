//! A file of a set as others get it: the keys of one range at one position, and what it says of itself.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use bytes::Bytes;
use journal::Lsn;

use super::format::{SUMMARY_BLOCK_BYTES, get_summary};
use super::restore::{Held, named};
use super::{Folder, Header, Summary};
use crate::error::Error;

/// What a file holds. Whoever takes it in reads all of it and compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) header: Header,
    /// How long the file is.
    pub(crate) bytes: u64,
    pub(crate) summary: Summary,
}

/// Where a piece ends; `None` is the end of all keys.
pub(crate) type End = Option<Bytes>;

impl Folder {
    /// The pieces of all sets in the order of (position, first key). A set that cannot be used is left out.
    ///
    /// # Errors
    /// `Io` from disk.
    pub(crate) fn pieces(&self) -> Result<Vec<Piece>, Error> {
        let mut pieces = Vec::new();
        for lsn in self.sets()?.into_iter().rev() {
            match self.pieces_of(lsn) {
                Ok(found) => pieces.extend(found),
                // It may also have been removed just now.
                Err(error) => tracing::debug!(position = lsn.0, %error, "a snapshot is not offered"),
            }
        }
        Ok(pieces)
    }

    /// The file of a piece, which ends at `end`, or wherever the first does that begins there; `None` where it is not
    /// there, or not any more.
    ///
    /// # Errors
    /// `Io` from disk.
    pub(crate) fn piece(&self, lsn: Lsn, start: &[u8], end: Option<&End>) -> Result<Option<File>, Error> {
        if !self.sets()?.contains(&lsn) {
            return Ok(None);
        }
        let Ok(set) = self.set(lsn) else { return Ok(None) };
        let is_it = |held: &&Held| {
            let range = &held.header.range;
            range.start == start && end.is_none_or(|end| range.end == *end)
        };
        Ok(set.files.iter().find(is_it).and_then(|held| File::open(&held.path).ok()))
    }

    /// The pieces of a set, in the order of their keys.
    ///
    /// # Errors
    /// `Corrupt` and `Io`: there is no such set.
    fn pieces_of(&self, lsn: Lsn) -> Result<Vec<Piece>, Error> {
        let mut pieces = self.set(lsn)?.files.iter().map(Piece::of).collect::<Result<Vec<_>, _>>()?;
        pieces.sort_by(|one, other| one.header.range.start.cmp(&other.header.range.start));
        Ok(pieces)
    }
}

impl Piece {
    /// # Errors
    /// `Corrupt` and `Io`: the file is not what it was.
    pub(super) fn of(Held { path, header }: &Held) -> Result<Piece, Error> {
        let (bytes, summary) = ends(path).map_err(|error| named(path, error))?;
        Ok(Piece { header: header.clone(), bytes, summary })
    }
}

/// How long a file is, and the summary at its end.
fn ends(path: &Path) -> Result<(u64, Summary), Error> {
    let io = |error| Error::io(&error);
    let mut file = File::open(path).map_err(io)?;
    let bytes = file.metadata().map_err(io)?.len();
    let mut block = [0; SUMMARY_BLOCK_BYTES];
    let from = bytes.checked_sub(block.len() as u64);
    let from = from.ok_or_else(|| Error::Corrupt("it is shorter than any snapshot".into()))?;
    file.seek(SeekFrom::Start(from)).and_then(|_| file.read_exact(&mut block)).map_err(io)?;
    Ok((bytes, get_summary(&mut &block[8..])?))
}
