//! Each rule with the smallest history that breaks it.

use proto::etcdserverpb::TxnResponse;

use super::script::*;
use super::*;
use crate::compat::{Outcome as Said, Request};
use crate::history::{self, Answer, Call};

fn names(history: &[Operation], sightings: &Sightings) -> Vec<String> {
    let (findings, _) = check(history, sightings);
    findings.anomalies.into_iter().map(|anomaly| anomaly.name).collect()
}

#[track_caller]
fn valid(history: &[Operation], sightings: &Sightings) {
    let (findings, _) = check(history, sightings);
    assert!(findings.anomalies.is_empty() && findings.undecided.is_empty(), "{findings:?}");
}

#[track_caller]
fn found(history: &[Operation], sightings: &Sightings, name: &str) {
    let names = names(history, sightings);
    assert!(names.iter().any(|found| found == name), "{name} is not in {names:?}");
}

/// What a lying store says.
fn lies(operation: &mut Operation, lie: impl FnOnce(&mut Said)) {
    let history::Outcome::Ok { answer, .. } = &mut operation.outcome else { panic!("it was answered") };
    let mut said = answer.told().clone();
    lie(&mut said);
    *answer = Answer::new(said);
}

fn everyday() -> Vec<Request> {
    vec![
        put("a", "1"),
        put("a", "2"),
        get("a"),
        swap("a", "2", "3"),
        swap("a", "2", "4"),
        puts(&["b", "c"], "5"),
        first_of("a", "z", 2),
        delete("a", "c"),
        delete("a", "c"),
        glance("c"),
    ]
}

#[test]
fn what_happened_one_after_the_other_is_valid_and_told() {
    let (history, sightings) = serial(&everyday());
    valid(&history, &sightings);
    valid(&history, &Sightings::new());
    let (_, story) = check(&history, &sightings);
    assert_eq!(story.revisions.keys().copied().collect::<Vec<_>>(), [2, 3, 4, 5, 6]);
    assert_eq!(story.revisions[&6].events.len(), 2, "{story:?}");
    assert!(story.revisions[&6].events.iter().all(|event| event.prev_kv.is_some()));
}

#[test]
fn an_anomaly_names_the_operations() {
    let (mut history, sightings) = serial(&[put("a", "1"), put("a", "2"), get("a")]);
    lies(&mut history[2], |said| {
        let Said::Range(answer) = said else { panic!("a range") };
        answer.kvs[0].value = "1".into();
    });
    let (findings, _) = check(&history, &sightings);
    let text = findings.anomalies[0].to_string();
    assert_eq!(
        text,
        "a wrong answer
    c2 [20.0000 – 25.0000] at e0 get a → 1 of 1: [a=1 (made 2, changed 3, version 2)] @3
    it should have been → 1 of 1: [a=2 (made 2, changed 3, version 2)] @3"
    );
}

#[test]
fn wrong_counts_previous_values_and_branches_are_found() {
    let (right, sightings) = serial(&everyday());
    let lie = |number: usize, lie: fn(&mut Said)| {
        let mut history = right.clone();
        lies(&mut history[number], lie);
        found(&history, &sightings, "a wrong answer");
    };
    lie(1, |said| {
        if let Said::Put(answer) = said {
            answer.prev_kv = None
        }
    });
    lie(4, |said| {
        if let Said::Txn(TxnResponse { succeeded, .. }) = said {
            *succeeded = true
        }
    });
    lie(4, |said| {
        if let Said::Txn(answer) = said {
            answer.responses.clear()
        }
    });
    lie(6, |said| {
        if let Said::Range(answer) = said {
            answer.count = 2
        }
    });
    lie(6, |said| {
        if let Said::Range(answer) = said {
            answer.more = false
        }
    });
    lie(7, |said| {
        if let Said::Delete(answer) = said {
            answer.deleted = 1
        }
    });
    lie(7, |said| {
        if let Said::Delete(answer) = said {
            answer.prev_kvs.truncate(1)
        }
    });
    lie(9, |said| {
        if let Said::Range(answer) = said {
            answer.kvs[0].version = 2
        }
    });
}

#[test]
fn a_revision_that_is_given_out_twice_is_found() {
    let (mut history, _) = serial(&[put("a", "1"), put("b", "2")]);
    lies(&mut history[1], |said| {
        let Said::Put(answer) = said else { panic!("a put") };
        answer.header.as_mut().expect("a header").revision = 2;
    });
    found(&history, &Sightings::new(), "a revision was given out twice");
}

#[test]
fn a_revision_that_nobody_made_is_found() {
    let (mut history, sightings) = serial(&[put("a", "1"), put("a", "2"), put("a", "3")]);
    refused(&mut history[1]);
    found(&history, &sightings, "a revision that nobody made");
    // Nobody was told of it either: a hole.
    found(&history, &Sightings::new(), "a revision that nobody made");
}

#[test]
fn an_unanswered_write_happens_later_or_never_but_not_before_it_is_asked_for_nor_twice() {
    let (mut history, sightings) = serial(&[put("a", "1"), put("a", "2"), put("a", "3"), get("a")]);
    unknown(&mut history[1]);
    valid(&history, &sightings);
    let mut never = history.clone();
    never.push(Operation { call: Call { endpoint: 0, request: put("a", "9") }, ..history[1].clone() });
    valid(&never, &sightings);
    history[1].invoked = seconds(21);
    found(&history, &sightings, "a revision that nobody made");
}

#[test]
fn an_operation_that_happened_twice_is_found() {
    let requests = [put("a", "1"), delete("a", ""), put("a", "1")];
    let (mut history, sightings) = serial(&requests);
    unknown(&mut history[0]);
    unknown(&mut history[2]);
    valid(&history, &sightings);
    history.pop();
    found(&history, &sightings, "an operation happened twice");
}

/// One of two deletions explains either revision, the other one only the second: together they explain both.
#[test]
fn operations_that_can_stand_in_for_each_other_are_matched() {
    let (mut history, mut sightings) =
        serial(&[put("a", "1"), delete("a", ""), put("a", "2"), delete("a", "b")]);
    unknown(&mut history[1]);
    unknown(&mut history[3]);
    sightings.values_mut().for_each(|sighting| sighting.at = seconds(99));
    moved(&mut history[2], 20, 99);
    valid(&history, &sightings);
    history.swap(1, 3);
    valid(&history, &sightings);
    // Nobody else can have made revision 3, if it was seen before the other one was asked for.
    sightings.get_mut(&3).expect("deleted").at = seconds(29);
    valid(&history, &sightings);
    history[3].invoked = seconds(30);
    found(&history, &sightings, "a revision that nobody made");
}

#[test]
fn what_nobody_saw_is_undecided() {
    let (mut history, sightings) = serial(&[put("a", "1"), put("b", "2"), put("a", "3")]);
    unknown(&mut history[0]);
    unknown(&mut history[1]);
    valid(&history, &sightings);
    let (findings, _) = check(&history, &Sightings::new());
    assert!(findings.anomalies.is_empty() && findings.undecided.len() == 1, "{findings:?}");
    // A read that shows it is as good as a watcher.
    let (mut history, _) = serial(&[put("a", "1"), put("b", "2"), first_of("a", "c", 0)]);
    unknown(&mut history[0]);
    unknown(&mut history[1]);
    valid(&history, &Sightings::new());
}

#[test]
fn a_stale_read_is_found() {
    let (mut history, sightings) = serial(&[put("a", "1"), get("a"), put("a", "2")]);
    moved(&mut history[1], 26, 30);
    found(&history, &sightings, "a stale read");
    moved(&mut history[1], 22, 30);
    valid(&history, &Sightings::new());
    // Who is content with the past may be told of it, at another endpoint.
    history[1].call = Call { endpoint: 1, request: glance("a") };
    moved(&mut history[1], 40, 45);
    valid(&history, &sightings);
}

#[test]
fn a_write_from_before_it_was_asked_for_is_found() {
    let (mut history, _) = serial(&[put("a", "1"), put("b", "2")]);
    moved(&mut history[0], 20, 25);
    found(&history, &Sightings::new(), "a write from before it was asked for");
    let (history, mut sightings) = serial(&[put("a", "1")]);
    sightings.get_mut(&2).expect("it was told").at = seconds(1);
    valid(&history, &sightings);
    let mut late = history;
    moved(&mut late[0], 2, 5);
    found(&late, &sightings, "a write from before it was asked for");
}

#[test]
fn an_endpoint_whose_revision_goes_back_is_found() {
    let (mut history, sightings) = serial(&[put("a", "1"), glance("a"), put("a", "2")]);
    moved(&mut history[1], 30, 35);
    found(&history, &sightings, "an endpoint's revision went back");
    history[1].call.endpoint = 1;
    valid(&history, &sightings);
}

#[test]
fn other_events_than_changes_are_found() {
    let (history, mut sightings) = serial(&everyday());
    sightings.get_mut(&5).expect("two puts").events.pop();
    found(&history, &sightings, "other events than changes");
}

#[test]
fn a_change_that_was_none_and_a_refusal_that_was_none_are_found() {
    let (mut history, _) = serial(&[put("a", "1"), delete("a", ""), put("a", "2")]);
    history[0].call.request = put("b", "1");
    found(&history, &Sightings::new(), "a change that was none");
    let (mut history, sightings) = serial(&[put("a", "1")]);
    history[0].call.request = leased("a", 7);
    found(&history, &sightings, "an answer instead of a refusal");
}

#[test]
fn a_change_that_was_not_made_is_found() {
    let (mut history, sightings) = serial(&[put("a", "1"), swap("a", "9", "2"), get("a")]);
    history[1].call.request = swap("a", "1", "2");
    assert_eq!(names(&history, &sightings), ["a wrong answer"]);
}

#[test]
fn keys_go_with_their_lease_and_none_comes_later() {
    let (right, sightings) = serial(&[grant(7, 600), leased("a", 7), revoke(7), get("a")]);
    valid(&right, &sightings);
    // It was answered, and nothing was deleted.
    let (mut kept, _) = serial(&[grant(7, 600), leased("a", 7), get("a"), get("a")]);
    kept[2].call.request = revoke(7);
    lies(&mut kept[2], |said| {
        let header = said
            .revision()
            .map(|revision| proto::etcdserverpb::ResponseHeader { revision, ..Default::default() });
        *said = Said::Revoke(proto::etcdserverpb::LeaseRevokeResponse { header });
    });
    found(&kept, &Sightings::new(), "a key outlived its lease");
    let (late, sightings) = serial(&[grant(7, 600), revoke(7), leased("a", 7)]);
    found(&late, &sightings, "attached to a revoked lease");
}

#[test]
fn a_lease_that_ends_early_is_found() {
    let (mut history, sightings) = serial(&[grant(7, 12), leased("a", 7), revoke(7), get("a")]);
    // Nobody revoked it: it ended at 25 at the latest, and was asked for at 0.
    history.remove(2);
    valid(&history, &sightings);
    history[0].call.request = grant(7, 26);
    found(&history, &sightings, "a revision that nobody made");
}

#[test]
fn a_compacted_revision_that_is_read_is_found() {
    let as_of =
        |revision| Request::Range(proto::etcdserverpb::RangeRequest { revision, ..history::get("a") });
    let (history, sightings) = serial(&[put("a", "1"), put("a", "2"), as_of(2), compact(3), as_of(3)]);
    valid(&history, &sightings);
    let (history, sightings) = serial(&[put("a", "1"), put("a", "2"), compact(3), as_of(2)]);
    found(&history, &sightings, "a compacted revision was read");
}
