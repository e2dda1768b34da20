//! A file of a set as others get it: the keys of one range at one position, and what it says of itself.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use journal::Lsn;

use super::format::{SUMMARY_BLOCK_BYTES, get_summary};
use super::restore::named;
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

    /// The file of a piece; `None` where it is not there, or not any more.
    ///
    /// # Errors
    /// `Io` from disk.
    pub(crate) fn piece(&self, lsn: Lsn, start: &[u8]) -> Result<Option<File>, Error> {
        if !self.sets()?.contains(&lsn) {
            return Ok(None);
        }
        let Ok(set) = self.set(lsn) else { return Ok(None) };
        let found = set.files.iter().find(|(_, header)| header.range.start == start);
        Ok(found.and_then(|(path, _)| File::open(path).ok()))
    }

    /// # Errors
    /// `Corrupt` and `Io`: there is no such set.
    pub(super) fn pieces_of(&self, lsn: Lsn) -> Result<Vec<Piece>, Error> {
        let set = self.set(lsn)?;
        let piece = |(path, header): &(PathBuf, Header)| {
            let (bytes, summary) = ends(path).map_err(|error| named(path, error))?;
            Ok(Piece { header: header.clone(), bytes, summary })
        };
        set.files.iter().map(piece).collect()
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
