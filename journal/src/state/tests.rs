//! The state machine's rules, and that it comes back as it was.

use super::*;
use crate::record::Write;
use crate::routes::tests::any_routes;
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

fn tiny() -> dedup::Limits {
    dedup::Limits { lsn_distance: 4, outcomes_max: 6, frontend_distance: 12, frontends_idle_max: 2 }
}

fn record(origin: Origin, writes: usize, sysop: Option<SysOp>) -> Record {
    let writes = (0..writes).map(|n| Write::Delete { key: Bytes::from(vec![b'a'; n + 1]) }).collect();
    Record { origin, writes, sysop }
}

/// Routes get the version that the sequencer would have asked for.
fn apply(state: &mut State, term: u64, mut records: Vec<Record>) -> Applied {
    let mut version = state.routes().version();
    for record in &mut records {
        if let Some(SysOp::Routes(routes)) = &mut record.sysop {
            *routes = Routes::clone(routes).at(version + 1).into();
            version += 1;
        }
    }
    let base_revision = state.revision().next();
    let batch = Batch { term, base_revision, wall_clock_ms: 0, records };
    state.apply(state.applied().next(), term, &batch)
}

fn sysop(state: &mut State, sysop: SysOp) {
    let term = state.term();
    apply(state, term, vec![record(Origin::default(), 0, Some(sysop))]);
}

fn origin(frontend: u64, seq: u64) -> Origin {
    Origin { frontend, seq, attempt: 1 }
}

/// Commits one request of the frontend.
fn commit(state: &mut State, frontend: u64, seq: u64) {
    apply(state, 1, vec![record(origin(frontend, seq), 1, None)]);
}

#[test]
fn only_records_that_change_keys_advance_the_revision() {
    let mut state = State::default();
    let grant = SysOp::LeaseGrant { lease: LeaseId(7), ttl_seconds: 60 };
    let records = vec![
        record(origin(1, 1), 2, None),
        record(origin(1, 2), 0, Some(grant)),
        record(origin(1, 3), 1, Some(SysOp::LeaseRevoke { lease: LeaseId(7), expired_in: None })),
    ];
    let outcome = |revision| Outcome { lsn: Lsn(1), revision: Revision(revision), term: 1, attempt: 1 };
    let expected = vec![outcome(2), outcome(2), outcome(3)];
    assert_eq!(apply(&mut state, 1, records), Applied::Records(expected));
    assert_eq!(state.revision(), Revision(3));
}

#[test]
fn a_batch_of_another_term_is_void() {
    let mut state = State::default();
    commit(&mut state, 1, 1);
    let mut expected = state.clone();
    let records = vec![record(origin(1, 2), 1, None)];
    let batch = Batch { term: 1, base_revision: Revision(3), wall_clock_ms: 0, records };
    assert_eq!(state.apply(Lsn(2), 2, &batch), Applied::Void);
    expected.skip(Lsn(2), 2);
    assert_eq!(state, expected);
}

#[test]
fn a_checkpoint_of_the_whole_time_takes_earlier_ones_back() {
    let mut state = State::default();
    sysop(&mut state, SysOp::LeaseGrant { lease: LeaseId(7), ttl_seconds: 600 });
    let remaining = |state: &State| state.leases()[&LeaseId(7)].remaining_seconds;
    let checkpoint = |seconds| SysOp::LeaseCheckpoint { remaining_seconds: vec![(LeaseId(7), seconds)] };
    sysop(&mut state, checkpoint(300));
    assert_eq!(remaining(&state), Some(300));
    sysop(&mut state, checkpoint(600));
    assert_eq!(remaining(&state), None);
    sysop(&mut state, checkpoint(9999));
    assert_eq!(remaining(&state), None);
}

#[test]
fn a_checkpoint_of_a_lease_that_is_gone_does_nothing() {
    let mut state = State::default();
    sysop(&mut state, SysOp::LeaseCheckpoint { remaining_seconds: vec![(LeaseId(7), 3)] });
    assert!(state.leases().is_empty());
}

#[test]
fn compaction_never_goes_back() {
    let mut state = State::default();
    sysop(&mut state, SysOp::Compact { revision: Revision(9) });
    sysop(&mut state, SysOp::Compact { revision: Revision(5) });
    assert_eq!(state.compacted(), Revision(9));
}

#[test]
fn a_request_is_known_for_a_distance_and_then_forgotten() {
    let mut state = State::new(tiny());
    commit(&mut state, 1, 1);
    (2..=5).for_each(|seq| commit(&mut state, 2, seq));
    assert!(matches!(state.known(origin(1, 1)), Known::Committed(_)));
    commit(&mut state, 2, 6);
    assert_eq!(state.known(origin(1, 1)), Known::Forgotten);
    assert_eq!(state.known(origin(1, 2)), Known::No);
}

#[test]
fn too_many_requests_at_once_are_forgotten_early() {
    let mut state = State::new(tiny());
    apply(&mut state, 1, (1..=7).map(|seq| record(origin(1, seq), 1, None)).collect());
    assert_eq!(state.known(origin(1, 1)), Known::Forgotten);
    assert!(matches!(state.known(origin(1, 2)), Known::Committed(_)));
}

#[test]
fn a_frontend_is_forgotten_long_after_its_requests() {
    let mut state = State::new(tiny());
    commit(&mut state, 1, 1);
    (2..=13).for_each(|seq| commit(&mut state, 2, seq));
    assert_eq!(state.known(origin(1, 1)), Known::Forgotten);
    commit(&mut state, 2, 14);
    assert_eq!(state.known(origin(1, 1)), Known::No);
}

fn any_record() -> impl Strategy<Value = (u64, usize, Option<SysOp>)> {
    let lease = || (0i64..4).prop_map(LeaseId);
    let edge = || (0u8..4).prop_map(|n| if n == 0 { Bytes::new() } else { Bytes::from(vec![n]) });
    let alarm = || (0u64..3, prop_oneof![Just(Alarm::NoSpace), Just(Alarm::Corrupt)]);
    let sysop = prop_oneof![
        (lease(), 1i64..99).prop_map(|(lease, ttl_seconds)| SysOp::LeaseGrant { lease, ttl_seconds }),
        lease().prop_map(|lease| SysOp::LeaseRevoke { lease, expired_in: None }),
        vec((lease(), 1i64..99), 0..3)
            .prop_map(|remaining_seconds| SysOp::LeaseCheckpoint { remaining_seconds }),
        (0u64..30).prop_map(|revision| SysOp::Compact { revision: Revision(revision) }),
        alarm().prop_map(|(member, alarm)| SysOp::AlarmRaise { member, alarm }),
        alarm().prop_map(|(member, alarm)| SysOp::AlarmClear { member, alarm }),
        (edge(), edge(), 0u64..30, any::<u64>()).prop_map(|(start, end, lsn, set_hash)| {
            SysOp::SnapshotMark { start, end, lsn: Lsn(lsn), revision: Revision(lsn), set_hash }
        }),
        any_routes().prop_map(|routes| SysOp::Routes(routes.into())),
    ];
    (0u64..5, 0usize..3, proptest::option::of(sysop))
}

proptest! {
    /// I2, and that a node which starts from a snapshot goes on exactly like one that does not.
    #[test]
    fn a_state_comes_back_as_it_was_and_goes_on_alike(
        before in vec(vec(any_record(), 0..4), 0..20), after in vec(vec(any_record(), 0..4), 0..20)
    ) {
        let mut seqs = 0;
        let mut number = |batch: &[(u64, usize, Option<SysOp>)]| -> Vec<Record> {
            batch.iter().map(|(frontend, writes, sysop)| {
                seqs += 1;
                record(origin(*frontend, seqs), *writes, sysop.clone())
            }).collect()
        };
        let mut state = State::new(tiny());
        for batch in &before {
            let records = number(batch);
            apply(&mut state, 1, records);
        }
        let mut restored = State::decode(Bytes::from(state.encode())).unwrap();
        prop_assert_eq!(restored.encode(), state.encode());
        for batch in &after {
            let records = number(batch);
            let applied = apply(&mut state, 1, records.clone());
            prop_assert_eq!(apply(&mut restored, 1, records), applied);
        }
        prop_assert_eq!(restored.encode(), state.encode());
        for seq in 0..=seqs {
            for frontend in 0..5 {
                prop_assert_eq!(restored.known(origin(frontend, seq)), state.known(origin(frontend, seq)));
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = State::decode(Bytes::from(bytes.clone()));
        for version in [1, 2] {
            let mut bytes = bytes.clone();
            bytes.insert(0, version);
            let _ = State::decode(Bytes::from(bytes));
        }
    }

    #[test]
    fn a_damaged_state_never_panics(
        batches in vec(vec(any_record(), 0..4), 0..10), at: prop::sample::Index, byte: u8
    ) {
        let mut state = State::new(tiny());
        for (n, batch) in batches.iter().enumerate() {
            let records = batch.iter().enumerate().map(|(m, (frontend, writes, sysop))| {
                record(origin(*frontend, (n * 10 + m) as u64), *writes, sysop.clone())
            });
            apply(&mut state, 1, records.collect());
        }
        let mut bytes = state.encode();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = State::decode(Bytes::from(bytes));
    }
}

#[test]
fn marks_of_the_same_position_come_back_all() {
    let mut state = State::default();
    for end in [&b"b"[..], b"a"] {
        let end = Bytes::copy_from_slice(end);
        let (lsn, revision) = (Lsn(3), Revision(1));
        sysop(&mut state, SysOp::SnapshotMark { start: Bytes::new(), end, lsn, revision, set_hash: 0 });
    }
    assert_eq!(state.marks().iter().len(), 2);
    assert_eq!(State::decode(Bytes::from(state.encode())), Ok(state));
}

#[test]
fn a_state_of_a_later_version_is_named_and_not_misread() {
    let mut bytes = State::default().encode();
    bytes[0] = 3;
    let error = State::decode(Bytes::from(bytes)).unwrap_err();
    assert_eq!(error.to_string(), "state version 3 is not known to this version: a newer one wrote it");
}

/// Bytes of the version before there were routes: a node that restarts has them.
#[test]
fn a_state_without_routes_is_written_and_read_as_before() {
    let mut state = State::default();
    sysop(&mut state, SysOp::Compact { revision: Revision(1) });
    let old = state.encode();
    assert_eq!(old[0], 1);
    assert_eq!(State::decode(Bytes::from(old)), Ok(state.clone()));
    let routes = Routes::default().begin(&[]).unwrap();
    sysop(&mut state, SysOp::Routes(routes.clone().into()));
    assert_eq!(state.encode()[0], 2);
    let restored = State::decode(Bytes::from(state.encode())).unwrap();
    assert_eq!(**restored.routes(), routes);
}

#[test]
fn a_batch_that_rests_on_a_refused_one_is_void() {
    let mut state = State::default();
    commit(&mut state, 1, 1);
    let batch = |base_revision, seq| {
        let records = vec![record(origin(1, seq), 1, None)];
        Batch { term: 1, base_revision: Revision(base_revision), wall_clock_ms: 0, records }
    };
    // One before it was to be revision 3, and the next one comes as if it had not been there.
    assert_eq!(state.apply(Lsn(2), 1, &batch(4, 3)), Applied::Void);
    assert_eq!(state.apply(Lsn(3), 1, &batch(2, 3)), Applied::Void);
    assert_eq!((state.applied(), state.revision()), (Lsn(3), Revision(2)));
    assert_eq!(state.known(origin(1, 3)), Known::No, "it has never happened");
    assert!(matches!(state.apply(Lsn(4), 1, &batch(3, 3)), Applied::Records(_)));
    assert_eq!(State::decode(state.encode().into()).unwrap(), state);
}

#[test]
fn routes_that_rest_on_refused_ones_stay_as_they_are() {
    let mut state = State::default();
    let later = Routes::clone(state.routes()).at(2).into();
    let records = vec![record(origin(1, 1), 0, Some(SysOp::Routes(later)))];
    let base_revision = state.revision().next();
    state.apply(Lsn(1), 1, &Batch { term: 1, base_revision, wall_clock_ms: 0, records });
    assert_eq!(state.routes().version(), 0);
}
