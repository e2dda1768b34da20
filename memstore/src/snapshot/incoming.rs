//! Pieces of one position that come from another member.
//!
//!     room? ─► write to fetched-N/ ─► sync files ─► read all of it, compare ─► sync it ─► rename ─► sync the folder
//!
//! Nothing is believed: no more is written than was said to come, and what came is a set only once every checksum
//! and the set hashes are right. What is dropped before that leaves nothing behind.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use journal::Lsn;

use super::folder::{Folder, file_name, io_error, sync_directory, verify};
use super::piece::{End, Piece};
use super::restore::{Held, Set};
use crate::error::Error;
use crate::partition_id::{PartitionId, PartitionRange};

/// Left free on the disk: the journal and the next snapshot need room, too.
const SPARE_BYTES: u64 = 64 << 20;

/// Pieces on their way.
#[derive(Debug)]
pub(crate) struct Incoming {
    folder: Arc<Folder>,
    path: PathBuf,
    /// What was said to come, by the order of keys.
    pieces: Vec<Piece>,
    /// Of the pieces, how many are complete.
    complete: usize,
    /// The one that comes, and how much of it is there.
    file: Option<(File, u64)>,
}

/// What is to be asked for next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) lsn: Lsn,
    pub(crate) start: Bytes,
    pub(crate) end: End,
    pub(crate) offset: u64,
}

impl Folder {
    /// Makes room for pieces of one position, none of which has keys of another.
    ///
    /// # Errors
    /// `Corrupt` where they do not fit together, `Io` where there is no room.
    pub(crate) fn receive(self: &Arc<Folder>, mut pieces: Vec<Piece>) -> Result<Incoming, Error> {
        pieces.sort_by(|one, other| one.header.range.start.cmp(&other.header.range.start));
        // Here a piece goes by its place.
        (0..).zip(&mut pieces).for_each(|(place, piece)| piece.header.range.id = PartitionId(place));
        let held = |piece: &Piece| Held { path: PathBuf::new(), header: piece.header.clone() };
        Set::new(pieces.iter().map(held).collect(), self.cluster)?;
        if pieces.windows(2).any(|pair| pair[0].header.range.overlaps(&pair[1].header.range)) {
            return Err(Error::Corrupt("some of its keys are to come twice".into()));
        }
        let bytes = pieces.iter().fold(0_u64, |sum, piece| sum.saturating_add(piece.bytes));
        let path = self.place();
        self.check_room(bytes)?;
        fs::create_dir(&path).map_err(|error| io_error(&path, &error))?;
        Ok(Incoming { folder: self.clone(), path, pieces, complete: 0, file: None })
    }

    fn check_room(&self, bytes: u64) -> Result<(), Error> {
        let disk = rustix::fs::statvfs(&self.path).map_err(|error| io_error(&self.path, &error.into()))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if bytes.saturating_add(SPARE_BYTES) <= free {
            return Ok(());
        }
        let place = self.path.display();
        Err(Error::Io(format!(
            "{place}: a snapshot of {bytes} bytes is to come from another member, and {free} are free: make room \
             there, or move the data to a larger disk"
        )))
    }
}

impl Incoming {
    /// What comes next, or `None` where everything is there.
    ///
    /// # Errors
    /// `Io` from disk.
    pub(crate) fn wanted(&mut self) -> Result<Option<Wanted>, Error> {
        while let Some(piece) = self.pieces.get(self.complete) {
            if self.file.is_none() {
                let path = self.path.join(file_name(piece.header.range.id));
                let file = File::create_new(&path).map_err(|error| io_error(&path, &error))?;
                self.file = Some((file, 0));
            }
            let (_, offset) = self.file.as_ref().expect("it was just opened");
            if *offset < piece.bytes {
                let PartitionRange { start, end, .. } = piece.header.range.clone();
                return Ok(Some(Wanted { lsn: piece.header.lsn, start, end, offset: *offset }));
            }
            (self.complete, self.file) = (self.complete + 1, None);
        }
        Ok(None)
    }

    /// Takes in what comes next of the piece that was wanted last.
    ///
    /// # Errors
    /// `Corrupt` where it is more than was to come; `Io` from disk.
    ///
    /// # Panics
    /// When nothing was wanted.
    pub(crate) fn take(&mut self, chunk: &[u8]) -> Result<(), Error> {
        let piece = &self.pieces[self.complete];
        let (file, offset) = self.file.as_mut().expect("it was wanted");
        let upto = offset.saturating_add(chunk.len() as u64);
        if piece.bytes < upto {
            let bytes = piece.bytes;
            return Err(Error::Corrupt(format!("more comes than the {bytes} bytes that were said to")));
        }
        file.write_all(chunk).map_err(|error| io_error(&self.path, &error))?;
        *offset = upto;
        Ok(())
    }

    /// Bytes that are there, and that are to come in all.
    pub(crate) fn progress(&self) -> (u64, u64) {
        let bytes = |pieces: &[Piece]| pieces.iter().map(|piece| piece.bytes).sum::<u64>();
        let here = self.file.as_ref().map_or(0, |(_, offset)| *offset);
        (bytes(&self.pieces[..self.complete]) + here, bytes(&self.pieces))
    }

    /// Reads what came, and gives it its name. Takes as long as reading it does.
    ///
    /// # Errors
    /// `Corrupt` where it is damaged, or not what was said to come.
    pub(crate) fn finish(self) -> Result<(), Error> {
        assert_eq!(self.complete, self.pieces.len(), "everything is there");
        for piece in &self.pieces {
            let path = self.path.join(file_name(piece.header.range.id));
            File::open(&path).and_then(|file| file.sync_all()).map_err(|error| io_error(&path, &error))?;
            let read = verify(&path, piece.header.range.id)?;
            if read != (piece.header.clone(), piece.summary) {
                return Err(Error::Corrupt(format!("{read:?} came where {piece:?} was to come")));
            }
        }
        sync_directory(&self.path)?;
        self.folder.name(&self.path, self.pieces[0].header.lsn)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Err(error) = self.folder.remove(&self.path) {
            tracing::warn!(%error, "what came of a snapshot is left until the next start");
        }
    }
}
