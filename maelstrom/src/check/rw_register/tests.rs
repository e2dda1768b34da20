//! The smallest histories that show each anomaly, and random serial ones that show none.

use proptest::prelude::*;

use super::*;
use crate::check::history::planted::{fail, info};
use crate::check::txn::{self, planted};

/// `w KEY VALUE` writes, `r KEY` reads, `r KEY 1` read that and `r KEY -` nothing.
fn txn(text: &str) -> Txn {
    planted::txn(text, |words| {
        let number = |word: &str| word.parse().expect("a number");
        let key = number(words[1]);
        match (words[0], words.get(2)) {
            ("w", Some(value)) => Act::Write { key, value: number(value) },
            (_, None) => Act::Read { key, value: None },
            (_, Some(&"-")) => Act::Read { key, value: Some(None) },
            (_, Some(value)) => Act::Read { key, value: Some(Some(number(value))) },
        }
    })
}

fn did(client: u32, from: u64, to: u64, text: &str) -> Operation {
    planted::did(client, from, to, txn(text))
}

fn names(history: &[Operation]) -> Vec<String> {
    check(history).names().iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_serial_history_is_valid() {
    let history = [
        did(1, 0, 1, "w 1 1, r 2 -"),
        did(2, 2, 3, "r 1 1, w 1 2, r 1 2"),
        info(4, 3, txn("w 2 9")),
        did(3, 2, 5, "r 1 1, r 2 -"),
        fail(5, 3, 4, txn("w 1 7"), 30),
        did(1, 6, 7, "r 1 2, r 2 9"),
    ];
    assert_eq!(names(&history), [""; 0]);
}

#[test]
fn a_stale_read_is_found() {
    let history = [did(1, 0, 1, "w 1 1"), did(1, 2, 3, "w 1 2"), did(2, 4, 5, "r 1 1")];
    assert_eq!(names(&history), ["G-single-realtime"]);
    let lost = [did(1, 0, 1, "w 1 1"), did(2, 2, 3, "r 1 -")];
    assert_eq!(names(&lost), ["G-single-realtime"]);
}

#[test]
fn a_lost_update_is_found() {
    let history = [did(9, 0, 1, "w 1 1"), did(1, 2, 5, "r 1 1, w 1 2"), did(2, 2, 5, "r 1 1, w 1 3")];
    assert_eq!(names(&history), ["G2-item (lost update)"]);
    // Time says nothing here, only what was read.
    let at_once = [did(9, 0, 9, "w 1 1"), did(1, 0, 9, "r 1 1, w 1 2"), did(2, 0, 9, "r 1 1, w 1 3")];
    assert_eq!(names(&at_once), ["G2-item (lost update)"]);
}

#[test]
fn g1_is_found() {
    assert_eq!(names(&[fail(1, 0, 1, txn("w 1 1"), 30), did(2, 2, 3, "r 1 1")]), ["G1a (aborted read)"]);
    assert_eq!(names(&[did(1, 0, 9, "w 1 1, w 1 2"), did(2, 0, 9, "r 1 1")]), ["G1b (intermediate read)"]);
    assert_eq!(names(&[did(1, 0, 9, "w 1 1, r 2 2"), did(2, 0, 9, "w 2 2, r 1 1")]), ["G1c"]);
}

#[test]
fn g_single_and_g2_are_found() {
    let single = [did(1, 0, 9, "w 1 1, w 2 2"), did(2, 0, 9, "r 1 1, r 2 -")];
    assert_eq!(names(&single), ["G-single"]);
    let skew = [did(1, 0, 9, "r 1 -, w 2 2"), did(2, 0, 9, "r 2 -, w 1 1")];
    assert_eq!(names(&skew), ["G2-item"]);
}

#[test]
fn a_violation_of_real_time_over_two_keys_is_found() {
    let history = [did(1, 0, 1, "w 1 1"), did(1, 2, 3, "w 2 2"), did(2, 0, 9, "r 2 2, r 1 -")];
    assert_eq!(names(&history), ["G-single-realtime"]);
}

#[test]
fn contradictions_and_garbage_are_found() {
    assert_eq!(names(&[did(1, 0, 1, "w 1 1, r 1 -")]), ["internal"]);
    assert_eq!(names(&[did(1, 0, 1, "r 1 5")]), ["garbage read"]);
    assert_eq!(names(&[did(1, 0, 1, "r 1 5"), did(2, 2, 3, "w 1 5")])[0], "future read");
}

proptest! {
    #[test]
    fn what_some_order_explains_is_valid(
        scripts in proptest::collection::vec(
            proptest::collection::vec((any::<bool>(), 0..3_i64), 1..5), 12),
        slack in proptest::collection::vec(0..40_u64, 12),
        unknown in proptest::collection::vec(proptest::bool::weighted(0.2), 12),
    ) {
        let mut registers: BTreeMap<i64, i64> = BTreeMap::new();
        let mut next = 0;
        let mut act = |(write, key): &(bool, i64)| {
            if *write {
                next += 1;
                registers.insert(*key, next);
                return Act::Write { key: *key, value: next };
            }
            Act::Read { key: *key, value: Some(registers.get(key).copied()) }
        };
        let done = scripts.iter().map(|script| txn::Txn(script.iter().map(&mut act).collect())).collect();
        let history = planted::widened(done, &slack, &unknown);
        prop_assert_eq!(names(&history), [""; 0]);
    }
}
