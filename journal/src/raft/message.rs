//! What voters say to each other, as bytes: the body of a message on the wire.
//!
//!     vote      varint term, varint node, u8 whether a quorum granted it
//!     log id    u8 1, varint term, varint index; or u8 0: there is none
//!     entry     varint term, varint index, u8 kind, bytes payload          kind and payload as on disk
//!
//! Promises as of everything that is decoded here: what is read equals what was written, what the bytes say is never
//! trusted, and what only a later version writes is refused by name.

use std::io;

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, SnapshotResponse, StreamAppendError, StreamAppendResult, TransferLeaderError,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};

use super::membership::Voters;
use super::types::{LogId, RaftEntry, Snapshot, Types, Vote, term};
use super::{entry, membership, snapshot};
use crate::codec::parts::{Reader, put_byte, put_bytes, put_length, put_varint};
use crate::log::LogEntry;
use crate::lsn::Lsn;

/// Something said.
pub(super) trait Body: Sized {
    fn put(&self, out: &mut Vec<u8>);

    /// # Errors
    /// `InvalidData`.
    fn read(from: &mut Reader) -> io::Result<Self>;

    /// About how long it is, in bytes.
    fn bytes(&self) -> usize {
        64
    }

    fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.bytes());
        self.put(&mut out);
        Bytes::from(out)
    }

    /// Reads what fills `bytes`.
    ///
    /// # Errors
    /// `InvalidData`.
    fn decode(bytes: Bytes) -> io::Result<Self> {
        let mut from = Reader::new(bytes);
        let body = Self::read(&mut from)?;
        from.end("message").map_err(invalid)?;
        Ok(body)
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn varint(from: &mut Reader, what: &'static str) -> io::Result<u64> {
    from.varint(what).map_err(invalid)
}

fn byte(from: &mut Reader, what: &'static str) -> io::Result<u8> {
    from.byte(what).map_err(invalid)
}

fn unknown(what: &'static str, found: u8) -> io::Error {
    invalid(format!("{what} {found} is not known to this version"))
}

impl Body for bool {
    fn put(&self, out: &mut Vec<u8>) {
        put_byte(out, u8::from(*self));
    }

    fn read(from: &mut Reader) -> io::Result<bool> {
        match byte(from, "yes or no")? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(unknown("yes or no", other)),
        }
    }
}

impl Body for Vote {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.leader_id.term);
        put_varint(out, *openraft::vote::RaftLeaderId::node_id(&self.leader_id));
        self.committed.put(out);
    }

    fn read(from: &mut Reader) -> io::Result<Vote> {
        let (term, node) = (varint(from, "term")?, varint(from, "node")?);
        Ok(if bool::read(from)? { Vote::new_committed(term, node) } else { Vote::new(term, node) })
    }
}

impl Body for LogId {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, term(self));
        put_varint(out, self.index());
    }

    fn read(from: &mut Reader) -> io::Result<LogId> {
        let term = varint(from, "term")?;
        let index = varint(from, "index")?;
        // Positions count from one, and there is a boundary behind the last.
        let index = index.checked_add(2).map(|_| index).ok_or_else(|| invalid("index is malformed"))?;
        Ok(LogId::new_term_index(term, index))
    }
}

impl Body for Option<LogId> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(id) = self {
            id.put(out);
        }
    }

    fn read(from: &mut Reader) -> io::Result<Option<LogId>> {
        Ok(if bool::read(from)? { Some(LogId::read(from)?) } else { None })
    }
}

/// The least that an entry takes: what a count is held against.
const ENTRY_BYTES_MIN: usize = 4;

impl Body for RaftEntry {
    fn put(&self, out: &mut Vec<u8>) {
        let LogEntry { index, term, kind, payload } = entry::to_log(self);
        LogId::new_term_index(term, index).put(out);
        put_byte(out, kind);
        put_bytes(out, &payload);
    }

    fn read(from: &mut Reader) -> io::Result<RaftEntry> {
        let id = LogId::read(from)?;
        let kind = byte(from, "kind of entry")?;
        let payload = from.bytes("payload").map_err(invalid)?;
        entry::from_log(LogEntry { index: id.index(), term: term(&id), kind, payload })
    }

    fn bytes(&self) -> usize {
        32 + entry::weight(self) / 2
    }
}

impl Body for AppendEntriesRequest<Types> {
    fn put(&self, out: &mut Vec<u8>) {
        self.vote.put(out);
        self.prev_log_id.put(out);
        self.leader_commit.put(out);
        put_length(out, self.entries.len());
        self.entries.iter().for_each(|entry| entry.put(out));
    }

    fn read(from: &mut Reader) -> io::Result<Self> {
        let vote = Vote::read(from)?;
        let (prev_log_id, leader_commit) = (Body::read(from)?, Body::read(from)?);
        let count = from.count(ENTRY_BYTES_MIN, "number of entries").map_err(invalid)?;
        let mut entries: Vec<RaftEntry> = Vec::new();
        let mut last: Option<LogId> = prev_log_id;
        for _ in 0..count {
            let entry = RaftEntry::read(from)?;
            let next = last.map_or(0, |last| last.index() + 1);
            if entry.log_id.index() != next {
                return Err(invalid(format!("entry {} follows where {next} is next", entry.log_id.index())));
            }
            last = Some(entry.log_id);
            entries.push(entry);
        }
        Ok(AppendEntriesRequest { vote, prev_log_id, leader_commit, entries })
    }

    fn bytes(&self) -> usize {
        64 + self.entries.iter().map(Body::bytes).sum::<usize>()
    }
}

impl Body for StreamAppendResult<Types> {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Ok(matching) => {
                put_byte(out, 0);
                matching.put(out);
            }
            Err(StreamAppendError::Conflict(at)) => {
                put_byte(out, 1);
                at.put(out);
            }
            Err(StreamAppendError::HigherVote(vote)) => {
                put_byte(out, 2);
                vote.put(out);
            }
        }
    }

    fn read(from: &mut Reader) -> io::Result<Self> {
        Ok(match byte(from, "answer to an append")? {
            0 => Ok(Body::read(from)?),
            1 => Err(StreamAppendError::Conflict(LogId::read(from)?)),
            2 => Err(StreamAppendError::HigherVote(Vote::read(from)?)),
            other => return Err(unknown("answer to an append", other)),
        })
    }
}

impl Body for VoteRequest<Types> {
    fn put(&self, out: &mut Vec<u8>) {
        self.vote.put(out);
        self.last_log_id.put(out);
        self.leadership_transfer.put(out);
    }

    fn read(from: &mut Reader) -> io::Result<Self> {
        let mut request = VoteRequest::new(Vote::read(from)?, Body::read(from)?);
        request.leadership_transfer = bool::read(from)?;
        Ok(request)
    }
}

impl Body for VoteResponse<Types> {
    fn put(&self, out: &mut Vec<u8>) {
        self.vote.put(out);
        self.last_log_id.put(out);
        self.vote_granted.put(out);
    }

    fn read(from: &mut Reader) -> io::Result<Self> {
        let (vote, last) = (Vote::read(from)?, Body::read(from)?);
        Ok(VoteResponse::new(vote, last, bool::read(from)?))
    }
}

/// A leader's snapshot for one who is further behind than the log begins.
pub(super) struct InstallSnapshot {
    pub(super) vote: Vote,
    pub(super) snapshot: Snapshot,
}

impl Body for InstallSnapshot {
    fn put(&self, out: &mut Vec<u8>) {
        self.vote.put(out);
        put_bytes(out, &snapshot::encode(&self.snapshot));
    }

    fn read(from: &mut Reader) -> io::Result<Self> {
        let vote = Vote::read(from)?;
        let snapshot = from.bytes("snapshot").map_err(invalid)?;
        let snapshot = snapshot::decode(&snapshot).ok_or_else(|| invalid("the snapshot is damaged"))?;
        Ok(InstallSnapshot { vote, snapshot })
    }
}

impl Body for SnapshotResponse<Types> {
    fn put(&self, out: &mut Vec<u8>) {
        self.vote.put(out);
    }

    fn read(from: &mut Reader) -> io::Result<Self> {
        Ok(SnapshotResponse::new(Vote::read(from)?))
    }
}

impl Body for TransferLeaderRequest<Types> {
    fn put(&self, out: &mut Vec<u8>) {
        self.from_leader().put(out);
        put_varint(out, *self.to_node_id());
        self.last_log_id().copied().put(out);
    }

    fn read(from: &mut Reader) -> io::Result<Self> {
        Ok(TransferLeaderRequest::new(Vote::read(from)?, varint(from, "node")?, Body::read(from)?))
    }
}

impl Body for TransferLeaderResponse<Types> {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Ok(()) => put_byte(out, 0),
            Err(TransferLeaderError::VoteChanged { expected, actual }) => {
                put_byte(out, 1);
                expected.put(out);
                actual.put(out);
            }
            Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
                put_byte(out, 2);
                expected.put(out);
                actual.put(out);
            }
        }
    }

    fn read(from: &mut Reader) -> io::Result<Self> {
        Ok(match byte(from, "answer to a hand-over")? {
            0 => Ok(()),
            1 => Err(TransferLeaderError::VoteChanged {
                expected: Vote::read(from)?,
                actual: Vote::read(from)?,
            }),
            2 => Err(TransferLeaderError::LogNotFlushed {
                expected: Body::read(from)?,
                actual: Body::read(from)?,
            }),
            other => return Err(unknown("answer to a hand-over", other)),
        })
    }
}

/// Who is in the cluster, as far as the one that tells it has applied the log.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Roster {
    /// Of the entry that says so.
    pub(super) at: Lsn,
    pub(super) members: Voters,
}

impl Roster {
    pub(super) fn has(&self, node: u64) -> bool {
        self.members.get_node(&node).is_some()
    }
}

impl Body for Roster {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.at.0);
        let mut members = Vec::new();
        membership::encode(&self.members, &mut members);
        put_bytes(out, &members);
    }

    fn read(from: &mut Reader) -> io::Result<Self> {
        let at = Lsn(varint(from, "position")?);
        let members = from.bytes("members").map_err(invalid)?;
        let members = membership::decode(&members).ok_or_else(|| invalid("these are no members"))?;
        Ok(Roster { at, members })
    }
}

#[cfg(test)]
mod tests;
