//! Keys that are no registers, though their revisions may say so.

use super::*;
use crate::linearize::script::*;

fn verdict(history: &[Operation]) -> Vec<String> {
    let findings = check(history);
    assert!(findings.undecided.is_empty(), "{findings:?}");
    findings.anomalies.into_iter().map(|anomaly| anomaly.name).collect()
}

#[track_caller]
fn valid(history: &[Operation]) {
    assert_eq!(verdict(history), Vec::<String>::new());
}

#[track_caller]
fn invalid(history: &[Operation]) {
    assert_eq!(verdict(history), ["not linearizable"]);
}

#[test]
fn what_happened_one_after_the_other_is_valid() {
    let requests = [
        put("a", "1"),
        get("a"),
        swap("a", "1", "2"),
        swap("a", "1", "3"),
        delete("a", "c"),
        get("a"),
        puts(&["a", "b"], "4"),
    ];
    valid(&serial(&requests).0);
}

#[test]
fn a_stale_read_is_found_whatever_its_revision() {
    let (mut history, _) = serial(&[put("a", "1"), get("a"), put("a", "2"), get("b")]);
    moved(&mut history[1], 30, 35);
    invalid(&history);
    moved(&mut history[1], 24, 35);
    valid(&history);
    history[1].call.request = glance("a");
    moved(&mut history[1], 30, 35);
    valid(&history);
}

#[test]
fn a_deleted_key_does_not_come_back() {
    let (mut history, _) = serial(&[put("a", "1"), get("a"), delete("a", "")]);
    moved(&mut history[1], 30, 35);
    invalid(&history);
}

#[test]
fn an_update_is_not_lost() {
    let (mut history, _) = serial(&[put("a", "1"), swap("a", "1", "2"), swap("a", "1", "3")]);
    answered_as(&mut history, 2, 1);
    invalid(&history);
    // The previous value says so, too.
    let (mut history, _) = serial(&[put("a", "1"), put("a", "2"), put("a", "3")]);
    answered_as(&mut history, 2, 1);
    invalid(&history);
}

#[test]
fn a_refused_swap_has_seen_another_value() {
    let (mut history, _) = serial(&[put("a", "1"), put("a", "2"), swap("a", "1", "3")]);
    history[2].call.request = swap("a", "2", "3");
    invalid(&history);
}

#[test]
fn what_a_limit_cut_off_is_not_judged() {
    let (mut history, _) =
        serial(&[put("a", "1"), put("b", "1"), put("c", "1"), first_of("a", "z", 2), get("a")]);
    valid(&history);
    refused(&mut history[1]);
    invalid(&history);
    let (mut history, _) =
        serial(&[put("a", "1"), put("b", "1"), put("c", "1"), first_of("a", "z", 2), get("a")]);
    refused(&mut history[2]);
    valid(&history);
}

#[test]
fn an_unanswered_write_happens_later_or_never_but_not_before_it_is_asked_for() {
    let (mut history, _) = serial(&[put("a", "1"), put("a", "2"), get("a"), put("b", "3")]);
    unknown(&mut history[1]);
    valid(&history);
    history[1].invoked = seconds(26);
    invalid(&history);
    history.remove(2);
    valid(&history);
}

#[test]
fn many_unanswered_writes_are_no_effort() {
    let mut requests: Vec<_> = (0..200).map(|number| put("a", &number.to_string())).collect();
    requests.push(get("a"));
    let (mut history, _) = serial(&requests);
    history[..199].iter_mut().for_each(unknown);
    valid(&history);
}

#[test]
fn either_branch_of_an_unanswered_transaction_may_have_happened() {
    let both = |request: &crate::compat::Request| {
        let crate::compat::Request::Txn(mut txn) = request.clone() else { panic!("a transaction") };
        let put = proto::etcdserverpb::request_op::Request::RequestPut(crate::history::put("a", "else"));
        txn.failure = vec![proto::etcdserverpb::RequestOp { request: Some(put) }];
        crate::compat::Request::Txn(txn)
    };
    for (guard, seen) in [("1", true), ("9", false)] {
        let (mut history, _) = serial(&[put("a", "1"), both(&swap("a", guard, "then")), get("a")]);
        unknown(&mut history[1]);
        valid(&history);
        let value = history[2].answer().map(ToString::to_string).expect("answered");
        assert_eq!(value.contains("a=then"), seen, "{value}");
    }
}

#[test]
fn an_anomaly_names_the_operations() {
    let (mut history, _) = serial(&[put("a", "1"), get("a"), put("a", "2")]);
    moved(&mut history[1], 30, 35);
    let text = check(&history).anomalies[0].to_string();
    let expected = "not linearizable\n    c1 [30.0000 – 35.0000] at e0 get a → 1 of 1: [a=1 (made 2, changed 2, version 1)] @2\n    \
                    before that, key a was 2";
    assert_eq!(text, expected);
}
