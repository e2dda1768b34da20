//! Questions, from and to messages.

use bytes::Bytes;
use prost::Message;
use proto::journal as message;
use proto::journal::{keys_read::To, question::Ask, read::What};

use super::{Malformed, members};
use crate::codec;
use crate::key_range::KeyRange;
use crate::member::MemberChange;
use crate::origin::Origin;
use crate::record::{Append, LeaseId, Read, Record};
use crate::revision::Revision;

/// What is asked. Its answer is looked for by the question's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Append(Append),
    Fate(Origin),
    Barrier,
    KeepAlive(LeaseId),
    Lease(LeaseId),
    Leases,
    Expired,
    Members(MemberChange),
    MoveLeader(u64),
}

/// Takes the question apart that a peer has sent.
pub(crate) fn read(question: message::Question) -> Result<(u64, Asked), Malformed> {
    let asked = match question.ask.ok_or_else(|| Malformed::without("the question"))? {
        Ask::Append(append) => Asked::Append(read_append(append)?),
        Ask::Fate(origin) => Asked::Fate(read_origin(&origin)),
        Ask::Barrier(_) => Asked::Barrier,
        Ask::KeepAlive(lease) => Asked::KeepAlive(LeaseId(lease)),
        Ask::Lease(lease) => Asked::Lease(LeaseId(lease)),
        Ask::Leases(_) => Asked::Leases,
        Ask::Expired(_) => Asked::Expired,
        Ask::Members(change) => Asked::Members(members::read_change(change)?),
        Ask::MoveLeader(to) => Asked::MoveLeader(to),
    };
    Ok((question.id, asked))
}

pub(crate) fn write(id: u64, asked: &Asked) -> message::Question {
    let nothing = message::Nothing {};
    let ask = match asked {
        Asked::Append(append) => Ask::Append(write_append(append)),
        Asked::Fate(origin) => Ask::Fate(write_origin(*origin)),
        Asked::Barrier => Ask::Barrier(nothing),
        Asked::KeepAlive(lease) => Ask::KeepAlive(lease.0),
        Asked::Lease(lease) => Ask::Lease(lease.0),
        Asked::Leases => Ask::Leases(nothing),
        Asked::Expired => Ask::Expired(nothing),
        Asked::Members(change) => Ask::Members(members::write_change(change)),
        Asked::MoveLeader(to) => Ask::MoveLeader(*to),
    };
    message::Question { id, ask: Some(ask) }
}

/// What a change of the members takes in its message.
pub(crate) fn change_bytes(change: &MemberChange) -> usize {
    members::write_change(change).encoded_len()
}

fn read_origin(origin: &message::Origin) -> Origin {
    Origin { frontend: origin.frontend, seq: origin.seq, attempt: origin.attempt }
}

fn write_origin(origin: Origin) -> message::Origin {
    message::Origin { frontend: origin.frontend, seq: origin.seq, attempt: origin.attempt }
}

fn read_append(append: message::Append) -> Result<Append, Malformed> {
    let Record { origin, writes, sysop } = codec::decode_effects(append.effects)?;
    let reads = append.reads.into_iter().map(read_read).collect::<Result<_, _>>()?;
    Ok(Append { origin, reads, writes, sysop, reserve: append.reserve })
}

fn write_append(append: &Append) -> message::Append {
    let effects = Bytes::from(codec::encode_effects(append));
    message::Append { effects, reads: append.reads.iter().map(write_read).collect(), reserve: append.reserve }
}

fn read_read(read: message::Read) -> Result<Read, Malformed> {
    let at = Revision(read.at);
    Ok(match read.what.ok_or_else(|| Malformed::without("what was read"))? {
        What::Keys(keys) => Read::Keys { keys: read_keys(keys), at },
        What::Lease(lease) => Read::Lease { lease: LeaseId(lease), at },
    })
}

fn write_read(read: &Read) -> message::Read {
    match read {
        Read::Keys { keys, at } => message::Read { at: at.0, what: Some(What::Keys(write_keys(keys))) },
        Read::Lease { lease, at } => message::Read { at: at.0, what: Some(What::Lease(lease.0)) },
    }
}

fn read_keys(keys: message::KeysRead) -> KeyRange {
    match keys.to {
        Some(To::Single(_)) => KeyRange::Single(keys.start),
        Some(To::End(end)) => KeyRange::Range { start: keys.start, end },
        None => KeyRange::From(keys.start),
    }
}

fn write_keys(keys: &KeyRange) -> message::KeysRead {
    let to = match keys {
        KeyRange::Single(_) => Some(To::Single(true)),
        KeyRange::Range { end, .. } => Some(To::End(end.clone())),
        KeyRange::From(_) => None,
    };
    message::KeysRead { start: keys.start().clone(), to }
}
