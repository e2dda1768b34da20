//! What a fuzzer calls: each target takes any bytes, and panics where a promise is broken.
//!
//!     bytes ─► decode ─┬─ refused: nothing else to see
//!                      └─ accepted ─► encode ─► decode        the same again
//!
//! Beside each target stand inputs to begin with, made by the encoders. Only tests build this module.

use bytes::Bytes;

use crate::block::{self, EntryPlace, Kind, LogEntry, PAGE_BYTES, Place};
use crate::codec::parts::Reader;
use crate::codec::{decode_batch, decode_effects, encode_batch, encode_effects};
use crate::key_range::KeyRange;
use crate::lsn::Lsn;
use crate::origin::Origin;
use crate::record::{Alarm, Append, Batch, LeaseId, Record, SysOp, Write};
use crate::revision::Revision;
use crate::routes::{MemstoreInfo, Routes, put_routes, read_routes};
use crate::state::State;

pub use crate::log::fuzzing::{segments, segments_seeds};
pub use crate::raft::fuzzing::{raft, raft_seeds};

/// Inputs, each with a name.
pub type Seeds = Vec<(&'static str, Vec<u8>)>;

/// A batch, as an entry of the journal carries it.
pub fn batch(data: &[u8]) {
    let Ok(batch) = decode_batch(Bytes::copy_from_slice(data)) else { return };
    let mut encoded = Vec::new();
    encode_batch(&batch, &mut encoded);
    assert!(encoded.len() <= data.len(), "nobody writes it shorter than we do");
    assert_eq!(decode_batch(Bytes::from(encoded)), Ok(batch.clone()));
    assert!(batch.revisions().all(|(revision, _)| revision <= batch.last_revision()));
}

pub fn batch_seeds() -> Seeds {
    let encoded = |records: Vec<Record>| {
        let batch =
            Batch { term: 3, base_revision: Revision(300), wall_clock_ms: 1_700_000_000_000, records };
        let mut out = Vec::new();
        encode_batch(&batch, &mut out);
        out
    };
    let record =
        |writes, sysop| Record { origin: Origin { frontend: 7, seq: 200, attempt: 1 }, writes, sysop };
    let mut seeds = vec![
        ("empty", encoded(vec![])),
        ("put", encoded(vec![record(vec![put("a", "1", 0)], None)])),
        ("writes", encoded(vec![record(writes(), None), record(vec![put("a", "2", 9)], None)])),
    ];
    seeds
        .extend(sysops().into_iter().map(|(name, sysop)| (name, encoded(vec![record(vec![], Some(sysop))]))));
    seeds
}

/// What a frontend asks to have appended, as it travels to the leader.
pub fn effects(data: &[u8]) {
    let Ok(Record { origin, writes, sysop }) = decode_effects(Bytes::copy_from_slice(data)) else { return };
    let append = Append { origin, reads: vec![], writes, sysop, reserve: false };
    let encoded = encode_effects(&append);
    let Append { origin, writes, sysop, .. } = append;
    assert_eq!(decode_effects(Bytes::from(encoded)), Ok(Record { origin, writes, sysop }));
}

pub fn effects_seeds() -> Seeds {
    let encoded = |writes, sysop| {
        let origin = Origin { frontend: 1 << 60, seq: 1, attempt: 0 };
        encode_effects(&Append { origin, reads: vec![], writes, sysop, reserve: false })
    };
    let mut seeds =
        vec![("writes", encoded(writes(), None)), ("both", encoded(writes(), Some(routes_sysop())))];
    seeds.extend(sysops().into_iter().map(|(name, sysop)| (name, encoded(vec![], Some(sysop)))));
    seeds
}

fn put(key: &'static str, value: &'static str, lease: i64) -> Write {
    Write::Put { key: key.into(), value: value.into(), lease: LeaseId(lease) }
}

fn writes() -> Vec<Write> {
    let delete = |key: &'static str| Write::Delete { key: key.into() };
    let keys = ["/registry/pods/default/a", "/registry/pods/default/b", "/registry/pods/kube-system/c"];
    [put("/registry/pods/default/0", "v", 0), put("k", "", -5)].into_iter().chain(keys.map(delete)).collect()
}

fn sysops() -> Vec<(&'static str, SysOp)> {
    let lease = LeaseId(i64::MAX);
    vec![
        ("grant", SysOp::LeaseGrant { lease, ttl_seconds: 60 }),
        ("revoke", SysOp::LeaseRevoke { lease, expired_in: Some(4) }),
        ("checkpoint", SysOp::LeaseCheckpoint { remaining_seconds: vec![(lease, 300), (LeaseId(1), 0)] }),
        ("compact", SysOp::Compact { revision: Revision(299) }),
        ("alarm", SysOp::AlarmRaise { member: 12, alarm: Alarm::NoSpace }),
        ("clear", SysOp::AlarmClear { member: 12, alarm: Alarm::Corrupt }),
        (
            "mark",
            SysOp::SnapshotMark {
                start: "a".into(),
                end: "m".into(),
                lsn: Lsn(40),
                revision: Revision(30),
                set_hash: 0x1234_5678_9abc_def0,
            },
        ),
        ("routes", routes_sysop()),
    ]
}

fn routes_sysop() -> SysOp {
    SysOp::Routes(some_routes().into())
}

fn some_routes() -> Routes {
    Routes::default().begin(&["m".into()]).expect("there are none")
}

fn more_routes() -> Routes {
    let info = MemstoreInfo {
        id: 5,
        name: "m1".into(),
        url: "http://10.0.0.1:2390".into(),
        zone: "z".into(),
        process: 77,
    };
    some_routes().register(info).and_then(|routes| routes.add_replica(1, 5)).expect("it is the first")
}

/// One block of the log: a header and a body that are put together again, so that the crc is right.
///
///     previous 4 | kind 1 | segment 8 | number 8 | durable 8 | committed 8 | term 8 | first 8 | count 4 | body
pub fn block(data: &[u8]) {
    if let Some(block) = block::decode(data) {
        let _ = block.entries();
    }
    let Some((header, body)) = block_parts(data) else { return };
    let mut bytes = Vec::new();
    let crc = block::encode(&mut bytes, &header, |out| out.extend_from_slice(body));
    assert_eq!(bytes.len() % PAGE_BYTES, 0);
    let block = block::decode(&bytes).expect("it was just made");
    assert_eq!((block.header, block.crc, block.body), (header, crc, body));
    assert_eq!(block::claims(&bytes), Some((header.place.segment, header.place.number)));
    if let Some(entries) = block.entries() {
        let mut again = Vec::new();
        for EntryPlace { term, kind, payload } in entries {
            let payload = Bytes::copy_from_slice(&body[payload]);
            block::encode_entry(&mut again, &LogEntry { index: 0, term, kind, payload });
        }
        assert_eq!(again, body, "entries are what their block holds");
    }
    if let Some(state) = block::State::decode(body) {
        let mut again = Vec::new();
        state.encode(&mut again);
        assert_eq!(again.len(), state.bytes());
        assert_eq!(block::State::decode(&again), Some(state));
    }
}

fn block_parts(data: &[u8]) -> Option<(block::Header, &[u8])> {
    let (head, body) = data.split_at_checked(57)?;
    let number = |at| block::read_u64(head, at);
    let kinds = [Kind::State, Kind::Entries, Kind::Vote, Kind::Truncate, Kind::Purge];
    let place = Place { previous: block::read_u32(head, 0)?, segment: number(5)?, number: number(13)? };
    let header = block::Header {
        place,
        kind: kinds[usize::from(head[4]) % kinds.len()],
        durable: number(21)?,
        committed_end: number(29)?,
        term: number(37)?,
        first: number(45)?,
        count: block::read_u32(head, 53)?,
    };
    Some((header, body))
}

pub fn block_seeds() -> Seeds {
    let head = |kind: u8, count: u32| {
        let mut head = vec![1, 2, 3, 4, kind];
        [3_u64, 17, 16, 9, 2, 40].iter().for_each(|number| head.extend(number.to_le_bytes()));
        head.extend(count.to_le_bytes());
        head
    };
    let mut state = head(0, 0);
    block::State { next: 40, purged: Some((7, 1)), vote: Some("vote".into()) }.encode(&mut state);
    let mut entries = head(1, 3);
    for payload in ["", "payload", "another"] {
        let entry = LogEntry { index: 0, term: 2, kind: 1, payload: payload.into() };
        block::encode_entry(&mut entries, &entry);
    }
    let mut whole = Vec::new();
    let (header, body) = block_parts(&entries).expect("it was just made");
    block::encode(&mut whole, &header, |out| out.extend_from_slice(body));
    whole.truncate(256);
    vec![
        ("state", state),
        ("entries", entries),
        ("vote", head(2, 0)),
        ("purge", head(4, 0)),
        ("whole", whole),
    ]
}

/// The state of the journal, as a snapshot carries it.
pub fn state(data: &[u8]) {
    let Ok(state) = State::decode(Bytes::copy_from_slice(data)) else { return };
    let encoded = state.encode();
    let again = State::decode(Bytes::from(encoded.clone()));
    assert_eq!(again.as_ref(), Ok(&state));
    assert_eq!(state.encode(), encoded, "equal states have equal bytes");
}

pub fn state_seeds() -> Seeds {
    let mut state = State::default();
    let fresh = state.encode();
    let record =
        |seq, writes, sysop| Record { origin: Origin { frontend: 7, seq, attempt: 0 }, writes, sysop };
    let mut records = vec![record(1, writes(), None), record(2, vec![put("x", "y", 0)], None)];
    records.extend((3..).zip(sysops()).map(|(seq, (_, sysop))| record(seq, vec![], Some(sysop))));
    let batch = Batch { term: 2, base_revision: Revision(2), wall_clock_ms: 5, records };
    state.apply(Lsn(9), 2, &batch);
    vec![("fresh", fresh), ("used", state.encode())]
}

/// Who should hold which keys.
pub fn routes(data: &[u8]) {
    let read = |bytes: Vec<u8>| {
        let mut reader = Reader::new(Bytes::from(bytes));
        let routes = read_routes(&mut reader)?;
        reader.end("routes").map(|()| routes)
    };
    let Ok(routes) = read(data.to_vec()) else { return };
    let mut encoded = Vec::new();
    put_routes(&routes, &mut encoded);
    assert_eq!(read(encoded), Ok(routes));
}

pub fn routes_seeds() -> Seeds {
    let encoded = |routes: &Routes| {
        let mut out = Vec::new();
        put_routes(routes, &mut out);
        out
    };
    vec![
        ("none", encoded(&Routes::default())),
        ("some", encoded(&some_routes())),
        ("more", encoded(&more_routes())),
    ]
}

/// A range of keys, held against what etcd says of its two fields, at each of some keys.
///
///     key | range end | from | to | probes ...          each a length below 8 and so many bytes
pub fn key_range(data: &[u8]) {
    let mut rest = data;
    let mut text = || {
        let (&length, behind) = rest.split_first()?;
        let (text, behind) = behind.split_at(usize::from(length % 8).min(behind.len()));
        rest = behind;
        Some(Bytes::copy_from_slice(text))
    };
    let (Some(key), Some(range_end)) = (text(), text()) else { return };
    let (from, to) = (text().unwrap_or_default(), text().filter(|to| !to.is_empty()));
    let keys = KeyRange::from_wire(key.clone(), range_end.clone());
    let clipped = keys.clip(&from, to.as_ref());
    let mut probes = vec![key.clone(), range_end.clone(), from.clone(), Bytes::new()];
    probes.extend(to.clone());
    probes.extend(std::iter::from_fn(text));
    // The least key behind each, too.
    probes.extend(probes.clone().iter().map(|probe| [probe, &b"\0"[..]].concat().into()));
    for probe in probes {
        let meant = match &range_end[..] {
            b"" => probe == key,
            b"\0" => key <= probe,
            _ => key <= probe && probe < range_end,
        };
        assert_eq!(keys.contains(&probe), meant, "{keys:?} {probe:?}");
        assert!(!meant || !keys.is_empty(), "{keys:?} {probe:?}");
        assert!(!meant || *keys.start() <= probe, "{keys:?} {probe:?}");
        let within = from <= probe && to.as_ref().is_none_or(|to| probe < *to);
        let shared = clipped.as_ref().is_some_and(|clipped| clipped.contains(&probe));
        assert_eq!(shared, meant && within, "{keys:?} in {from:?} to {to:?}: {probe:?}");
    }
}

pub fn key_range_seeds() -> Seeds {
    vec![
        ("single", b"\x01b\x00\x01a\x01c\x01b\x02ba".to_vec()),
        ("range", b"\x01b\x01d\x01c\x01e\x01c\x01d\x01b".to_vec()),
        ("from", b"\x01b\x01\x00\x00\x00\x01a\x03zzz".to_vec()),
        ("all", b"\x01\x00\x01\x00\x01a\x01b\x01\x00\x02\xff\xff".to_vec()),
        ("reversed", b"\x01d\x01b\x01b\x01d\x01c".to_vec()),
    ]
}
