//! What the sequencer answers, one rule a test.

mod large;
mod leases;

use super::*;
use crate::key_range::KeyRange;
use crate::record::{Read, Write};
use crate::routes::Routes;
use crate::state::Applied;
use bytes::Bytes;

/// A leader, its journal and its state: batches commit when told to.
struct World {
    state: State,
    sequencer: Sequencer<u64>,
    taken: Vec<Batch>,
    now: Duration,
    waiters: u64,
}

const TERM: u64 = 3;

fn limits() -> Limits {
    Limits { slots: 1 << 10, ring_keys_max: 8, batches_max: 2, ..Limits::default() }
}

impl World {
    fn new() -> World {
        World::with(limits())
    }

    fn with(limits: Limits) -> World {
        let mut state = State::default();
        state.skip(Lsn(1), TERM);
        let sequencer = Sequencer::start(TERM, &state, limits, Duration::ZERO);
        World { state, sequencer, taken: Vec::new(), now: Duration::ZERO, waiters: 0 }
    }

    fn append(&mut self, append: Append) -> Answer<u64> {
        self.waiters += 1;
        self.sequencer.append(append, self.waiters, &self.state, self.now)
    }

    fn take(&mut self) -> bool {
        let taken = self.sequencer.take_batch(0);
        let any = taken.is_some();
        self.taken.extend(taken);
        any
    }

    fn commit_one(&mut self) -> Vec<Verdict> {
        let batch = self.taken.remove(0);
        let lsn = self.state.applied().next();
        assert!(matches!(self.state.apply(lsn, TERM, &batch), Applied::Records(_)));
        self.sequencer.committed(lsn, self.now).into_iter().map(|(_, verdict)| verdict).collect()
    }

    fn commit_all(&mut self) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        while self.take() || !self.taken.is_empty() {
            verdicts.extend(self.commit_one());
        }
        verdicts
    }

    /// Puts without reading anything, and commits.
    fn put(&mut self, seq: u64, key: &'static str) -> Revision {
        assert_eq!(self.append(put(seq, key)), Answer::Later);
        self.commit_all();
        self.state.revision()
    }
}

fn origin(seq: u64) -> Origin {
    Origin { frontend: 9, seq, attempt: 1 }
}

fn put(seq: u64, key: &'static str) -> Append {
    put_with_lease(seq, key, LeaseId::NONE)
}

fn put_with_lease(seq: u64, key: &'static str, lease: LeaseId) -> Append {
    let write = Write::Put { key: key.into(), value: Bytes::new(), lease };
    Append { origin: origin(seq), reads: vec![], writes: vec![write], sysop: None, reserve: false }
}

fn reading(mut append: Append, keys: KeyRange, at: Revision) -> Append {
    append.reads.push(Read::Keys { keys, at });
    append
}

fn single(key: &'static str) -> KeyRange {
    KeyRange::Single(key.into())
}

#[test]
fn a_put_that_read_nothing_gets_the_next_revision() {
    let mut world = World::new();
    assert_eq!(world.append(put(1, "a")), Answer::Later);
    assert_eq!(world.append(put(2, "a")), Answer::Later);
    let committed = |revision, attempt| Verdict::Committed {
        lsn: Lsn(2),
        revision: Revision(revision),
        term: TERM,
        attempt,
    };
    assert_eq!(world.commit_all(), [committed(2, 1), committed(3, 1)]);
}

#[test]
fn a_read_that_changed_since_conflicts_also_before_the_change_commits() {
    let mut world = World::new();
    let at = world.put(1, "a");
    assert_eq!(world.append(put(2, "a")), Answer::Later);
    let stale = reading(put(3, "b"), single("a"), at);
    assert_eq!(world.append(stale), Answer::Now(3, Verdict::Conflict { wait: at.next() }));
}

fn system(seq: u64, sysop: SysOp) -> Append {
    Append { origin: origin(seq), reads: vec![], writes: vec![], sysop: Some(sysop), reserve: false }
}

fn grant(seq: u64, lease: i64) -> Append {
    system(seq, SysOp::LeaseGrant { lease: LeaseId(lease), ttl_seconds: 10 })
}

fn revoke(seq: u64, lease: i64, expired_in: Option<u64>) -> Append {
    system(seq, SysOp::LeaseRevoke { lease: LeaseId(lease), expired_in })
}

fn compact(seq: u64, revision: u64) -> Append {
    system(seq, SysOp::Compact { revision: Revision(revision) })
}

fn attempt(append: Append, attempt: u32) -> Append {
    Append { origin: Origin { attempt, ..append.origin }, ..append }
}

/// The verdict that came at once, or would once leadership is confirmed.
fn refused(answer: Answer<u64>) -> Verdict {
    match answer {
        Answer::Now(_, verdict) | Answer::OnceConfirmed(_, verdict) => verdict,
        Answer::Later | Answer::Unfinished => panic!("it was sequenced"),
    }
}

#[test]
fn a_read_below_the_floor_is_too_old() {
    let mut world = World::new();
    let floor = world.put(1, "a");
    world.state.skip(world.state.applied().next(), 4);
    world.sequencer = Sequencer::start(4, &world.state, limits(), world.now);
    let before = reading(put(2, "b"), single("z"), Revision(1));
    assert_eq!(refused(world.append(before)), Verdict::TooOld { wait: floor });
    assert_eq!(world.append(reading(put(3, "b"), single("z"), floor)), Answer::Later);
}

#[test]
fn a_range_read_before_the_ring_began_is_too_old() {
    let mut world = World::new();
    for seq in 1..=9 {
        world.put(seq, "a");
    }
    let last = world.state.revision();
    let stale = reading(put(10, "b"), KeyRange::From("x".into()), Revision(1));
    assert_eq!(refused(world.append(stale)), Verdict::TooOld { wait: last });
    let single = reading(put(11, "b"), single("x"), Revision(1));
    assert_eq!(world.append(single), Answer::Later);
}

#[test]
fn who_read_more_than_this_leader_knows_of_has_another() {
    let mut world = World::new();
    let ahead = reading(put(1, "a"), single("b"), Revision(2));
    assert_eq!(refused(world.append(ahead)), Verdict::NotLeader { hint: None });
}

#[test]
fn a_request_that_committed_is_answered_again() {
    let mut world = World::new();
    world.append(put(1, "a"));
    let committed = world.commit_all().remove(0);
    world.put(2, "a");
    assert_eq!(refused(world.append(put(1, "a"))), committed);
    assert_eq!(refused(world.append(attempt(put(1, "a"), 5))), committed);
    assert!(!world.take());
}

#[test]
fn a_request_on_its_way_is_not_sequenced_again() {
    let mut world = World::new();
    world.append(put(1, "a"));
    assert_eq!(refused(world.append(attempt(put(1, "a"), 2))), Verdict::Unknown);
    world.take();
    assert_eq!(refused(world.append(attempt(put(1, "a"), 2))), Verdict::Unknown);
    assert_eq!(world.commit_all().len(), 1);
}

#[test]
fn the_fate_of_a_request() {
    let mut world = World::new();
    assert_eq!(world.sequencer.fate(origin(1), &world.state), Fate::Never);
    world.append(put(1, "a"));
    assert_eq!(world.sequencer.fate(origin(1), &world.state), Fate::Pending);
    world.commit_all();
    let committed = Fate::Committed { lsn: Lsn(2), revision: Revision(2), term: TERM, attempt: 1 };
    assert_eq!(world.sequencer.fate(attempt(put(1, "a"), 9).origin, &world.state), committed);
}

#[test]
fn a_number_that_is_too_old_is_told_apart_from_an_unknown_outcome() {
    let mut world = World::new();
    let distance = crate::state::dedup::Limits::default().lsn_distance;
    world.put(2, "a");
    let later = Lsn(world.state.applied().0 + distance + 1);
    world.state.skip(later, TERM);
    world.put(3, "a");
    assert_eq!(refused(world.append(put(1, "a"))), Verdict::Forgotten);
    assert_eq!(world.sequencer.fate(origin(1), &world.state), Fate::Expired);
    assert_eq!(world.append(put(4, "a")), Answer::Later);
}

#[test]
fn an_empty_record_keeps_every_attempt_of_its_number_from_happening() {
    let mut world = World::new();
    let empty = Append { writes: Vec::new(), ..put(1, "a") };
    assert_eq!(world.append(attempt(empty, 7)), Answer::Later);
    let fenced = world.commit_all();
    assert!(
        matches!(fenced[..], [Verdict::Committed { revision: Revision(1), attempt: 7, .. }]),
        "{fenced:?}"
    );
    assert_eq!(refused(world.append(put(1, "a"))), fenced[0]);
    assert!(!world.take());
}

#[test]
fn a_lost_leader_leaves_the_proposed_unknown_and_the_others_unhappened() {
    let mut world = World::new();
    world.append(put(1, "a"));
    world.take();
    world.append(put(2, "a"));
    let lost = world.sequencer.lost();
    assert_eq!(lost, [(1, Verdict::Unknown), (2, Verdict::NotLeader { hint: None })]);
}

#[test]
fn at_most_so_many_batches_are_on_their_way() {
    let mut world = World::new();
    for seq in 1..=3 {
        world.append(put(seq, "a"));
        assert_eq!(world.take(), seq <= 2);
    }
    world.commit_one();
    assert!(world.take());
}

#[test]
fn a_batch_is_bounded_unless_one_record_is_larger() {
    let mut world = World::with(Limits { batch_bytes_max: 100, ..limits() });
    let large = |seq, bytes| {
        let write = Write::Put { key: "k".into(), value: vec![0; bytes].into(), lease: LeaseId::NONE };
        Append { writes: vec![write], ..put(seq, "k") }
    };
    for (seq, bytes) in [(1, 20), (2, 20), (3, 500), (4, 20)] {
        assert_eq!(world.append(large(seq, bytes)), Answer::Later);
    }
    let mut sizes = Vec::new();
    while world.take() {
        sizes.push((world.taken[0].base_revision.0, world.taken[0].records.len()));
        world.commit_one();
    }
    assert_eq!(sizes, [(2, 2), (4, 1), (5, 1)]);
}

#[test]
fn a_record_that_is_too_large_is_refused() {
    let mut world = World::with(Limits { record_bytes_max: 20, ..limits() });
    let verdict = refused(world.append(put(1, "a key that is far too long")));
    assert!(matches!(verdict, Verdict::TooLarge { bytes_max: 20, .. }), "{verdict:?}");
    assert_eq!(world.append(put(2, "a")), Answer::Later);
}

#[test]
fn full_queues_refuse() {
    for limits in [Limits { waiting_max: 2, ..limits() }, Limits { waiting_bytes_max: 25, ..limits() }] {
        let mut world = World::with(limits);
        assert_eq!(world.append(put(1, "a")), Answer::Later);
        assert_eq!(world.append(put(2, "a")), Answer::Later);
        assert!(matches!(refused(world.append(put(3, "a"))), Verdict::Overloaded { .. }));
        world.commit_all();
        assert_eq!(world.append(put(3, "a")), Answer::Later);
    }
}

#[test]
fn compactions_only_go_forward_and_never_ahead() {
    let mut world = World::new();
    for seq in 1..=4 {
        world.put(seq, "a");
    }
    assert_eq!(
        world.append(compact(5, 6)),
        Answer::OnceConfirmed(5, Verdict::FutureRevision { current: Revision(5) })
    );
    assert_eq!(world.append(put(6, "a")), Answer::Later);
    assert_eq!(world.append(compact(7, 6)), Answer::Later);
    assert_eq!(world.append(compact(8, 6)), Answer::Later);
    assert_eq!(world.append(compact(9, 3)), Answer::Later);
    let compacted = Verdict::Compacted { compacted: Revision(6) };
    assert_eq!(world.commit_all()[2..], [compacted.clone(), compacted.clone()]);
    assert_eq!(world.append(compact(10, 6)), Answer::Now(10, compacted));
}

fn routed(seq: u64, version: u64) -> Append {
    let routes = Routes::default().begin(&[]).unwrap().at(version);
    Append { sysop: Some(SysOp::Routes(routes.into())), writes: Vec::new(), ..put(seq, "") }
}

#[test]
fn of_two_who_change_the_same_routes_one_wins() {
    let mut world = World::new();
    assert_eq!(world.append(routed(1, 1)), Answer::Later);
    assert_eq!(world.append(routed(2, 1)), Answer::Later);
    assert_eq!(world.append(routed(3, 2)), Answer::Later);
    let changed = |version| Verdict::RoutesChanged { version };
    let verdicts = world.commit_all();
    assert!(matches!(verdicts[0], Verdict::Committed { .. }), "{verdicts:?}");
    assert_eq!(verdicts[1], changed(1));
    assert!(matches!(verdicts[2], Verdict::Committed { .. }), "{verdicts:?}");
    assert_eq!(world.append(routed(4, 2)), Answer::Now(4, changed(2)));
    assert_eq!(world.append(routed(5, 4)), Answer::OnceConfirmed(5, changed(2)));
    assert_eq!(world.append(routed(6, 3)), Answer::Later);
}

#[test]
fn who_lost_too_often_is_let_through_first() {
    let mut world = World::new();
    let at = world.put(1, "a");
    world.put(2, "a");
    let mut loser = reading(put(3, "a"), single("a"), at);
    loser.reserve = true;
    assert!(matches!(refused(world.append(loser.clone())), Verdict::Conflict { .. }));
    assert_eq!(refused(world.append(put(4, "a"))), Verdict::Reserved);
    let again = attempt(reading(put(3, "a"), single("a"), at.next()), 2);
    assert_eq!(world.append(again), Answer::Later);
    assert_eq!(world.append(put(4, "a")), Answer::Later);
}
