//! The smallest histories that show each anomaly, and random serial ones that show none.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::check::Verdict;
use crate::check::history::Outcome;
use crate::check::history::planted::{fail, info};
use crate::check::txn::{self, planted};

/// `a KEY VALUE` appends, `r KEY` reads, `r KEY 1.2` read that and `r KEY -` nothing.
fn txn(text: &str) -> Txn {
    planted::txn(text, |words| {
        let number = |word: &str| word.parse().expect("a number");
        let key = number(words[1]);
        match (words[0], words.get(2)) {
            ("a", Some(value)) => Act::Append { key, value: number(value) },
            (_, None) => Act::Read { key, list: None },
            (_, Some(&"-")) => Act::Read { key, list: Some(Vec::new()) },
            (_, Some(list)) => Act::Read { key, list: Some(list.split('.').map(number).collect()) },
        }
    })
}

/// A transaction that was answered with `text`.
fn did(client: u32, from: u64, to: u64, text: &str) -> Operation {
    planted::did(client, from, to, txn(text))
}

fn names(history: &[Operation]) -> Vec<String> {
    check(history).names().iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_serial_history_is_valid() {
    let history = [
        did(1, 0, 1, "a 1 1, r 2 -"),
        did(2, 2, 3, "r 1 1, a 1 2, r 1 1.2"),
        did(3, 2, 5, "r 1 1, r 2 -"),
        info(4, 3, txn("a 2 9")),
        fail(5, 3, 4, txn("a 1 7"), 30),
        did(1, 6, 7, "r 1 1.2, r 2 9"),
    ];
    assert_eq!(names(&history), [""; 0]);
}

#[test]
fn a_stale_read_is_found() {
    let history = [did(1, 0, 1, "a 1 1"), did(2, 2, 3, "r 1 -"), did(1, 4, 5, "r 1 1")];
    assert_eq!(names(&history), ["stale read", "G-single-realtime"]);
}

#[test]
fn a_lost_append_is_found_though_nobody_saw_it() {
    let history = [did(1, 0, 1, "a 1 1"), did(2, 2, 3, "a 1 2"), did(1, 4, 5, "r 1 2")];
    let found = names(&history);
    assert_eq!(found, ["lost append", "G0-realtime"]);
    let never_read_again = [did(1, 0, 1, "a 1 1")];
    assert_eq!(check(&never_read_again).verdict(), Verdict::Valid);
    assert_eq!(names(&[did(1, 0, 1, "a 1 1"), did(2, 2, 3, "r 1 -")]), ["lost append", "G-single-realtime"]);
}

#[test]
fn a_lost_update_is_found() {
    let history = [
        did(9, 0, 1, "a 1 1"),
        did(1, 2, 5, "r 1 1, a 1 2"),
        did(2, 2, 5, "r 1 1, a 1 3"),
        did(9, 6, 7, "r 1 1.2.3"),
    ];
    assert_eq!(names(&history), ["G-single (lost update)"]);
}

#[test]
fn a_duplicate_append_is_found() {
    let history = [did(1, 0, 1, "a 1 1"), did(2, 2, 3, "r 1 1.1")];
    assert_eq!(names(&history), ["duplicate append"]);
}

#[test]
fn incompatible_orders_are_found() {
    let history =
        [did(1, 0, 9, "a 1 1"), did(2, 0, 9, "a 1 2"), did(3, 0, 9, "r 1 1.2"), did(4, 0, 9, "r 1 2")];
    assert_eq!(names(&history)[0], "incompatible order");
}

#[test]
fn garbage_and_the_future_are_found() {
    assert_eq!(names(&[did(1, 0, 1, "r 1 5")]), ["garbage read"]);
    let future = names(&[did(1, 0, 1, "r 1 5"), did(2, 2, 3, "a 1 5")]);
    assert_eq!(future, ["future read", "G1c-realtime"]);
}

#[test]
fn g0_is_found() {
    let history = [
        did(1, 0, 9, "a 1 1, a 2 1"),
        did(2, 0, 9, "a 1 2, a 2 2"),
        did(3, 10, 11, "r 1 1.2"),
        did(4, 10, 11, "r 2 2.1"),
    ];
    assert_eq!(names(&history), ["G0"]);
}

#[test]
fn g1a_is_found() {
    let history = [fail(1, 0, 1, txn("a 1 1"), 30), did(2, 2, 3, "r 1 1")];
    assert_eq!(names(&history), ["G1a (aborted read)"]);
}

#[test]
fn g1b_is_found() {
    let history = [did(1, 0, 9, "a 1 1, a 1 2"), did(2, 0, 9, "r 1 1"), did(3, 10, 11, "r 1 1.2")];
    assert_eq!(names(&history)[0], "G1b (intermediate read)");
}

#[test]
fn g1c_is_found() {
    let history = [did(1, 0, 9, "a 1 1, r 2 2"), did(2, 0, 9, "a 2 2, r 1 1")];
    assert_eq!(names(&history), ["G1c"]);
}

#[test]
fn g_single_is_found() {
    let history = [did(1, 0, 9, "a 1 1, a 2 2"), did(2, 0, 9, "r 1 1, r 2 -"), did(3, 10, 11, "r 2 2")];
    assert_eq!(names(&history), ["G-single"]);
}

#[test]
fn g2_is_found() {
    let history =
        [did(1, 0, 9, "r 1 -, a 2 2"), did(2, 0, 9, "r 2 -, a 1 1"), did(3, 10, 11, "r 1 1, r 2 2")];
    assert_eq!(names(&history), ["G2-item"]);
}

#[test]
fn a_violation_of_real_time_over_two_keys_is_found() {
    // Each key alone is in order: the second write was seen, and the first, which was answered before, was not.
    let history =
        [did(1, 0, 1, "a 1 1"), did(1, 2, 3, "a 2 2"), did(2, 0, 9, "r 2 2, r 1 -"), did(3, 10, 11, "r 1 1")];
    assert_eq!(names(&history), ["G-single-realtime"]);
}

#[test]
fn a_transaction_contradicting_itself_is_found() {
    assert_eq!(names(&[did(1, 0, 1, "a 1 1, r 1 -")])[0], "internal");
    let twice = [did(1, 0, 9, "r 1 -, r 1 2"), did(2, 0, 9, "a 1 2")];
    assert!(names(&twice).contains(&"internal".to_owned()));
}

#[test]
fn an_unknown_transaction_counts_once_something_of_it_was_read() {
    let half = [info(1, 0, txn("a 1 1, a 2 2")), did(2, 2, 3, "r 1 1"), did(2, 4, 5, "r 2 -")];
    assert_eq!(names(&half), ["G-single-realtime"]);
    let later = [info(1, 0, txn("a 1 1")), did(2, 2, 3, "r 1 -"), did(2, 4, 5, "r 1 1")];
    assert_eq!(names(&later), [""; 0]);
}

/// Runs transactions one after the other and widens each by as much as time allows in front and behind.
fn serial(scripts: &[Vec<(bool, i64)>], slack: &[u64], unknown: &[bool]) -> Vec<Operation> {
    let mut lists: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    let mut next = 0;
    let mut act = |(append, key): &(bool, i64)| {
        let list = lists.entry(*key).or_default();
        if *append {
            next += 1;
            list.push(next);
            return Act::Append { key: *key, value: next };
        }
        Act::Read { key: *key, list: Some(list.clone()) }
    };
    let done = scripts.iter().map(|script| txn::Txn(script.iter().map(&mut act).collect())).collect();
    planted::widened(done, slack, unknown)
}

proptest! {
    #[test]
    fn what_some_order_explains_is_valid(
        scripts in proptest::collection::vec(
            proptest::collection::vec((any::<bool>(), 0..3_i64), 1..5), 12),
        slack in proptest::collection::vec(0..40_u64, 12),
        unknown in proptest::collection::vec(proptest::bool::weighted(0.2), 12),
    ) {
        let history = serial(&scripts, &slack, &unknown);
        prop_assert_eq!(names(&history), [""; 0]);
    }

    /// Whatever it is called: a list that loses an acknowledged value for good is noticed once it is read.
    #[test]
    fn a_value_that_vanishes_is_found(
        scripts in proptest::collection::vec(
            proptest::collection::vec((any::<bool>(), 0..2_i64), 1..5), 12),
        from in 0..12_usize,
    ) {
        let mut history = serial(&scripts, &[0; 12], &[false; 12]);
        let Some(value) = history.iter().skip(from).flat_map(|operation| &operation.call.0).find_map(|act| match act {
            Act::Append { value, .. } => Some(*value),
            Act::Read { .. } => None,
        }) else { return Ok(()) };
        let mut seen = false;
        for operation in &mut history {
            let Outcome::Ok { answer, .. } = &mut operation.outcome else { continue };
            for act in &mut answer.0 {
                if let Act::Read { list: Some(list), .. } = act {
                    seen |= list.contains(&value);
                    list.retain(|held| *held != value);
                }
            }
        }
        prop_assert_eq!(check(&history).verdict() == Verdict::Invalid, seen);
    }
}
