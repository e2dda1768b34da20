//! A sysop as bytes: its kind, and a body with its length, so that one can tell where it ends without
//! knowing what it is.

use std::sync::Arc;

use super::parts::{
    Counted, DecodeError, Reader, Sink, put_byte, put_bytes, put_length, put_signed, put_varint,
};
use crate::lsn::Lsn;
use crate::record::{Alarm, LeaseId, SysOp};
use crate::revision::Revision;
use crate::routes::{put_routes, read_routes};

const NONE: u8 = 0;
const LEASE_GRANT: u8 = 1;
const LEASE_REVOKE: u8 = 2;
const LEASE_CHECKPOINT: u8 = 3;
const COMPACT: u8 = 4;
const ALARM_RAISE: u8 = 5;
const ALARM_CLEAR: u8 = 6;
const SNAPSHOT_MARK: u8 = 7;
const ROUTES: u8 = 8;

const NO_SPACE: u8 = 1;
const CORRUPT: u8 = 2;

pub(super) fn put(sysop: Option<&SysOp>, out: &mut impl Sink) {
    let Some(sysop) = sysop else { return put_byte(out, NONE) };
    put_byte(out, kind(sysop));
    let mut counted = Counted::default();
    put_body(sysop, &mut counted);
    put_length(out, counted.bytes);
    put_body(sysop, out);
}

fn kind(sysop: &SysOp) -> u8 {
    match sysop {
        SysOp::LeaseGrant { .. } => LEASE_GRANT,
        SysOp::LeaseRevoke { .. } => LEASE_REVOKE,
        SysOp::LeaseCheckpoint { .. } => LEASE_CHECKPOINT,
        SysOp::Compact { .. } => COMPACT,
        SysOp::AlarmRaise { .. } => ALARM_RAISE,
        SysOp::AlarmClear { .. } => ALARM_CLEAR,
        SysOp::SnapshotMark { .. } => SNAPSHOT_MARK,
        SysOp::Routes(_) => ROUTES,
    }
}

fn put_body(sysop: &SysOp, out: &mut impl Sink) {
    match sysop {
        SysOp::LeaseGrant { lease, ttl_seconds } => {
            put_signed(out, lease.0);
            put_signed(out, *ttl_seconds);
        }
        SysOp::LeaseRevoke { lease, expired_in } => {
            put_signed(out, lease.0);
            put_byte(out, u8::from(expired_in.is_some()));
            put_varint(out, expired_in.unwrap_or_default());
        }
        SysOp::LeaseCheckpoint { remaining_seconds } => {
            put_length(out, remaining_seconds.len());
            for (lease, remaining) in remaining_seconds {
                put_signed(out, lease.0);
                put_signed(out, *remaining);
            }
        }
        SysOp::Compact { revision } => put_varint(out, revision.0),
        SysOp::AlarmRaise { member, alarm } | SysOp::AlarmClear { member, alarm } => {
            put_alarm(out, *member, *alarm);
        }
        SysOp::SnapshotMark { start, end, lsn, revision, set_hash } => {
            put_bytes(out, start);
            put_bytes(out, end);
            put_varint(out, lsn.0);
            put_varint(out, revision.0);
            out.slice(&set_hash.to_le_bytes());
        }
        SysOp::Routes(routes) => put_routes(routes, out),
    }
}

pub(super) fn read(reader: &mut Reader) -> Result<Option<SysOp>, DecodeError> {
    let kind = reader.byte("kind of sysop")?;
    if kind == NONE {
        return Ok(None);
    }
    let mut body = Reader::new(reader.bytes("sysop")?);
    let sysop = body_of(kind, &mut body)?;
    body.end("sysop")?;
    Ok(Some(sysop))
}

fn body_of(kind: u8, body: &mut Reader) -> Result<SysOp, DecodeError> {
    Ok(match kind {
        LEASE_GRANT => SysOp::LeaseGrant { lease: lease(body)?, ttl_seconds: body.signed("ttl")? },
        LEASE_REVOKE => SysOp::LeaseRevoke { lease: lease(body)?, expired_in: expired_in(body)? },
        LEASE_CHECKPOINT => SysOp::LeaseCheckpoint { remaining_seconds: remaining(body)? },
        COMPACT => SysOp::Compact { revision: Revision(body.varint("revision")?) },
        ALARM_RAISE => {
            let (member, alarm) = alarm(body)?;
            SysOp::AlarmRaise { member, alarm }
        }
        ALARM_CLEAR => {
            let (member, alarm) = alarm(body)?;
            SysOp::AlarmClear { member, alarm }
        }
        SNAPSHOT_MARK => SysOp::SnapshotMark {
            start: body.bytes("start")?,
            end: body.bytes("end")?,
            lsn: Lsn(body.varint("lsn")?),
            revision: Revision(body.varint("revision")?),
            set_hash: body.fixed("set hash")?,
        },
        ROUTES => SysOp::Routes(Arc::new(read_routes(body)?)),
        _ => return Err(DecodeError::Newer { what: "kind of sysop", found: u64::from(kind) }),
    })
}

fn lease(body: &mut Reader) -> Result<LeaseId, DecodeError> {
    Ok(LeaseId(body.signed("lease")?))
}

fn expired_in(body: &mut Reader) -> Result<Option<u64>, DecodeError> {
    let present = body.byte("expired in")?;
    let term = body.varint("expired in")?;
    match (present, term) {
        (0, 0) => Ok(None),
        (1, term) => Ok(Some(term)),
        _ => Err(body.malformed("expired in")),
    }
}

fn remaining(body: &mut Reader) -> Result<Vec<(LeaseId, i64)>, DecodeError> {
    let count = body.count(2, "number of leases")?;
    (0..count).map(|_| Ok((lease(body)?, body.signed("remaining")?))).collect()
}

/// Also how the journal's state keeps them.
pub(crate) fn put_alarm(out: &mut impl Sink, member: u64, alarm: Alarm) {
    put_varint(out, member);
    put_byte(
        out,
        match alarm {
            Alarm::NoSpace => NO_SPACE,
            Alarm::Corrupt => CORRUPT,
        },
    );
}

pub(crate) fn alarm(body: &mut Reader) -> Result<(u64, Alarm), DecodeError> {
    let member = body.varint("member")?;
    match body.byte("alarm")? {
        NO_SPACE => Ok((member, Alarm::NoSpace)),
        CORRUPT => Ok((member, Alarm::Corrupt)),
        found => Err(DecodeError::Newer { what: "alarm", found: u64::from(found) }),
    }
}
