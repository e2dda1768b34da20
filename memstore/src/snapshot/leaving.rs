//! Pieces of a set on their way to another member: opened, cut into chunks, and sent only as fast as it is taken.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use journal::{Lsn, machine};
use proto::snapshots::{Chunk, Pieces, WriteRequest, write_request};
use tokio::sync::mpsc;

use super::piece::Piece;
use super::restore::{Held, named};
use super::{Folder, wire};
use crate::error::Error;
use crate::partition_id::PartitionRange;

/// How much of a file goes into one message.
const CHUNK_BYTES: usize = 1 << 20;

/// Pieces that are being read for somebody else.
pub(super) struct Leaving {
    begin: WriteRequest,
    files: Vec<(PathBuf, File)>,
}

impl Leaving {
    /// Of the set at this position the pieces with these keys.
    ///
    /// # Errors
    /// `Corrupt` and `Io`: they are not there.
    pub(super) fn open(folder: &Folder, lsn: Lsn, ranges: &[PartitionRange]) -> Result<Leaving, Error> {
        let mut held = folder.set(lsn)?.files;
        held.retain(|held| ranges.iter().any(|range| range.same_keys(&held.header.range)));
        held.sort_by(|one, other| one.header.range.start.cmp(&other.header.range.start));
        let open = |Held { path, .. }: &Held| match File::open(path) {
            Ok(file) => Ok((path.clone(), file)),
            Err(error) => Err(named(path, Error::io(&error))),
        };
        let files = held.iter().map(open).collect::<Result<_, _>>()?;
        let pieces = held.iter().map(|held| Piece::of(held).map(wire::write)).collect::<Result<_, _>>()?;
        let begin = write_request::Part::Begin(Pieces { cluster: folder.cluster, pieces });
        Ok(Leaving { begin: WriteRequest { part: Some(begin) }, files })
    }

    /// Sends everything. Ends early where nobody takes it any more, who has then said why.
    ///
    /// # Errors
    /// `Io` from disk.
    pub(super) async fn send(self, out: mpsc::Sender<WriteRequest>) -> Result<(), Error> {
        if out.send(self.begin).await.is_err() {
            return Ok(());
        }
        for (path, file) in self.files {
            let (path, file) = (Arc::new(path), Arc::new(file));
            while let Ok(place) = out.reserve().await {
                let (path, file) = (path.clone(), file.clone());
                let read = machine::spawn_blocking(move || {
                    let mut data = Vec::with_capacity(CHUNK_BYTES);
                    let read = (&*file).take(CHUNK_BYTES as u64).read_to_end(&mut data);
                    read.map_err(|error| named(&path, Error::io(&error)))?;
                    Ok(Bytes::from(data))
                });
                let data = read.await.map_err(|error| Error::Io(error.to_string()))??;
                if data.is_empty() {
                    break;
                }
                place.send(WriteRequest { part: Some(write_request::Part::Chunk(Chunk { data })) });
            }
        }
        Ok(())
    }
}
