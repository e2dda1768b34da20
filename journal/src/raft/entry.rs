//! Raft's entries as the log's, and back.
//!
//!     kind 0   a leader's first entry: no payload
//!     kind 1   a batch
//!     kind 2   a membership

use std::io;

use bytes::Bytes;

use super::membership;
use super::types::{LogId, Payload, RaftEntry, RaftPayload, lsn, term};
use crate::log::LogEntry;
use crate::record::Entry;

const BLANK: u8 = 0;
const BATCH: u8 = 1;
const MEMBERSHIP: u8 = 2;

pub(super) fn to_log(entry: &RaftEntry) -> LogEntry {
    let (kind, payload) = match &entry.payload {
        RaftPayload::Blank => (BLANK, Bytes::new()),
        RaftPayload::Normal(payload) => (BATCH, payload.bytes.clone()),
        RaftPayload::Membership(members) => {
            let mut bytes = Vec::new();
            membership::encode(members, &mut bytes);
            (MEMBERSHIP, Bytes::from(bytes))
        }
    };
    LogEntry { index: entry.log_id.index(), term: term(&entry.log_id), kind, payload }
}

/// # Errors
/// `InvalidData`: the log kept its promise about the bytes, so a later version wrote them, or nobody did.
pub(super) fn from_log(entry: LogEntry) -> io::Result<RaftEntry> {
    let index = entry.index;
    let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, format!("entry {index}: {what}"));
    let payload = match entry.kind {
        BLANK => RaftPayload::Blank,
        BATCH => {
            RaftPayload::Normal(Payload::decode(entry.payload).map_err(|error| invalid(error.to_string()))?)
        }
        MEMBERSHIP => {
            let members = membership::decode(&entry.payload);
            RaftPayload::Membership(members.ok_or_else(|| invalid("not a membership".into()))?)
        }
        kind => return Err(invalid(format!("kind {kind} is of a later version"))),
    };
    Ok(RaftEntry { log_id: LogId::new_term_index(entry.term, index), payload })
}

/// A committed entry as the tails see it.
pub(super) fn committed(entry: &RaftEntry) -> Entry {
    let term = term(&entry.log_id);
    let batch = match &entry.payload {
        RaftPayload::Normal(payload) if payload.batch.term == term => Some(payload.batch.clone()),
        RaftPayload::Normal(_) | RaftPayload::Blank | RaftPayload::Membership(_) => None,
    };
    Entry { lsn: lsn(&entry.log_id), term, batch }
}

/// About what an entry holds in memory, in bytes.
pub(super) fn weight(entry: &RaftEntry) -> usize {
    match &entry.payload {
        // Once as bytes and once as the batch, whose keys and values are often the client's own copy.
        RaftPayload::Normal(payload) => 128 + 2 * payload.bytes.len(),
        RaftPayload::Blank | RaftPayload::Membership(_) => 128,
    }
}
