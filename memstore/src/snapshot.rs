//! Partitions on disk, so that a memstore starts from them and the journal can be trimmed behind them.
//!
//!     snapshots/
//!     ├─ 00000000000000041200/          a set: every partition at one position of the journal
//!     │  ├─ 0.partition
//!     │  └─ 1.partition
//!     ├─ 00000000000000083111/          the newest two sets are kept
//!     ├─ partial/                       being written: of no meaning after a crash
//!     ├─ fetched-0/                     coming from another member: the same
//!     └─ damaged/                       the last set that could not be used
//!
//! A set is written aside, read back and checked, and only then given its name, so that whatever has a name
//! was whole once. Reading checks everything again; a damaged set is passed over for the one before it.

mod folder;
mod format;
mod incoming;
mod journal_nodes;
#[cfg(test)]
pub(crate) mod keeping_tests;
mod leaving;
mod peer;
mod piece;
mod reader;
mod restore;
mod service;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod travel_tests;
mod wire;
mod writer;

use journal::{Lsn, Revision};

use crate::partition_id::PartitionRange;

pub(crate) use folder::{Folder, Sink};
pub(crate) use journal_nodes::JournalNodes;
pub(crate) use peer::{Offer, Peer, Refusal};
pub use service::SnapshotService;

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
