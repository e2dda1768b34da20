//! Each rule with the smallest stream that breaks it.

use proto::etcdserverpb::ResponseHeader;

use super::*;
use crate::history::event as text;
use crate::linearize::script::*;

/// Revisions 2 to 8: a=1, a=2, a and b=3 together, b gone, c=4, a=5, c gone.
fn story() -> Story {
    let requests = [
        put("a", "1"),
        put("a", "2"),
        puts(&["a", "b"], "3"),
        delete("b", ""),
        put("c", "4"),
        put("a", "5"),
        delete("c", ""),
    ];
    let (history, sightings) = serial(&requests);
    crate::linearize::check(&history, &sightings).1
}

fn everything() -> WatchCreateRequest {
    WatchCreateRequest {
        key: vec![0].into(),
        range_end: vec![0].into(),
        start_revision: 2,
        prev_kv: true,
        ..WatchCreateRequest::default()
    }
}

fn response(revision: i64, events: Vec<Event>) -> WatchResponse {
    let header = Some(ResponseHeader { revision, ..ResponseHeader::default() });
    WatchResponse { header, events, ..WatchResponse::default() }
}

fn at(response: WatchResponse) -> (Moment, WatchResponse) {
    (seconds(1_000), response)
}

/// All that it wants, from `start` to `upto`, a response for each revision.
fn session(watching: &Watching, story: &Story, start: i64, upto: i64) -> Session {
    let mut responses = vec![at(WatchResponse { created: true, ..response(upto, Vec::new()) })];
    for (revision, told) in story.revisions.range(start..=upto) {
        let mut events: Vec<Event> =
            told.events.iter().filter(|event| watching.wants(event)).cloned().collect();
        if !watching.create.prev_kv {
            events.iter_mut().for_each(|event| event.prev_kv = None);
        }
        if !events.is_empty() {
            responses.push(at(response(*revision, events)));
        }
    }
    Session { endpoint: 0, opened: seconds(900), start, responses }
}

fn told(create: WatchCreateRequest, cuts: &[i64]) -> Watching {
    let story = story();
    let mut watching = Watching { name: "w".to_owned(), create, sessions: Vec::new() };
    let mut start = watching.create.start_revision;
    for cut in cuts {
        let session = session(&watching, &story, start, *cut);
        watching.sessions.push(session);
        start = cut + 1;
    }
    watching
}

#[track_caller]
fn valid(watching: Watching) {
    let findings = check(&[watching], &story(), 8);
    assert!(findings.anomalies.is_empty() && findings.undecided.is_empty(), "{findings:?}");
}

#[track_caller]
fn found_in(watching: Watching, story: &Story, name: &str) {
    let names: Vec<String> =
        check(&[watching], story, 8).anomalies.into_iter().map(|anomaly| anomaly.name).collect();
    assert!(names.iter().any(|found| found == name), "{name} is not in {names:?}");
}

/// A watcher of everything over one connection, its responses changed: the creation, and revisions 2 to 8.
#[track_caller]
fn found(name: &str, change: impl FnOnce(&mut Vec<(Moment, WatchResponse)>)) {
    let mut watching = told(everything(), &[8]);
    change(&mut watching.sessions[0].responses);
    found_in(watching, &story(), name);
}

#[test]
fn what_was_told_rightly_is_valid() {
    valid(told(everything(), &[8]));
    valid(told(everything(), &[3, 5, 8]));
    valid(told(WatchCreateRequest { prev_kv: false, ..everything() }, &[8]));
    valid(told(WatchCreateRequest { start_revision: 5, ..everything() }, &[8]));
    valid(told(
        WatchCreateRequest { key: "a".into(), range_end: Vec::new().into(), ..everything() },
        &[4, 8],
    ));
    for filter in [FilterType::Noput, FilterType::Nodelete] {
        valid(told(WatchCreateRequest { filters: vec![filter.into()], ..everything() }, &[8]));
    }
    let mut progress = told(everything(), &[5, 8]);
    progress.sessions[0].responses.push(at(response(5, Vec::new())));
    valid(progress);
}

#[test]
fn an_anomaly_names_the_watcher_and_the_operation() {
    let mut watching = told(everything(), &[8]);
    watching.sessions[0].responses.remove(2);
    let anomalies = check(&[watching], &story(), 8).anomalies;
    let expected = "a lost event
    w at e0, from 2 on, told at 1000.0000
    put a=2 (made 2, changed 3, version 2), before: a=1 (made 2, changed 2, version 1)
    made by c1 [10.0000 – 15.0000] at e0 put a := 2 → ok, before: a=1 (made 2, changed 2, version 1) @3
    then came put a=3 (made 2, changed 4, version 3), before: a=2 (made 2, changed 3, version 2)";
    assert_eq!(anomalies[0].to_string(), expected);
}

#[test]
fn lost_events_are_found() {
    // In the middle, at the end, and where a connection broke.
    found("a lost event", |responses| drop(responses.remove(3)));
    found("a lost event", |responses| drop(responses.pop()));
    let mut watching = told(everything(), &[4, 8]);
    watching.sessions[1].responses.remove(1);
    found_in(watching, &story(), "a lost event");
}

#[test]
fn a_session_that_begins_too_late_is_no_verdict() {
    let mut watching = told(everything(), &[4, 8]);
    watching.sessions[1].start = 6;
    watching.sessions[1].responses.remove(1);
    let findings = check(&[watching], &story(), 8);
    assert!(!findings.undecided.is_empty(), "{findings:?}");
}

#[test]
fn repeated_and_reordered_events_are_found() {
    found("an event told again, or out of order", |responses| responses.insert(3, responses[2].clone()));
    found("an event told again, or out of order", |responses| responses.swap(2, 3));
    found("an event told again, or out of order", |responses| responses[3].1.events.swap(0, 1));
}

#[test]
fn half_a_revision_is_found_unless_it_is_a_fragment() {
    let halve = |responses: &mut Vec<(Moment, WatchResponse)>, fragment| {
        let second = responses[3].1.events.pop().expect("two events");
        responses[3].1.fragment = fragment;
        responses.insert(4, at(response(4, vec![second])));
    };
    found("half a revision", |responses| halve(responses, false));
    let mut watching = told(everything(), &[8]);
    halve(&mut watching.sessions[0].responses, true);
    valid(watching);
}

#[test]
fn events_that_were_not_asked_for_are_found() {
    let all = told(everything(), &[8]).sessions;
    for create in [
        WatchCreateRequest { key: "b".into(), ..everything() },
        WatchCreateRequest { filters: vec![FilterType::Noput.into()], ..everything() },
        WatchCreateRequest { filters: vec![FilterType::Nodelete.into()], ..everything() },
    ] {
        let watching = Watching { create, sessions: all.clone(), name: "w".to_owned() };
        found_in(watching, &story(), "an event that was not asked for");
    }
}

#[test]
fn events_that_did_not_happen_are_found() {
    found("an event that did not happen", |responses| {
        let event = &mut responses[2].1.events[0];
        event.kv.as_mut().expect("a key").value = "other".into();
        assert!(text(event).contains("a=other"));
    });
    found("an event from the future", |responses| responses[5].0 = seconds(39));
}

#[test]
fn wrong_previous_values_are_found() {
    found("a wrong previous value", |responses| responses[2].1.events[0].prev_kv = None);
    found("a wrong previous value", |responses| {
        responses[2].1.events[0].prev_kv.as_mut().expect("there was one").version = 2;
    });
    // Whoever did not ask for them gets none.
    let all = told(everything(), &[8]).sessions;
    let create = WatchCreateRequest { prev_kv: false, ..everything() };
    found_in(Watching { create, sessions: all, name: "w".to_owned() }, &story(), "a wrong previous value");
}

#[test]
fn a_previous_value_may_be_compacted() {
    let mut watching = told(everything(), &[8]);
    watching.sessions[0].responses[2].1.events[0].prev_kv = None;
    let mut story = story();
    story.compactions.push((3, seconds(950), None));
    let findings = check(&[watching], &story, 8);
    assert!(findings.anomalies.is_empty(), "{findings:?}");
}

#[test]
fn progress_that_is_ahead_or_goes_back_is_found() {
    let progress = |revision| at(response(revision, Vec::new()));
    found("progress was ahead", |responses| responses.insert(3, progress(4)));
    found("progress went back", |responses| responses.extend([progress(8), progress(7)]));
    let mut right = told(everything(), &[8]);
    right.sessions[0].responses.insert(3, progress(3));
    valid(right);
    // Ahead of what this watcher wants, and of nothing else.
    let mut of_c =
        told(WatchCreateRequest { key: "c".into(), range_end: Vec::new().into(), ..everything() }, &[8]);
    of_c.sessions[0].responses.insert(1, progress(5));
    valid(of_c);
}

#[test]
fn events_from_before_the_start_are_found() {
    let mut watching = told(everything(), &[8]);
    watching.create.start_revision = 3;
    watching.sessions[0].start = 3;
    found_in(watching, &story(), "an event from before the start");
    // From now on is behind what the creation says.
    let mut watching = told(everything(), &[8]);
    (watching.create.start_revision, watching.sessions[0].start) = (0, 0);
    watching.sessions[0].responses[0].1 = WatchResponse { created: true, ..response(2, Vec::new()) };
    found_in(watching.clone(), &story(), "an event from before the start");
    watching.sessions[0].responses.remove(1);
    valid(watching);
}

#[test]
fn a_header_behind_its_events_is_found() {
    found("a header behind its events", |responses| {
        responses[4].1.header.as_mut().expect("a header").revision = 4;
    });
}

#[test]
fn a_compaction_is_told_and_none_is_invented() {
    let ended =
        |compact_revision| at(WatchResponse { canceled: true, compact_revision, ..response(8, Vec::new()) });
    let mut compacted = story();
    compacted.compactions.push((5, seconds(800), Some(seconds(801))));
    found_in(told(everything(), &[8]), &compacted, "a compaction that was not told");
    let right = Session { responses: vec![ended(5)], ..told(everything(), &[8]).sessions.remove(0) };
    let watching = Watching { sessions: vec![right], ..told(everything(), &[]) };
    assert_eq!(check(std::slice::from_ref(&watching), &compacted, 8), Findings::default());
    found_in(watching, &story(), "a compaction that was not");
    // It had been told everything below.
    found("a compaction that was not", |responses| responses.push(ended(9)));
    let mut late = told(everything(), &[8]);
    late.sessions[0].opened = seconds(700);
    late.sessions[0].responses.push(ended(5));
    found_in(late, &compacted, "a compaction that was not");
}

#[test]
fn whoever_watches_everything_tells_the_other_judge() {
    let story = story();
    let seen = sightings(&[
        told(everything(), &[3, 8]),
        told(WatchCreateRequest { key: "b".into(), ..everything() }, &[8]),
    ]);
    assert_eq!(seen.len(), 7);
    for (revision, sighting) in &seen {
        assert_eq!(sighting.events, story.revisions[revision].events);
    }
    let mut watching = told(everything(), &[4]);
    assert_eq!(watching.next(), 5);
    watching.sessions[0].responses.push(at(response(7, Vec::new())));
    assert_eq!(watching.next(), 8);
    let half = WatchResponse { fragment: true, ..watching.sessions[0].responses[3].1.clone() };
    watching.sessions[0].responses = vec![at(half)];
    assert_eq!(watching.next(), 4);
}
