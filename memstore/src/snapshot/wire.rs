//! Pieces as messages.

use bytes::Bytes;
use journal::{Lsn, Revision};
use proto::snapshots as wire;

use super::piece::Piece;
use super::{Header, Summary};
use crate::partition_id::{PartitionId, PartitionRange};

pub(super) fn write(piece: Piece) -> wire::Piece {
    let Piece { header, bytes, summary } = piece;
    wire::Piece {
        lsn: header.lsn.0,
        revision: header.revision.0,
        compacted: header.compacted.0,
        start: header.range.start,
        end: header.range.end,
        bytes,
        versions: summary.versions,
        set_hash: summary.set_hash,
    }
}

/// The piece by this number. Keys are copied, so that they do not keep the message.
pub(super) fn read(piece: &wire::Piece, cluster: u64, id: PartitionId) -> Piece {
    let copy = |key: &Bytes| Bytes::copy_from_slice(key);
    let range = PartitionRange { id, start: copy(&piece.start), end: piece.end.as_ref().map(copy) };
    let (lsn, revision) = (Lsn(piece.lsn), Revision(piece.revision));
    let header = Header { cluster, lsn, revision, compacted: Revision(piece.compacted), range };
    let summary = Summary { versions: piece.versions, set_hash: piece.set_hash };
    Piece { header, bytes: piece.bytes, summary }
}
