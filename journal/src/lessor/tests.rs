//! When leases end, one rule a test. That none ends early under any order of events is a property of the
//! sequencer's `lease_model`.

use super::*;

const LEASE: LeaseId = LeaseId(7);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn lease(granted_seconds: i64, remaining_seconds: Option<i64>) -> Lease {
    Lease { granted_seconds, remaining_seconds }
}

fn granted(ttl_seconds: i64) -> Lessor {
    let mut lessor = Lessor::default();
    lessor.granted(LEASE, ttl_seconds, at(0));
    lessor
}

#[test]
fn a_lease_ends_when_its_time_is_over_and_not_before() {
    let mut lessor = granted(10);
    assert_eq!(lessor.wake_at(), Some(at(10)));
    assert_eq!(lessor.expired(at(10) - Duration::from_nanos(1), 9), []);
    assert_eq!(lessor.expired(at(10), 9), [LEASE]);
}

#[test]
fn a_keep_alive_starts_the_time_again() {
    let mut lessor = granted(10);
    assert_eq!(lessor.renew(LEASE, at(9)), Renewal::Renewed { ttl_seconds: 10 });
    assert_eq!(lessor.expired(at(18), 9), []);
    assert_eq!(lessor.wake_at(), Some(at(19)));
    assert_eq!(lessor.expired(at(19), 9), [LEASE]);
}

#[test]
fn a_frozen_lease_is_not_renewed_and_has_nothing_left() {
    let mut lessor = granted(10);
    lessor.expired(at(10), 9);
    assert!(lessor.is_frozen(LEASE));
    assert_eq!(lessor.renew(LEASE, at(10)), Renewal::NotFound);
    let status = LeaseStatus { granted_seconds: 10, remaining_seconds: 0 };
    assert_eq!(lessor.status(LEASE, at(10)), Some(status));
}

#[test]
fn leases_are_told_with_when_they_end() {
    const OTHER: LeaseId = LeaseId(1);
    let mut lessor = granted(10);
    lessor.granted(OTHER, 5, at(0));
    let ends = |lessor: &Lessor| {
        let mut ends: Vec<_> = lessor.ends().collect();
        ends.sort_unstable();
        ends
    };
    assert_eq!(ends(&lessor), [(at(5), OTHER), (at(10), LEASE)]);
    lessor.renew(OTHER, at(5));
    assert_eq!(ends(&lessor), [(at(10), OTHER), (at(10), LEASE)]);
    lessor.renew(OTHER, at(7));
    assert_eq!(ends(&lessor), [(at(10), LEASE), (at(12), OTHER)]);
    assert_eq!(lessor.expired(at(12), 9), [OTHER, LEASE]);
    lessor.renew(OTHER, at(12));
    assert_eq!(ends(&lessor), [(at(0), OTHER), (at(0), LEASE)]);
}

#[test]
fn a_frozen_lease_is_handed_out_again_until_it_is_revoked() {
    let mut lessor = granted(10);
    assert_eq!(lessor.expired(at(10), 9), [LEASE]);
    assert_eq!(lessor.expired(at(14), 9), []);
    assert_eq!(lessor.expired(at(15), 9), [LEASE]);
    lessor.revoked(LEASE);
    assert_eq!(lessor.expired(at(60), 9), []);
    assert_eq!(lessor.wake_at(), None);
}

#[test]
fn many_leases_end_in_parts() {
    let mut lessor = Lessor::default();
    (1..=100_000).for_each(|id| lessor.granted(LeaseId(id), 10, at(0)));
    let mut parts =
        std::iter::from_fn(|| Some(lessor.expired(at(11), 10_000)).filter(|part| !part.is_empty()));
    assert!(parts.by_ref().take(10).all(|part| part.len() == 10_000));
    assert!(parts.next().is_none(), "each is handed out once");
}

#[test]
fn what_is_left_is_told_in_whole_seconds() {
    let lessor = granted(10);
    let status = lessor.status(LEASE, Duration::from_millis(3_100)).unwrap();
    assert_eq!(status, LeaseStatus { granted_seconds: 10, remaining_seconds: 6 });
}

#[test]
fn a_new_leader_gives_the_whole_time_again() {
    let mut lessor = Lessor::start([(&LEASE, &lease(10, None))], at(100));
    assert_eq!(lessor.expired(at(109), 9), []);
    assert_eq!(lessor.expired(at(110), 9), [LEASE]);
}

#[test]
fn a_new_leader_goes_on_from_a_checkpoint() {
    let mut lessor = Lessor::start([(&LEASE, &lease(3600, Some(700)))], at(100));
    assert_eq!(lessor.expired(at(799), 9), []);
    assert_eq!(lessor.expired(at(800), 9), [LEASE]);
}

#[test]
fn long_leases_are_written_down_every_five_minutes() {
    let mut lessor = granted(1000);
    assert_eq!(lessor.checkpoints(at(299), 9), []);
    assert_eq!(lessor.checkpoints(at(300), 9), [(LEASE, 700)]);
    assert_eq!(lessor.checkpoints(at(301), 9), []);
    assert_eq!(lessor.checkpoints(at(600), 9), [(LEASE, 400)]);
    assert_eq!(lessor.checkpoints(at(900), 9), [(LEASE, 100)]);
    assert_eq!(lessor.checkpoints(at(999), 9), []);
}

#[test]
fn short_leases_are_not_written_down() {
    let mut lessor = granted(300);
    assert_eq!(lessor.checkpoints(at(299), 9), []);
    assert_eq!(lessor.wake_at(), Some(at(300)));
}

#[test]
fn what_is_written_down_is_rounded_up() {
    let mut lessor = granted(1000);
    assert_eq!(lessor.checkpoints(Duration::from_millis(300_001), 9), [(LEASE, 700)]);
}

#[test]
fn a_keep_alive_waits_until_the_checkpoint_is_taken_back() {
    let mut lessor = granted(1000);
    lessor.checkpoints(at(300), 9);
    let first = Renewal::CheckpointFirst { checkpoint: 1 };
    assert_eq!(lessor.renew(LEASE, at(301)), first);
    lessor.checkpoint_taken_back(LEASE, 1);
    assert_eq!(lessor.renew(LEASE, at(302)), Renewal::Renewed { ttl_seconds: 1000 });
}

#[test]
fn a_checkpoint_written_meanwhile_must_be_taken_back_too() {
    let mut lessor = granted(1000);
    lessor.checkpoints(at(300), 9);
    lessor.checkpoints(at(600), 9);
    lessor.checkpoint_taken_back(LEASE, 1);
    assert!(matches!(lessor.renew(LEASE, at(601)), Renewal::CheckpointFirst { .. }));
}

#[test]
fn a_lease_granted_again_is_a_new_one() {
    let mut lessor = granted(1000);
    lessor.checkpoints(at(300), 9);
    lessor.revoked(LEASE);
    lessor.granted(LEASE, 10, at(301));
    assert_eq!(lessor.renew(LEASE, at(302)), Renewal::Renewed { ttl_seconds: 10 });
    assert_eq!(lessor.wake_at(), Some(at(311)));
}
