//! Partitions on disk, so that a memstore starts from them and the journal can be trimmed behind them.
//!
//!     snapshots/
//!     ├─ 00000000000000041200/          a set: what there is at one position of the journal
//!     │  ├─ 0.partition                 a piece: the keys of one range
//!     │  └─ 1.partition
//!     ├─ 00000000000000083111/          the newest two pieces of each key are kept
//!     ├─ partial/                       being written: of no meaning after a crash
//!     ├─ fetched-0/                     coming from another member: the same
//!     └─ damaged/                       the last set that could not be used
//!
//! A memstore writes sets of all that it serves. Where it comes from others, or to the journal's nodes from several
//! memstores, each range of keys may have positions of its own.
//!
//! Pieces are written aside, read back and checked, and only then given their name, so that whatever has a name
//! was whole once. Reading checks everything again; a damaged set is passed over for what is before it.

mod cover;
mod depot;
mod folder;
mod format;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod incoming;
mod journal_nodes;
#[cfg(test)]
pub(crate) mod keeping_tests;
mod leaving;
mod lender;
mod peer;
mod piece;
mod reader;
mod restore;
mod service;
mod store;
#[cfg(test)]
pub(crate) mod store_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod travel_tests;
mod wire;
mod writer;

use journal::{Lsn, Revision};

use crate::partition_id::PartitionRange;

pub(crate) use cover::Cover;
pub(crate) use depot::Depot;
pub(crate) use folder::{Folder, Sink};
pub(crate) use journal_nodes::JournalNodes;
pub(crate) use lender::Lender;
pub(crate) use peer::{Offer, Peer, Refusal};
pub(crate) use piece::{End, Piece};
pub(crate) use restore::{Held, Versions};
pub use service::SnapshotService;
pub use store::SnapshotStore;
pub(crate) use store::Store;

/// What a snapshot of a partition is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The cluster's id: a snapshot of another is not ours.
    pub(crate) cluster: u64,
    /// Everything up to and including this position is in it.
    pub(crate) lsn: Lsn,
    /// The store's revision there.
    pub(crate) revision: Revision,
    /// It holds every version above this revision, and the newest at or below it of each key.
    pub(crate) compacted: Revision,
    pub(crate) range: PartitionRange,
}

/// What a snapshot holds, as its last block says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) versions: u64,
    pub(crate) set_hash: u64,
}
