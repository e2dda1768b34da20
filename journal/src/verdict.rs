//! What the sequencer says to an append, and what became of one whose verdict was lost.

use std::time::Duration;

use crate::lsn::Lsn;
use crate::record::LeaseId;
use crate::revision::Revision;

/// The sequencer's answer to an append. Everything but `Committed` changed nothing, except `Unknown`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Durable. `revision` is the record's own, or the last one before it when it changed no key.
    /// `attempt` is the attempt that committed, which after a retry may be an earlier one.
    Committed { lsn: Lsn, revision: Revision, term: u64, attempt: u32 },
    /// Something that was read has changed. Evaluate again once everything up to `wait` is applied.
    Conflict { wait: Revision },
    /// What this would write is held for a moment: by a request that has lost too often, or by the end of a lease.
    /// Nothing that was read has changed.
    Reserved,
    /// Read too long ago for the window of recent writes to tell. As `Conflict`.
    TooOld { wait: Revision },
    /// There is no lease of this name that a put names or a client revokes, or none that has ended in this term.
    LeaseNotFound(LeaseId),
    /// The lease to be granted is there already.
    LeaseExists(LeaseId),
    /// The revision to compact at is compacted already.
    Compacted { compacted: Revision },
    /// The revision to compact at is still to come.
    FutureRevision { current: Revision },
    /// The routes to be changed are not those of this version any more, or not yet.
    RoutesChanged { version: u64 },
    /// The queues are full.
    Overloaded { retry_after: Duration },
    /// Larger than a record may be.
    TooLarge { bytes: u64, bytes_max: u64 },
    /// Another node leads; `hint` is its id where known. Nothing was appended.
    NotLeader { hint: Option<u64> },
    /// The request's number is so old that an attempt which has happened would be forgotten. This attempt was not
    /// appended, and no attempt of that number ever will be.
    Forgotten,
    /// It may or may not happen: ask for its fate.
    Unknown,
}

/// What became of an append, as a confirmed leader knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    Committed {
        lsn: Lsn,
        revision: Revision,
        term: u64,
        attempt: u32,
    },
    /// Still on its way.
    Pending,
    /// It did not happen and never will.
    Never,
    /// Too long ago to tell.
    Expired,
}

/// Proof of how far the journal had committed after a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Barrier {
    pub lsn: Lsn,
    pub revision: Revision,
    pub term: u64,
}
