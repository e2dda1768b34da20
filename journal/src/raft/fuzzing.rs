//! What voters tell each other and keep, from any bytes. The first byte says which of them is read.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, SnapshotResponse, StreamAppendError, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};

use super::message::{Body, InstallSnapshot, Roster};
use super::peer::Peer;
use super::types::{LogId, Membership, RaftEntry, RaftPayload, Snapshot, SnapshotMeta, Types, Vote, lsn};
use super::{entry, membership, snapshot};
use crate::log::LogEntry;
use crate::lsn::Lsn;

pub fn raft(data: &[u8]) {
    let Some((&what, rest)) = data.split_first() else { return };
    match what % 14 {
        0 => message::<AppendEntriesRequest<Types>>(rest),
        1 => message::<StreamAppendResult<Types>>(rest),
        2 => message::<VoteRequest<Types>>(rest),
        3 => message::<VoteResponse<Types>>(rest),
        4 => message::<InstallSnapshot>(rest),
        5 => message::<SnapshotResponse<Types>>(rest),
        6 => message::<TransferLeaderRequest<Types>>(rest),
        7 => message::<TransferLeaderResponse<Types>>(rest),
        8 => message::<Roster>(rest),
        9 => kept_snapshot(rest),
        10 => kept_entry(rest),
        11 => kept_membership(rest),
        12 => kept_vote(rest),
        _ => message::<Option<LogId>>(rest),
    }
}

/// What is read is what is written of it.
fn message<B: Body>(data: &[u8]) {
    let read: io::Result<B> = B::decode(Bytes::copy_from_slice(data));
    let Ok(body) = read else { return };
    let encoded = body.encode();
    let again = B::decode(encoded.clone()).expect("it was just written");
    assert_eq!(again.encode(), encoded);
}

/// With the crc that belongs to it.
fn kept_snapshot(body: &[u8]) {
    let crc = crc32fast::hash(body).to_le_bytes();
    let bytes = Bytes::from([&snapshot::MAGIC[..], &crc, body].concat());
    let Some(read) = snapshot::decode(&bytes) else { return };
    let encoded = Bytes::from(snapshot::encode(&read));
    let again = snapshot::decode(&encoded).expect("it was just written");
    assert_eq!((&again.meta, &again.snapshot), (&read.meta, &read.snapshot));
    let at = lsn(read.meta.last_log_id.as_ref().expect("it is of something"));
    assert!(at < at.next());
}

fn kept_entry(data: &[u8]) {
    let Some((&kind, payload)) = data.split_first() else { return };
    let kept = LogEntry { index: 5, term: 2, kind, payload: Bytes::copy_from_slice(payload) };
    let Ok(read) = entry::from_log(kept.clone()) else { return };
    let again = entry::to_log(&read);
    assert_eq!((again.index, again.term, again.kind), (kept.index, kept.term, kept.kind));
    let _ = entry::weight(&read);
}

fn kept_membership(data: &[u8]) {
    let Some(read) = membership::decode(data) else { return };
    let mut encoded = Vec::new();
    membership::encode(&read, &mut encoded);
    assert_eq!(membership::decode(&encoded), Some(read.clone()));
    let _ = membership::members(&read);
}

fn kept_vote(data: &[u8]) {
    let Some(vote) = membership::decode_vote(data) else { return };
    assert_eq!(membership::encode_vote(&vote), data);
}

pub fn raft_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let (vote, at) = (Vote::new_committed(3, 12), LogId::new_term_index(3, 41));
    let peer =
        Peer { name: "n1".into(), peer_urls: vec!["http://a:2380".into()], client_urls: vec![], votes: true };
    let nodes = BTreeMap::from([(12, peer), (13, Peer::default())]);
    let voters = || membership::Voters::new(vec![[12].into()], nodes.clone()).expect("it votes");
    let last_membership = Membership::new(Some(LogId::new_term_index(1, 0)), voters());
    let meta = SnapshotMeta { last_log_id: Some(at), last_membership };
    let snapshot = Snapshot { meta, snapshot: Bytes::from_static(b"state") };
    let entries = [(42, RaftPayload::Blank), (43, RaftPayload::Membership(voters()))];
    let entries =
        entries.map(|(index, payload)| RaftEntry { log_id: LogId::new_term_index(3, index), payload });
    let append = AppendEntriesRequest::<Types> {
        vote,
        prev_log_id: Some(at),
        leader_commit: Some(at),
        entries: entries.into_iter().collect(),
    };
    let mut members = Vec::new();
    membership::encode(&voters(), &mut members);
    let said = |what: u8, body: &[u8]| [&[what], body].concat();
    let request = VoteRequest::<Types> { vote, last_log_id: Some(at), leadership_transfer: false };
    let conflict = StreamAppendResult::<Types>::Err(StreamAppendError::Conflict(at));
    vec![
        ("append", said(0, &append.encode())),
        ("conflict", said(1, &conflict.encode())),
        ("vote-request", said(2, &request.encode())),
        ("vote-response", said(3, &VoteResponse::<Types>::new(vote, Some(at), true).encode())),
        ("install", said(4, &InstallSnapshot { vote, snapshot: snapshot.clone() }.encode())),
        ("installed", said(5, &SnapshotResponse::<Types>::new(vote).encode())),
        ("transfer", said(6, &TransferLeaderRequest::<Types>::new(vote, 13, Some(at)).encode())),
        ("roster", said(8, &Roster { at: Lsn(42), members: voters() }.encode())),
        ("snapshot", said(9, &snapshot::encode(&snapshot)[snapshot::MAGIC.len() + 4..])),
        ("entry", said(10, &said(2, &members))),
        ("membership", said(11, &members)),
        ("vote", said(12, &membership::encode_vote(&vote))),
    ]
}
