//! Appends with so many keys that they take several steps.

use super::*;

const KEYS: usize = 20_000;
/// Keys of one step.
const STEP: u64 = 4_096;
const LEASE: LeaseId = LeaseId(7);

fn key(number: usize) -> Bytes {
    Bytes::from(format!("events/{number:06}"))
}

/// The end of a lease with all keys, looked at when the revision was `at`.
fn end(seq: u64, at: Revision) -> Append {
    let keys = || (0..KEYS).map(key);
    let mut reads = vec![Read::Lease { lease: LEASE, at }];
    reads.extend(keys().map(|key| Read::Keys { keys: KeyRange::Single(key), at }));
    let sysop = Some(SysOp::LeaseRevoke { lease: LEASE, expired_in: None });
    let writes = keys().map(|key| Write::Delete { key }).collect();
    Append { origin: origin(seq), reads, writes, sysop, reserve: true }
}

fn grant() -> Append {
    let sysop = Some(SysOp::LeaseGrant { lease: LEASE, ttl_seconds: 10 });
    Append { origin: origin(1), reads: vec![], writes: vec![], sysop, reserve: false }
}

/// A world with the lease.
fn world() -> World {
    let mut world = World::with(Limits { slots: 1 << 22, ..limits() });
    world.append(grant());
    world.commit_all();
    world
}

impl World {
    /// Takes the steps of an append. Answers the most keys that one of them has looked at, too.
    fn in_steps(&mut self, append: Append) -> (Answer<u64>, u64) {
        let (mut most, mut before) = (0, self.sequencer.work());
        let mut answer = self.append(append);
        loop {
            let work = self.sequencer.work();
            most = most.max(work - before);
            if answer != Answer::Unfinished {
                return (answer, most);
            }
            before = work;
            answer = self.sequencer.go_on(&self.state, self.now);
        }
    }
}

#[test]
fn an_append_with_many_keys_takes_steps_of_bounded_work() {
    let mut world = world();

    let (answer, most) = world.in_steps(end(2, world.state.revision()));
    assert_eq!(answer, Answer::Later);
    assert!(most <= STEP, "{most} keys at once");
    assert!(matches!(world.commit_all()[..], [Verdict::Committed { .. }]));
    assert!(!world.state.leases().contains_key(&LEASE));
}

#[test]
fn its_writes_are_noted_before_the_next_append_comes() {
    let mut world = world();
    let at = world.state.revision();
    world.in_steps(end(2, at));
    let reader = reading(put(3, "other"), KeyRange::Single(key(KEYS - 1)), at);
    assert_eq!(refused(world.append(reader)), Verdict::Conflict { wait: at.next() });
}

/// A reservation is given, and taken back, as to every other append.
#[test]
fn one_that_has_lost_is_refused_in_steps() {
    let mut world = world();
    let at = world.state.revision();
    world.put(2, "events/000007");

    let (answer, _) = world.in_steps(end(3, at));
    assert_eq!(refused(answer), Verdict::Conflict { wait: at.next() });
    assert_eq!(refused(world.append(put(4, "events/000007"))), Verdict::Reserved);
    let (answer, most) = world.in_steps(end(3, at.next()));
    assert_eq!(answer, Answer::Later);
    assert!(most <= STEP, "{most} keys at once");
    assert_eq!(world.append(put(4, "events/000007")), Answer::Later);
}

#[test]
fn one_too_many_bytes_are_refused() {
    let bytes = crate::codec::append_bytes(&end(2, Revision(1)));
    for (record_bytes_max, fits) in [(bytes, true), (bytes - 1, false)] {
        let mut world = World::with(Limits { record_bytes_max, ..limits() });
        let append = end(2, world.state.revision());
        // The lease is granted on the way.
        world.append(grant());
        let (answer, _) = world.in_steps(append);
        let too_large = Verdict::TooLarge { bytes: bytes as u64, bytes_max: record_bytes_max as u64 };
        assert_eq!(answer, if fits { Answer::Later } else { Answer::Now(2, too_large) });
    }
}

/// What it is refused for may commit while it is let go of: then there is nothing left that the refusal waits for.
#[test]
fn one_that_is_refused_for_what_has_committed_since_is_answered_at_once() {
    let mut world = World::with(limits());
    world.append(grant());
    assert!(world.take());
    let mut append = end(2, world.state.revision());
    append.sysop = Some(SysOp::LeaseGrant { lease: LEASE, ttl_seconds: 10 });
    let mut answer = world.append(append);
    let mut steps = 0;
    while answer == Answer::Unfinished {
        steps += 1;
        // Ten steps check the footprint and weigh the writes.
        if steps == 12 {
            world.commit_all();
        }
        answer = world.sequencer.go_on(&world.state, world.now);
    }
    assert!(12 < steps, "{steps}");
    assert_eq!(answer, Answer::Now(2, Verdict::LeaseExists(LEASE)));
}

#[test]
fn one_that_is_unfinished_when_leadership_is_lost_never_happens() {
    let mut world = world();
    assert_eq!(world.append(end(2, world.state.revision())), Answer::Unfinished);
    assert_eq!(world.sequencer.lost(), [(2, Verdict::NotLeader { hint: None })]);
}

/// Its revision is the next one, and nobody else may take that meanwhile.
#[test]
#[should_panic(expected = "one after the other")]
fn nothing_is_appended_between_two_steps() {
    let mut world = world();
    world.append(end(2, world.state.revision()));
    world.append(put(3, "a"));
}
