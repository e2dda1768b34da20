//! The journal's state as bytes: what a Raft snapshot carries. `docs/format.md` has the picture.
//!
//! Equal states have equal bytes, so nodes can compare them.

use std::sync::Arc;

use bytes::Bytes;

use super::dedup::{self, Dedup, Outcome};
use super::marks::{Mark, Marks};
use super::{Lease, State};
use crate::codec::parts::{
    DecodeError, Reader, Sink, put_byte, put_bytes, put_length, put_signed, put_varint,
};
use crate::codec::sysop::{alarm, put_alarm};
use crate::lsn::Lsn;
use crate::origin::Origin;
use crate::record::LeaseId;
use crate::revision::Revision;
use crate::routes::{Routes, put_routes, read_routes};

/// Of a state that has routes. One without is written as before there were any, so that a node of an older version
/// can take it over.
const VERSION: u8 = 2;
const WITHOUT_ROUTES: u8 = 1;

impl State {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let routed = self.routes.version() > 0;
        put_byte(&mut out, if routed { VERSION } else { WITHOUT_ROUTES });
        for number in [self.applied.0, self.term, self.revision.0, self.compacted.0] {
            put_varint(&mut out, number);
        }
        put_length(&mut out, self.leases.len());
        self.leases.iter().for_each(|(id, lease)| put_lease(*id, *lease, &mut out));
        put_length(&mut out, self.alarms.len());
        self.alarms.iter().for_each(|(member, alarm)| put_alarm(&mut out, *member, *alarm));
        put_dedup(&self.dedup, &mut out);
        put_length(&mut out, self.marks.iter().len());
        self.marks.iter().for_each(|mark| put_mark(mark, &mut out));
        if routed {
            put_routes(&self.routes, &mut out);
        }
        out
    }

    /// # Errors
    /// `Newer` where a later version wrote it, `Malformed` where nobody did.
    pub(crate) fn decode(bytes: Bytes) -> Result<State, DecodeError> {
        let mut reader = Reader::new(bytes);
        let version = reader.byte("state version")?;
        if !(WITHOUT_ROUTES..=VERSION).contains(&version) {
            return Err(DecodeError::Newer { what: "state version", found: u64::from(version) });
        }
        let applied = Lsn(reader.varint("applied")?);
        let state = State {
            applied,
            term: reader.varint("term")?,
            revision: Revision(reader.varint("revision")?),
            compacted: Revision(reader.varint("compacted")?),
            leases: list(&mut reader, 3, lease)?.into_iter().collect(),
            alarms: list(&mut reader, 2, alarm)?.into_iter().collect(),
            dedup: dedup(&mut reader, applied)?,
            marks: marks(&mut reader)?,
            routes: if version == VERSION { routes(&mut reader)? } else { Arc::default() },
        };
        reader.end("state")?;
        Ok(state)
    }
}

fn list<T>(
    reader: &mut Reader,
    bytes_each: usize,
    mut read: impl FnMut(&mut Reader) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let count = reader.count(bytes_each, "number of elements")?;
    (0..count).map(|_| read(reader)).collect()
}

fn put_lease(id: LeaseId, lease: Lease, out: &mut impl Sink) {
    put_signed(out, id.0);
    put_signed(out, lease.granted_seconds);
    put_byte(out, u8::from(lease.remaining_seconds.is_some()));
    if let Some(remaining) = lease.remaining_seconds {
        put_signed(out, remaining);
    }
}

fn lease(reader: &mut Reader) -> Result<(LeaseId, Lease), DecodeError> {
    let id = LeaseId(reader.signed("lease")?);
    let granted_seconds = reader.signed("ttl")?;
    let remaining_seconds = match reader.byte("checkpoint")? {
        0 => None,
        1 => Some(reader.signed("remaining")?),
        _ => return Err(reader.malformed("checkpoint")),
    };
    Ok((id, Lease { granted_seconds, remaining_seconds }))
}

fn put_dedup(dedup: &Dedup, out: &mut impl Sink) {
    let limits = dedup.limits();
    put_varint(out, limits.lsn_distance);
    put_length(out, limits.outcomes_max);
    put_varint(out, limits.frontend_distance);
    put_length(out, limits.frontends_idle_max);
    let frontends = dedup.frontends();
    put_length(out, frontends.len());
    for (id, frontend) in frontends {
        out.slice(&id.to_le_bytes());
        put_varint(out, frontend.forgotten);
        put_varint(out, frontend.last.0);
    }
    put_length(out, dedup.outcomes().len());
    for (origin, outcome) in dedup.outcomes() {
        out.slice(&origin.frontend.to_le_bytes());
        put_varint(out, origin.seq);
        put_varint(out, u64::from(outcome.attempt));
        put_varint(out, outcome.lsn.0);
        put_varint(out, outcome.revision.0);
        put_varint(out, outcome.term);
    }
}

fn dedup(reader: &mut Reader, applied: Lsn) -> Result<Dedup, DecodeError> {
    let limits = dedup::Limits {
        lsn_distance: reader.varint("distance")?,
        outcomes_max: size(reader)?,
        frontend_distance: reader.varint("distance")?,
        frontends_idle_max: size(reader)?,
    };
    let mut dedup = Dedup::new(limits);
    for (id, forgotten, last) in list(reader, 10, frontend)? {
        if applied < last || forgotten == 0 {
            return Err(reader.malformed("frontend"));
        }
        dedup.restore_frontend(id, forgotten, last);
    }
    for (origin, outcome) in list(reader, 13, outcome)? {
        if applied < outcome.lsn || origin.frontend == 0 || dedup.remembers(origin) {
            return Err(reader.malformed("outcome"));
        }
        dedup.note(origin, outcome);
    }
    Ok(dedup)
}

fn size(reader: &mut Reader) -> Result<usize, DecodeError> {
    usize::try_from(reader.varint("limit")?).map_err(|_| reader.malformed("limit"))
}

fn frontend(reader: &mut Reader) -> Result<(u64, u64, Lsn), DecodeError> {
    Ok((reader.fixed("frontend")?, reader.varint("seq")?, Lsn(reader.varint("lsn")?)))
}

fn outcome(reader: &mut Reader) -> Result<(Origin, Outcome), DecodeError> {
    let frontend = reader.fixed("frontend")?;
    let seq = reader.varint("seq")?;
    let attempt = u32::try_from(reader.varint("attempt")?).map_err(|_| reader.malformed("attempt"))?;
    let lsn = Lsn(reader.varint("lsn")?);
    let revision = Revision(reader.varint("revision")?);
    let term = reader.varint("term")?;
    Ok((Origin { frontend, seq, attempt }, Outcome { lsn, revision, term, attempt }))
}

fn put_mark(mark: &Mark, out: &mut impl Sink) {
    put_bytes(out, &mark.start);
    put_bytes(out, &mark.end);
    put_varint(out, mark.lsn.0);
    put_varint(out, mark.revision.0);
    out.slice(&mark.set_hash.to_le_bytes());
}

fn marks(reader: &mut Reader) -> Result<Marks, DecodeError> {
    Ok(Marks::restore(list(reader, 12, mark)?))
}

/// Some: none are not written.
fn routes(reader: &mut Reader) -> Result<Arc<Routes>, DecodeError> {
    let routes = read_routes(reader)?;
    if routes.version() == 0 { Err(reader.malformed("routes")) } else { Ok(Arc::new(routes)) }
}

fn mark(reader: &mut Reader) -> Result<Mark, DecodeError> {
    let start = reader.bytes("start")?;
    let end = reader.bytes("end")?;
    let lsn = Lsn(reader.varint("lsn")?);
    let revision = Revision(reader.varint("revision")?);
    Ok(Mark::new(&start, &end, lsn, revision, reader.fixed("set hash")?))
}
