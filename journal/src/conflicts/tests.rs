//! The window against a plain list of all writes, and the rules of reservations.

use super::*;
use crate::origin::Origin;
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use std::time::Duration;

const FLOOR: Revision = Revision(10);

fn key(n: u8) -> Bytes {
    // Of unlike lengths, some beyond what a comparison of heads can tell apart.
    [
        &b"a"[..],
        b"b",
        b"bb",
        b"b\0\0",
        b"bbbbbbbbb",
        b"bbbbbbbbc",
        b"c",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ]
    .get(usize::from(n))
    .map_or(Bytes::new(), |key| Bytes::from_static(key))
}

fn any_keys() -> impl Strategy<Value = KeyRange> {
    prop_oneof![
        (0u8..8).prop_map(|n| KeyRange::Single(key(n))),
        (0u8..9, 0u8..9).prop_map(|(start, end)| KeyRange::Range { start: key(start), end: key(end) }),
        (0u8..9).prop_map(|start| KeyRange::From(key(start))),
    ]
}

fn any_writes() -> impl Strategy<Value = Vec<Write>> {
    let write = (0u8..8, 0i64..3).prop_map(|(n, lease)| match lease {
        2 => Write::Delete { key: key(n) },
        lease => Write::Put { key: key(n), value: Bytes::new(), lease: LeaseId(lease) },
    });
    vec(write, 1..4)
}

fn any_read() -> impl Strategy<Value = Read> {
    prop_oneof![
        4 => (any_keys(), 8u64..24).prop_map(|(keys, at)| Read::Keys { keys, at: Revision(at) }),
        1 => (8u64..24).prop_map(|at| Read::Lease { lease: LeaseId(1), at: Revision(at) }),
    ]
}

fn filled(history: &[Vec<Write>], slots: usize, ring: usize) -> Window {
    let mut window = Window::new(FLOOR, slots, ring, 7);
    for (writes, revision) in history.iter().zip(11..) {
        window.note(writes, Revision(revision));
    }
    window
}

fn changes(write: &Write, read: &Read) -> bool {
    match (read, write) {
        (Read::Keys { keys, .. }, _) => keys.contains(write.key()),
        (Read::Lease { lease, .. }, Write::Put { lease: attached, .. }) => attached == lease,
        (Read::Lease { .. }, Write::Delete { .. }) => false,
    }
}

/// The last revision above its own at which the read changed.
fn changed(history: &[Vec<Write>], read: &Read) -> Option<Revision> {
    let (Read::Keys { at, .. } | Read::Lease { at, .. }) = read;
    let newer = history.iter().zip(11..).filter(|(_, revision)| at.0 < *revision);
    newer
        .filter(|(writes, _)| writes.iter().any(|write| changes(write, read)))
        .last()
        .map(|(_, r)| Revision(r))
}

proptest! {
    /// I3: however small the table and the ring.
    #[test]
    fn a_change_is_never_missed(
        history in vec(any_writes(), 0..12), slots in 1u32..4, ring in 1usize..6, read in any_read()
    ) {
        let window = filled(&history, 1 << slots, ring);
        if let Some(newest) = changed(&history, &read) {
            match window.check(std::slice::from_ref(&read)) {
                Freshness::Fresh => prop_assert!(false, "a change of {read:?} at {newest} was missed"),
                Freshness::Changed { newest: told } => prop_assert!(newest <= told),
                Freshness::Unknowable { .. } => {}
            }
        }
    }

    #[test]
    fn with_room_enough_nothing_is_refused_without_a_reason(
        history in vec(any_writes(), 0..12), read in any_read()
    ) {
        let window = filled(&history, 1 << 16, 100);
        let (Read::Keys { at, .. } | Read::Lease { at, .. }) = &read;
        let empty = matches!(&read, Read::Keys { keys, .. } if keys.is_empty());
        let expected = match changed(&history, &read) {
            _ if *at < FLOOR && !empty => Freshness::Unknowable { readable: FLOOR },
            Some(newest) => Freshness::Changed { newest },
            None => Freshness::Fresh,
        };
        prop_assert_eq!(window.check(&[read]), expected);
    }

    /// What a refused frontend waits for is a revision at which it then succeeds, if nothing else is written.
    #[test]
    fn who_reads_again_at_the_revision_told_is_fresh(
        history in vec(any_writes(), 0..12), slots in 1u32..4, ring in 1usize..6, reads in vec(any_read(), 1..4)
    ) {
        let window = filled(&history, 1 << slots, ring);
        let told = match window.check(&reads) {
            Freshness::Fresh => return Ok(()),
            Freshness::Changed { newest } => newest,
            Freshness::Unknowable { readable } => readable,
        };
        prop_assert!(told <= window.last);
        let again: Vec<Read> = reads.into_iter().map(|read| match read {
            Read::Keys { keys, at } => Read::Keys { keys, at: at.max(told) },
            Read::Lease { lease, at } => Read::Lease { lease, at: at.max(told) },
        }).collect();
        match window.check(&again) {
            Freshness::Fresh => {}
            // What was unknowable may turn out to have changed, and is then told its last change.
            Freshness::Changed { newest } => prop_assert!(told < newest),
            Freshness::Unknowable { readable } => prop_assert!(told < readable),
        }
    }
}

#[test]
fn the_ring_forgets_its_oldest_and_says_so() {
    let put = |n| vec![Write::Put { key: key(n), value: Bytes::new(), lease: LeaseId::NONE }];
    let window = filled(&[put(0), put(1), put(2), put(3)], 1 << 10, 2);
    let read = |at| [Read::Keys { keys: KeyRange::all(), at: Revision(at) }];
    assert_eq!(window.check(&read(11)), Freshness::Unknowable { readable: Revision(14) });
    assert_eq!(window.check(&read(12)), Freshness::Changed { newest: Revision(14) });
    assert_eq!(window.check(&read(14)), Freshness::Fresh);
}

fn origin(seq: u64) -> Origin {
    Origin { frontend: 1, seq, attempt: 1 }
}

fn reads(n: u8) -> Vec<Read> {
    vec![Read::Keys { keys: KeyRange::Single(key(n)), at: FLOOR }]
}

fn writes(n: u8) -> Vec<Write> {
    vec![Write::Delete { key: key(n) }]
}

const START: Duration = Duration::from_secs(9);

#[test]
fn held_keys_are_only_for_their_holder() {
    let mut held = Reservations::default();
    held.hold(origin(1), &reads(0), &writes(0), START);
    assert!(held.block(origin(2), &writes(0), START));
    assert!(!held.block(origin(2), &writes(1), START));
    assert!(!held.block(Origin { attempt: 2, ..origin(1) }, &writes(0), START));
}

#[test]
fn a_reservation_ends_by_itself_and_is_not_prolonged() {
    let mut held = Reservations::default();
    held.hold(origin(1), &reads(0), &writes(0), START);
    held.hold(origin(1), &reads(0), &writes(0), START + Duration::from_millis(40));
    assert!(held.block(origin(2), &writes(0), START + Duration::from_millis(49)));
    assert!(!held.block(origin(2), &writes(0), START + Duration::from_millis(50)));
}

#[test]
fn a_reservation_ends_when_its_holder_has_what_it_wanted() {
    let mut held = Reservations::default();
    held.hold(origin(1), &reads(0), &writes(0), START);
    held.release(origin(1));
    assert!(!held.block(origin(2), &writes(0), START));
}

#[test]
fn two_that_would_block_each_other_do_not_both_hold() {
    let mut held = Reservations::default();
    held.hold(origin(1), &reads(0), &writes(1), START);
    held.hold(origin(2), &reads(1), &writes(0), START);
    assert!(!held.block(origin(1), &writes(1), START));
    assert!(held.block(origin(2), &writes(0), START));
}

#[test]
fn a_held_lease_cannot_be_attached_to() {
    let mut held = Reservations::default();
    let lease = vec![Read::Lease { lease: LeaseId(5), at: FLOOR }];
    held.hold(origin(1), &lease, &[], START);
    let put = |lease| [Write::Put { key: key(0), value: Bytes::new(), lease: LeaseId(lease) }];
    assert!(held.block(origin(2), &put(5), START));
    assert!(!held.block(origin(2), &put(6), START));
    assert!(!held.block(origin(2), &put(0), START));
}

fn reads_the_key(key: &Bytes) -> Read {
    Read::Keys { keys: KeyRange::Single(key.clone()), at: FLOOR }
}

proptest! {
    /// Whatever is held is held against every write of it, and nothing else is.
    #[test]
    fn held_is_what_was_read(reads in vec(any_read(), 0..6), writes in any_writes()) {
        let mut held = Reservations::default();
        held.hold(origin(1), &reads, &[], START);
        let meets = writes.iter().any(|write| reads.iter().any(|read| match (read, write) {
            (Read::Lease { lease, .. }, Write::Put { lease: attached, .. }) => lease == attached,
            (Read::Lease { .. }, Write::Delete { .. }) => false,
            (Read::Keys { keys, .. }, _) => keys.contains(write.key()),
        }));
        prop_assert_eq!(held.block(origin(2), &writes, START), meets);
        prop_assert!(!held.block(origin(1), &writes, START));
    }
}

/// As the end of a lease with all of its keys meets that of another, or itself when it is handed out again.
#[test]
fn many_keys_are_compared_with_many_in_one_walk() {
    const KEYS: u64 = 100_000;
    let keys = |odd: u64| (0..KEYS).map(move |n| Bytes::from(format!("/registry/{:08}", 2 * n + odd)));
    let reads: Vec<Read> = keys(0).map(|key| reads_the_key(&key)).collect();
    let writes: Vec<Write> = keys(1).map(|key| Write::Delete { key }).collect();
    let mut held = Reservations::default();
    held.hold(origin(1), &reads, &[], START);
    assert!(!held.block(origin(2), &writes, START));
    assert!(held.compared() <= 10 * KEYS, "{} comparisons", held.compared());

    // One write among many reads, and many writes of which none is near.
    let before = held.compared();
    assert!(held.block(origin(2), &[Write::Delete { key: keys(0).next_back().unwrap() }], START));
    let far: Vec<Write> = (0..KEYS).map(|n| Write::Delete { key: format!("/x/{n:08}").into() }).collect();
    assert!(!held.block(origin(2), &far, START));
    assert!(held.compared() - before <= 3 * KEYS, "{} comparisons", held.compared() - before);
}

#[test]
fn so_many_keys_are_held_at_the_most() {
    let mut held = Reservations::default();
    let many = |of: u64| (0..200_000u64).map(move |n| reads_the_key(&format!("{of}/{n:08}").into()));
    held.hold(origin(1), &many(1).collect::<Vec<_>>(), &[], START);
    held.hold(origin(2), &many(2).collect::<Vec<_>>(), &[], START);
    let write = |key: &'static str| [Write::Delete { key: key.into() }];
    assert!(held.block(origin(3), &write("1/00000000"), START));
    assert!(!held.block(origin(3), &write("2/00000000"), START));
}
