//! What a node knows, from and to messages.

use std::sync::Arc;

use bytes::Bytes;
use proto::journal as message;

use super::Malformed;
use super::answers::id;
use crate::client::Status;
use crate::codec::parts::Reader;
use crate::lsn::Lsn;
use crate::member::Member;
use crate::record::Alarm;
use crate::revision::Revision;
use crate::routes::{self, Routes};

const NO_SPACE: u32 = 1;
const CORRUPT: u32 = 2;

pub(crate) fn write(status: &Status) -> message::StatusPart {
    let alarm = |(member, alarm): &(u64, Alarm)| {
        let kind = match alarm {
            Alarm::NoSpace => NO_SPACE,
            Alarm::Corrupt => CORRUPT,
        };
        message::Alarm { member: *member, kind }
    };
    message::StatusPart {
        cluster: status.cluster,
        node: status.node,
        leader: status.leader.unwrap_or_default(),
        term: status.term,
        applied: status.applied.0,
        revision: status.revision.0,
        compacted: status.compacted.0,
        alarms: status.alarms.iter().map(alarm).collect(),
        first: status.first.0,
        disk_bytes: status.disk_bytes,
        members: status.members.iter().map(write_member).collect(),
        routes: write_routes(&status.routes),
        bootstrapped: status.bootstrapped.clone(),
        missing_up_to: status.missing_up_to.map_or(0, |lsn| lsn.0),
        serves_clients: status.serves_clients,
    }
}

/// Takes the status apart that a peer has sent.
pub(crate) fn read(part: message::StatusPart) -> Result<Status, Malformed> {
    let alarm = |alarm: message::Alarm| {
        let kind = match alarm.kind {
            NO_SPACE => Alarm::NoSpace,
            CORRUPT => Alarm::Corrupt,
            kind => return Err(Malformed(format!("alarm {kind} is of a later version"))),
        };
        Ok((alarm.member, kind))
    };
    Ok(Status {
        cluster: part.cluster,
        node: part.node,
        members: part.members.into_iter().map(read_member).collect(),
        leader: id(part.leader),
        term: part.term,
        applied: Lsn(part.applied),
        revision: Revision(part.revision),
        compacted: Revision(part.compacted),
        alarms: part.alarms.into_iter().map(alarm).collect::<Result<_, _>>()?,
        first: Lsn(part.first),
        disk_bytes: part.disk_bytes,
        routes: Arc::new(read_routes(part.routes)?),
        bootstrapped: part.bootstrapped,
        missing_up_to: id(part.missing_up_to).map(Lsn),
        serves_clients: part.serves_clients,
    })
}

/// None where nobody has routed, as of a node that knows of no routes.
fn write_routes(routes: &Routes) -> Bytes {
    let mut bytes = Vec::new();
    if routes.version() > 0 {
        routes::put_routes(routes, &mut bytes);
    }
    bytes.into()
}

fn read_routes(bytes: Bytes) -> Result<Routes, Malformed> {
    if bytes.is_empty() {
        return Ok(Routes::default());
    }
    let mut reader = Reader::new(bytes);
    let routes = routes::read_routes(&mut reader)?;
    reader.end("routes")?;
    Ok(routes)
}

pub(crate) fn write_member(member: &Member) -> message::Member {
    let Member { id, name, peer_urls, client_urls, learner, awaits_vote } = member.clone();
    message::Member { id, name, peer_urls, client_urls, learner, awaits_vote }
}

pub(crate) fn read_member(member: message::Member) -> Member {
    let message::Member { id, name, peer_urls, client_urls, learner, awaits_vote } = member;
    Member { id, name, peer_urls, client_urls, learner, awaits_vote }
}
