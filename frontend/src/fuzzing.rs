//! What a fuzzer calls: each target takes any bytes, and panics where a promise is broken. Only tests build this.

use bytes::Bytes;
use prost::Message;
use proto::etcdserverpb as wire;
use wire::compare::TargetUnion;
use wire::request_op::Request;

use crate::etcd::validate;
use crate::evaluate::serial::{self, Step};
use crate::grpc::frames::Frames;

pub use crate::gateway::fuzzing::{gateway, gateway_seeds};

/// Requests of one run: what is kept of the past grows with each.
const STEPS_MAX: usize = 16;

const PUT: u8 = 0;
const DELETE: u8 = 1;
const TXN: u8 = 2;
const COMPACT: u8 = 3;

/// Requests as gRPC brings them, read, checked, worked out and answered, each held against the model of a store.
///
///     { u8 what, u16 length, message } ...              of a compaction: eight bytes
pub fn requests(data: &[u8]) {
    let (mut rest, mut steps) = (data, Vec::new());
    while let Some((&[what, low, high], behind)) = rest.split_first_chunk::<3>()
        && steps.len() < STEPS_MAX
    {
        let length = usize::from(u16::from_le_bytes([low, high])).min(behind.len());
        let (message, behind) = behind.split_at(length);
        steps.extend(step(what % 5, message));
        rest = behind;
    }
    serial::run(steps);
}

fn step(what: u8, message: &[u8]) -> Option<Step> {
    match what {
        PUT => wire::PutRequest::decode(message).ok().map(Step::Put),
        DELETE => wire::DeleteRangeRequest::decode(message).ok().map(Step::Delete),
        TXN => wire::TxnRequest::decode(message).ok().map(Step::Txn),
        COMPACT => message.first_chunk().map(|number| Step::Compact(u64::from_le_bytes(*number))),
        _ => {
            let range = wire::RangeRequest::decode(message).ok()?;
            let _ = validate::range_stream(range.clone());
            // One alone is read on another way; what it means is the same.
            let op = wire::RequestOp { request: Some(Request::RequestRange(range)) };
            Some(Step::Txn(wire::TxnRequest { success: vec![op], ..wire::TxnRequest::default() }))
        }
    }
}

pub fn requests_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let put = |key: &'static str, value: &'static str| wire::PutRequest {
        key: key.into(),
        value: value.into(),
        prev_kv: true,
        ..wire::PutRequest::default()
    };
    let leased = wire::PutRequest { lease: 7, ignore_value: true, value: Bytes::new(), ..put("a", "") };
    let delete = |key: &'static str, range_end: &'static str| wire::DeleteRangeRequest {
        key: key.into(),
        range_end: range_end.into(),
        prev_kv: true,
    };
    let range = |key: &'static str, range_end: &'static str| wire::RangeRequest {
        key: key.into(),
        range_end: range_end.into(),
        limit: 2,
        sort_order: 2,
        sort_target: 3,
        ..wire::RangeRequest::default()
    };
    let compare = wire::Compare {
        result: 1,
        target: 2,
        key: "a".into(),
        target_union: Some(TargetUnion::ModRevision(1)),
        ..wire::Compare::default()
    };
    let ops = |requests: Vec<Request>| -> Vec<wire::RequestOp> {
        requests.into_iter().map(|request| wire::RequestOp { request: Some(request) }).collect()
    };
    let nested = wire::TxnRequest {
        compare: vec![compare.clone()],
        success: ops(vec![
            Request::RequestRange(range("\0", "\0")),
            Request::RequestDeleteRange(delete("b", "")),
        ]),
        failure: ops(vec![Request::RequestPut(put("c", "3"))]),
    };
    let txn = wire::TxnRequest {
        compare: vec![compare],
        success: ops(vec![Request::RequestPut(put("b", "2")), Request::RequestTxn(nested)]),
        failure: ops(vec![Request::RequestPut(put("a", "0"))]),
    };
    let one = |what: u8, message: Vec<u8>| {
        [&[what][..], &u16::try_from(message.len()).expect("seeds are small").to_le_bytes(), &message]
            .concat()
    };
    let first = one(PUT, put("a", "1").encode_to_vec());
    let txn = one(TXN, txn.encode_to_vec());
    let past = wire::RangeRequest { revision: 2, keys_only: true, ..range("a", "z") };
    vec![
        ("put", [first.clone(), one(PUT, leased.encode_to_vec())].concat()),
        ("delete", [first.clone(), one(DELETE, delete("a", "\0").encode_to_vec())].concat()),
        ("txn", [first.clone(), txn.clone(), txn.clone()].concat()),
        ("range", [first.clone(), txn.clone(), one(4, range("\0", "\0").encode_to_vec())].concat()),
        (
            "past",
            [first, txn, one(COMPACT, 2_u64.to_le_bytes().to_vec()), one(4, past.encode_to_vec())].concat(),
        ),
    ]
}

/// A body of gRPC: the same messages begin in it however it is cut.
///
///     u8 the size of a piece | the body
pub fn frames(data: &[u8]) {
    let Some((&size, body)) = data.split_first() else { return };
    let begun = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let (mut frames, mut begun) = (Frames::default(), Vec::new());
        for piece in pieces {
            let passed: Result<(), ()> = frames.pass(piece, |prefix| {
                begun.push(prefix);
                if begun.len() < 1_000 { Ok(()) } else { Err(()) }
            });
            if passed.is_err() {
                break;
            }
        }
        begun
    };
    assert_eq!(begun(&mut body.chunks(usize::from(size).max(1))), begun(&mut std::iter::once(body)));
}

pub fn frames_seeds() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("one", b"\x03\x00\x00\x00\x00\x03\x0a\x01a".to_vec()),
        ("two", b"\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x08\x07".to_vec()),
        ("long", b"\x01\x01\xff\xff\xff\xffabcdefgh".to_vec()),
    ]
}
