//! What the sequencer answers about leases, one rule a test.

use super::*;

#[test]
fn a_put_on_a_lease_that_is_not_there_is_refused() {
    let mut world = World::new();
    let answer = world.append(put_with_lease(1, "a", LeaseId(5)));
    assert_eq!(answer, Answer::OnceConfirmed(1, Verdict::LeaseNotFound(LeaseId(5))));
}

#[test]
fn a_lease_on_its_way_is_there_for_what_comes_after_it() {
    let mut world = World::new();
    world.append(grant(1, 5));
    assert_eq!(world.append(put_with_lease(2, "a", LeaseId(5))), Answer::Later);
    assert_eq!(world.append(revoke(3, 5, None)), Answer::Later);
    assert_eq!(world.append(put_with_lease(4, "a", LeaseId(5))), Answer::Later);
    let verdicts = world.commit_all();
    assert!(verdicts[..3].iter().all(|verdict| matches!(verdict, Verdict::Committed { .. })));
    assert_eq!(verdicts[3..], [Verdict::LeaseNotFound(LeaseId(5))]);
}

#[test]
fn a_verdict_that_rests_on_a_lost_record_is_not_given() {
    let mut world = World::new();
    world.append(grant(1, 5));
    world.take();
    assert_eq!(world.append(grant(2, 5)), Answer::Later);
    let lost = world.sequencer.lost();
    assert_eq!(lost, [(1, Verdict::Unknown), (2, Verdict::NotLeader { hint: None })]);
}

#[test]
fn a_lease_is_granted_once() {
    let mut world = World::new();
    world.append(grant(1, 5));
    world.append(grant(2, 5));
    assert_eq!(world.commit_all()[1], Verdict::LeaseExists(LeaseId(5)));
    assert_eq!(world.append(grant(3, 5)), Answer::OnceConfirmed(3, Verdict::LeaseExists(LeaseId(5))));
    world.append(revoke(4, 5, None));
    assert_eq!(world.append(grant(5, 5)), Answer::Later);
}

#[test]
fn a_lease_that_is_not_there_cannot_be_revoked() {
    let mut world = World::new();
    assert_eq!(refused(world.append(revoke(1, 5, None))), Verdict::LeaseNotFound(LeaseId(5)));
}

/// With the lease 5, which has ended and is handed out.
fn with_an_ended_lease() -> World {
    let mut world = World::new();
    world.append(grant(1, 5));
    world.commit_all();
    world.now = Duration::from_secs(10);
    assert_eq!(world.sequencer.expired(world.now), [Expired { lease: LeaseId(5), term: TERM }]);
    world
}

#[test]
fn a_lease_that_ended_is_revoked() {
    let mut world = with_an_ended_lease();
    assert_eq!(world.append(revoke(2, 5, Some(TERM))), Answer::Later);
}

#[test]
fn a_lease_that_ended_under_another_leader_is_not_revoked() {
    let not_found = Verdict::LeaseNotFound(LeaseId(5));
    let mut world = with_an_ended_lease();
    assert_eq!(refused(world.append(revoke(2, 5, Some(TERM - 1)))), not_found);
    world.sequencer = Sequencer::start(TERM, &world.state, limits(), world.now);
    assert_eq!(refused(world.append(revoke(3, 5, Some(TERM)))), not_found);
}

#[test]
fn a_lease_that_ended_and_was_granted_again_is_another() {
    let mut world = with_an_ended_lease();
    world.append(revoke(2, 5, Some(TERM)));
    world.append(grant(3, 5));
    assert_eq!(refused(world.append(revoke(4, 5, Some(TERM)))), Verdict::LeaseNotFound(LeaseId(5)));
    assert_eq!(world.append(put_with_lease(5, "a", LeaseId(5))), Answer::Later);
    world.commit_all();
    assert_eq!(refused(world.append(revoke(6, 5, Some(TERM)))), Verdict::LeaseNotFound(LeaseId(5)));
}

#[test]
fn a_lease_that_ended_and_is_gone_is_not_found() {
    let mut world = with_an_ended_lease();
    world.append(revoke(2, 5, None));
    world.commit_all();
    assert_eq!(refused(world.append(revoke(3, 5, Some(TERM)))), Verdict::LeaseNotFound(LeaseId(5)));
}

#[test]
fn a_stale_footprint_is_told_before_a_missing_lease() {
    let mut world = World::new();
    world.put(1, "guard");
    let stale = reading(put_with_lease(2, "a", LeaseId(5)), single("guard"), Revision(1));
    assert_eq!(refused(world.append(stale)), Verdict::Conflict { wait: Revision(2) });
}

#[test]
fn attaching_to_a_lease_conflicts_with_its_revocation() {
    let mut world = World::new();
    world.append(grant(1, 5));
    world.commit_all();
    world.append(put_with_lease(2, "a", LeaseId(5)));
    let mut stale = revoke(3, 5, None);
    stale.reads.push(Read::Lease { lease: LeaseId(5), at: Revision(1) });
    assert_eq!(refused(world.append(stale)), Verdict::Conflict { wait: Revision(2) });
}

/// Refused for a moment: the lease begins anew where its end is lost with this leader.
#[test]
fn a_lease_that_has_ended_is_held_by_its_end() {
    let mut world = with_an_ended_lease();
    assert_eq!(refused(world.append(put_with_lease(2, "a", LeaseId(5)))), Verdict::Reserved);
    assert_eq!(world.sequencer.keep_alive(LeaseId(5), 0, world.now), KeepAlive::NotFound(0));
}

#[test]
fn a_keep_alive_after_a_checkpoint_waits_for_the_journal() {
    let mut world = World::new();
    world.append(system(1, SysOp::LeaseGrant { lease: LeaseId(5), ttl_seconds: 1000 }));
    world.commit_all();
    world.now = Duration::from_secs(300);
    world.sequencer.tick(world.now);
    world.commit_all();
    assert_eq!(world.state.leases()[&LeaseId(5)].remaining_seconds, Some(700));
    assert_eq!(world.sequencer.keep_alive(LeaseId(5), 77, world.now), KeepAlive::Later);
    assert_eq!(world.commit_all().len(), 1);
    assert_eq!(world.state.leases()[&LeaseId(5)].remaining_seconds, None);
    assert_eq!(world.sequencer.keep_alive(LeaseId(5), 77, world.now), KeepAlive::Renewed(77, 1000));
}

#[test]
fn taking_back_a_checkpoint_is_not_for_the_next_lease_of_that_name() {
    let mut world = World::new();
    let grant = |seq| system(seq, SysOp::LeaseGrant { lease: LeaseId(5), ttl_seconds: 1000 });
    world.append(grant(1));
    world.commit_all();
    world.now = Duration::from_secs(300);
    world.sequencer.tick(world.now);
    world.commit_all();
    world.append(revoke(2, 5, None));
    world.append(grant(3));
    assert_eq!(world.sequencer.keep_alive(LeaseId(5), 77, world.now), KeepAlive::Later);
    world.commit_all();
    world.now = Duration::from_secs(600);
    world.sequencer.tick(world.now);
    assert_eq!(world.sequencer.keep_alive(LeaseId(5), 77, world.now), KeepAlive::Later);
}

#[test]
fn taking_back_a_checkpoint_leaves_the_next_lease_of_that_name_its_time() {
    let mut world = World::new();
    let grant = |seq, ttl_seconds| system(seq, SysOp::LeaseGrant { lease: LeaseId(5), ttl_seconds });
    world.append(grant(1, 700));
    world.commit_all();
    world.now = Duration::from_secs(300);
    world.sequencer.tick(world.now);
    world.append(revoke(2, 5, None));
    world.append(grant(3, 1000));
    assert_eq!(world.sequencer.keep_alive(LeaseId(5), 77, world.now), KeepAlive::Later);
    world.commit_all();
    assert_eq!(world.state.leases()[&LeaseId(5)].remaining_seconds, None);
}

#[test]
fn a_request_that_waits_for_its_refusal_is_on_its_way() {
    let mut world = World::new();
    world.append(grant(1, 5));
    assert_eq!(world.append(grant(2, 5)), Answer::Later);
    world.append(revoke(3, 5, None));
    assert_eq!(refused(world.append(grant(2, 5))), Verdict::Unknown);
    assert_eq!(world.sequencer.fate(origin(2), &world.state), Fate::Pending);
    assert_eq!(world.commit_all()[1], Verdict::LeaseExists(LeaseId(5)));
    assert_eq!(world.sequencer.fate(origin(2), &world.state), Fate::Never);
}
