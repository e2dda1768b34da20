//! The codec's promises, as properties.

use super::*;
use crate::lsn::Lsn;
use crate::record::Alarm;
use crate::routes::tests::any_routes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn any_bytes() -> impl Strategy<Value = Bytes> {
    // Few letters, so that neighbours share prefixes.
    prop_oneof![vec(b'a'..b'd', 0..6), vec(any::<u8>(), 0..40)].prop_map(Bytes::from)
}

fn any_lease() -> impl Strategy<Value = LeaseId> {
    any::<i64>().prop_map(LeaseId)
}

fn any_alarm() -> impl Strategy<Value = Alarm> {
    prop_oneof![Just(Alarm::NoSpace), Just(Alarm::Corrupt)]
}

fn any_write() -> impl Strategy<Value = Write> {
    prop_oneof![
        (any_bytes(), any_bytes(), prop_oneof![Just(LeaseId::NONE), any_lease()])
            .prop_map(|(key, value, lease)| Write::Put { key, value, lease }),
        any_bytes().prop_map(|key| Write::Delete { key }),
    ]
}

fn any_sysop() -> impl Strategy<Value = SysOp> {
    prop_oneof![
        (any_lease(), any::<i64>()).prop_map(|(lease, ttl_seconds)| SysOp::LeaseGrant { lease, ttl_seconds }),
        (any_lease(), option::of(any::<u64>()))
            .prop_map(|(lease, expired_in)| SysOp::LeaseRevoke { lease, expired_in }),
        vec((any_lease(), any::<i64>()), 0..5)
            .prop_map(|remaining_seconds| SysOp::LeaseCheckpoint { remaining_seconds }),
        any::<u64>().prop_map(|revision| SysOp::Compact { revision: Revision(revision) }),
        (any::<u64>(), any_alarm()).prop_map(|(member, alarm)| SysOp::AlarmRaise { member, alarm }),
        (any::<u64>(), any_alarm()).prop_map(|(member, alarm)| SysOp::AlarmClear { member, alarm }),
        (any_bytes(), any_bytes(), any::<u64>(), any::<u64>(), any::<u64>()).prop_map(
            |(start, end, lsn, revision, set_hash)| SysOp::SnapshotMark {
                start,
                end,
                lsn: Lsn(lsn),
                revision: Revision(revision),
                set_hash,
            }
        ),
        any_routes().prop_map(|routes| SysOp::Routes(routes.into())),
    ]
}

fn any_record() -> impl Strategy<Value = Record> {
    let origin = (any::<u64>(), any::<u64>(), any::<u32>());
    (origin, vec(any_write(), 0..8), option::of(any_sysop())).prop_map(
        |((frontend, seq, attempt), writes, sysop)| Record {
            origin: Origin { frontend, seq, attempt },
            writes,
            sysop,
        },
    )
}

pub(crate) fn any_batch() -> impl Strategy<Value = Batch> {
    (any::<u64>(), 1..1u64 << 62, any::<u64>(), vec(any_record(), 0..6)).prop_map(
        |(term, base, wall_clock_ms, records)| Batch {
            term,
            base_revision: Revision(base),
            wall_clock_ms,
            records,
        },
    )
}

fn encoded(batch: &Batch) -> Vec<u8> {
    let mut out = Vec::new();
    encode_batch(batch, &mut out);
    out
}

fn deletes(keys: &[String]) -> Batch {
    let writes = keys.iter().map(|key| Write::Delete { key: Bytes::from(key.clone()) }).collect();
    let records = vec![Record { origin: Origin::default(), writes, sysop: None }];
    Batch { term: 1, base_revision: Revision(2), wall_clock_ms: 0, records }
}

proptest! {
    #[test]
    fn a_batch_comes_back_as_it_was(batch in any_batch()) {
        let bytes = encoded(&batch);
        prop_assert_eq!(batch_bytes(&batch), bytes.len());
        prop_assert_eq!(decode_batch(Bytes::from(bytes)), Ok(batch));
    }

    #[test]
    fn a_record_takes_what_it_says(batch in any_batch(), record in any_record()) {
        let before = encoded(&batch).len();
        let mut longer = batch;
        longer.records.push(record);
        prop_assert_eq!(encoded(&longer).len() - before, record_bytes(longer.records.last().unwrap()));
    }

    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in vec(any::<u8>(), 0..200)) {
        let _ = decode_batch(Bytes::from(bytes.clone()));
        if let Some(first) = bytes.first_mut() {
            *first = VERSION;
        }
        let _ = decode_batch(Bytes::from(bytes));
    }

    #[test]
    fn a_damaged_batch_never_panics(batch in any_batch(), at: prop::sample::Index, byte: u8) {
        let mut bytes = encoded(&batch);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = decode_batch(Bytes::from(bytes));
    }

    #[test]
    fn a_part_of_a_batch_is_refused(batch in any_batch(), at: prop::sample::Index) {
        let bytes = encoded(&batch);
        let at = at.index(bytes.len());
        prop_assert!(decode_batch(Bytes::from(bytes).slice(..at)).is_err());
    }
}

#[test]
fn puts_share_the_memory_they_came_in() {
    let writes = vec![Write::Put { key: "k".into(), value: "value".into(), lease: LeaseId(7) }];
    let records = vec![Record { origin: Origin::default(), writes, sysop: None }];
    let batch = Batch { term: 1, base_revision: Revision(2), wall_clock_ms: 0, records };
    let bytes = Bytes::from(encoded(&batch));
    let decoded = decode_batch(bytes.clone()).unwrap();
    let Write::Put { value, .. } = &decoded.records[0].writes[0] else { panic!("a put") };
    assert!(bytes.as_ptr_range().contains(&value.as_ptr()));
}

#[test]
fn neighbouring_deletes_share_their_prefix() {
    let keys: Vec<String> = (0..1000).map(|n| format!("/registry/pods/namespace/pod-{n:06}")).collect();
    let batch = deletes(&keys);
    let bytes = encoded(&batch);
    assert!(bytes.len() < 1000 * 8, "{} bytes for 1000 keys", bytes.len());
    assert_eq!(decode_batch(Bytes::from(bytes)), Ok(batch));
}

#[test]
fn a_later_version_is_named_and_not_misread() {
    let mut bytes = encoded(&deletes(&[]));
    bytes[0] = VERSION + 1;
    let error = decode_batch(Bytes::from(bytes)).unwrap_err();
    assert_eq!(error.to_string(), "batch version 2 is not known to this version: a newer one wrote it");
}

#[test]
fn an_unknown_sysop_is_named_and_not_misread() {
    let mut bytes = encoded(&deletes(&[]));
    assert_eq!(bytes.pop(), Some(0), "the batch ends with its record's kind of sysop");
    bytes.extend([200, 3, 1, 2, 3]);
    let error = decode_batch(Bytes::from(bytes)).unwrap_err();
    assert_eq!(error, DecodeError::Newer { what: "kind of sysop", found: 200 });
}

#[test]
fn a_sysop_with_something_behind_it_is_refused() {
    let mut batch = deletes(&[]);
    batch.records[0].sysop = Some(SysOp::Compact { revision: Revision(5) });
    let mut bytes = encoded(&batch);
    let end = bytes.len();
    assert_eq!(bytes[end - 2..], [1, 5]);
    bytes[end - 2] = 2;
    bytes.push(9);
    assert!(matches!(decode_batch(Bytes::from(bytes)), Err(DecodeError::Malformed { .. })));
}

#[test]
fn a_revision_that_would_run_over_is_refused() {
    let mut batch = deletes(&["a".into()]);
    batch.base_revision = Revision(u64::MAX);
    assert!(decode_batch(Bytes::from(encoded(&batch))).is_err());
    batch.base_revision = Revision::ZERO;
    assert!(decode_batch(Bytes::from(encoded(&batch))).is_err());
}
