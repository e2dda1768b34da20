//! The smallest histories that show each anomaly of a log.

use super::*;
use crate::check::Verdict;
use crate::check::history::planted::{fail, info, last, ok};

fn offsets(of: &[(&str, i64)]) -> Offsets {
    of.iter().map(|(key, offset)| ((*key).to_owned(), *offset)).collect()
}

fn sending(message: i64) -> Call {
    Call::Send { key: "k".to_owned(), message }
}

fn send(client: u32, from: u64, message: i64, offset: i64) -> Operation {
    ok(client, from, from + 1, sending(message), Answer::Offset(offset))
}

fn poll(from: u64, start: i64, messages: &[(i64, i64)]) -> Operation {
    let answer = Answer::Messages(BTreeMap::from([("k".to_owned(), messages.to_vec())]));
    ok(9, from, from + 1, Call::Poll { from: offsets(&[("k", start)]) }, answer)
}

fn commit(from: u64, offset: i64) -> Operation {
    ok(5, from, from + 1, Call::Commit { offsets: offsets(&[("k", offset)]) }, Answer::Done)
}

fn listed(from: u64, of: &[(&str, i64)]) -> Operation {
    ok(6, from, from + 1, Call::ListCommitted { keys: vec!["k".to_owned()] }, Answer::Committed(offsets(of)))
}

fn names(history: &[Operation]) -> Vec<String> {
    check(history).names().iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_log_with_gaps_that_is_read_in_pieces_is_valid() {
    let history = [
        send(1, 0, 10, 1),
        info(2, 0, sending(20)),
        send(1, 2, 11, 5),
        poll(4, 0, &[(1, 10)]),
        poll(6, 2, &[(3, 20), (5, 11)]),
        poll(8, 6, &[]),
        commit(10, 3),
        listed(12, &[("k", 3)]),
        last(poll(14, 6, &[])),
    ];
    assert_eq!(check(&history).verdict(), Verdict::Valid, "{:?}", check(&history));
}

#[test]
fn an_offset_is_one_message_and_a_message_has_one_offset() {
    assert_eq!(names(&[send(1, 0, 10, 1), send(2, 0, 11, 1)]), ["offset with two messages"]);
    assert_eq!(names(&[send(1, 0, 10, 1), poll(2, 0, &[(1, 10), (2, 10)])]), ["message with two offsets"]);
}

#[test]
fn a_sender_whose_offsets_go_back_is_found() {
    assert_eq!(names(&[send(1, 0, 10, 5), send(1, 2, 11, 4)]), ["offset went back"]);
    assert_eq!(names(&[send(1, 0, 10, 5), send(2, 2, 11, 4)]), [""; 0]);
}

#[test]
fn a_message_that_a_poll_goes_past_is_found() {
    let history = [send(1, 0, 10, 1), send(1, 2, 11, 2), send(1, 4, 12, 3)];
    let with = |poll| [history.to_vec(), vec![poll]].concat();
    assert_eq!(names(&with(poll(6, 0, &[(1, 10), (3, 12)]))), ["lost message"]);
    assert_eq!(names(&with(poll(6, 0, &[(1, 10)]))), [""; 0]);
    assert_eq!(names(&with(poll(6, 1, &[]))), [""; 0]);
    assert_eq!(names(&with(last(poll(6, 3, &[])))), ["lost message"]);
}

#[test]
fn polls_that_are_out_of_order_or_make_things_up_are_found() {
    let sent = || vec![send(1, 0, 10, 1), send(1, 2, 11, 2)];
    let with = |poll| [sent(), vec![poll]].concat();
    assert_eq!(names(&with(poll(6, 0, &[(2, 11), (1, 10)])))[0], "poll out of order");
    assert_eq!(names(&with(poll(6, 2, &[(1, 10), (2, 11)]))), ["poll out of order"]);
    assert_eq!(names(&with(poll(6, 2, &[(2, 11), (3, 99)]))), ["message that nobody sent"]);
    let failed = [fail(1, 0, 1, sending(10), 11), poll(6, 0, &[(1, 10)])];
    assert_eq!(names(&failed), ["message whose send failed"]);
}

#[test]
fn a_committed_offset_that_goes_back_is_found() {
    assert_eq!(names(&[commit(0, 7), listed(2, &[("k", 6)])]), ["committed offset went back"]);
    assert_eq!(names(&[commit(0, 7), listed(2, &[])]), ["committed offset went back"]);
    assert_eq!(names(&[listed(0, &[("k", 7)]), listed(2, &[("k", 6)])]), ["committed offset went back"]);
    assert_eq!(names(&[commit(0, 7), commit(2, 5), listed(4, &[("k", 7)])]), [""; 0]);
    assert_eq!(names(&[commit(1, 7), listed(1, &[])]), [""; 0]);
}
