//! What is concluded from what members say.

use expect_test::{Expect, expect};

use super::*;

fn member(id: u64, role: Role) -> Member {
    Member {
        id: id.to_string(),
        name: format!("n{id}"),
        role,
        answers: true,
        leader: Some("1".to_owned()),
        peer_urls: vec![format!("http://10.0.0.{id}:2380")],
        ..Member::default()
    }
}

fn cluster(voters: u64) -> Document {
    let role = |id| if id == 1 { Role::Leader } else { Role::Follower };
    let members = (1..=voters).map(|id| member(id, role(id))).collect();
    Document { leader: Some("1".to_owned()), told_by: "1".to_owned(), members, ..Document::default() }
}

fn without(voters: u64, silent: &[usize]) -> Document {
    let mut document = cluster(voters);
    for at in silent {
        document.members[*at] = Member { answers: false, leader: None, ..document.members[*at].clone() };
    }
    document
}

fn check(document: Document, expected: Expect) {
    let Document { summary, next_steps, .. } = document.judge();
    expected.assert_eq(&[vec![summary], next_steps].concat().join("\n"));
}

#[test]
fn health_has_the_number_that_may_fail() {
    check(cluster(1), expect!["healthy: 1 of 1 voter, none may fail"]);
    check(cluster(3), expect!["healthy: 3 of 3 voters, 1 may fail"]);
    check(cluster(5), expect!["healthy: 5 of 5 voters, 2 may fail"]);
    check(
        without(5, &[4]),
        expect![[r#"
            degraded: 4 of 5 voters, 1 may fail
            member n5 (5) does not answer at http://10.0.0.5:2380: start it, or look at the network between; if it is gone for good, `mainstem member replace 5` puts another in its place"#]],
    );
}

#[test]
fn a_partition_that_is_lost_is_told_though_the_rest_works() {
    let replicas = vec!["m1".to_owned(), "m2".to_owned()];
    let partitions = vec![
        Partition { id: 1, ..Partition::default() },
        Partition { id: 7, lost: true, replicas, ..Partition::default() },
    ];
    check(
        Document { partitions, ..cluster(1) },
        expect![[r#"
            degraded: 1 of 1 voter, none may fail
            partition 7 is served by no memstore, and requests for its keys wait: start one of m1, m2"#]],
    );
}

#[test]
fn a_memstore_that_is_gone_is_told_with_what_to_do() {
    let memstore = |name: &str, answers| Memstore {
        name: name.to_owned(),
        url: format!("http://{name}:2390"),
        answers,
        ..Memstore::default()
    };
    let memstores = vec![memstore("m1", Some(true)), memstore("m2", Some(false)), memstore("m3", None)];
    check(
        Document { memstores, ..cluster(3) },
        expect![[r#"
            degraded: 3 of 3 voters, 1 may fail
            memstore m2 does not answer at http://m2:2390: start it, or look at the network between; if it is gone for good, `mainstem partition forget m2`"#]],
    );
}

#[test]
fn a_voter_that_has_lost_what_it_acknowledged_does_not_count() {
    let mut document = cluster(3);
    document.members[1].missing_up_to = Some(120);
    document.members[2] = Member { lag: 300, stalled: true, ..document.members[2].clone() };
    check(
        document,
        expect![[r#"
            degraded: 2 of 3 voters, none may fail
            member n2 (2) does not vote: its data directory is older than what it had acknowledged, up to 120, as of a copy that was put back; a leader sends it what is missing, and if there is none, start the other members
            member n3 (3) is 300 entries behind and does not catch up: look at its log, and at the network between it and the leader"#]],
    );
}

#[test]
fn a_member_without_a_vote_or_client_urls_is_not_healthy() {
    let mut document = cluster(4);
    document.members[3].awaits_vote = true;
    check(
        document.clone(),
        expect![[r#"
            degraded: 3 of 3 voters, 1 may fail
            member n4 (4) has no vote yet: it gets one when it has what the others have; if it lasts, look at its log"#]],
    );
    let joining = text::page(&document);
    document.members[3] =
        Member { answers: false, unstarted: true, name: String::new(), ..document.members[3].clone() };
    check(
        document.clone(),
        expect![[r#"
            degraded: 3 of 3 voters, 1 may fail
            member 4 was added and has never started: start it with --initial-cluster-state=existing and an empty data directory; if it is not to come, `etcdctl member remove 4`"#]],
    );
    assert!(joining.contains("joining") && text::page(&document).contains("unstarted"), "{joining}");
    let mut document = cluster(3);
    document.members[1].unstarted = true;
    check(
        document,
        expect![[r#"
            degraded: 3 of 3 voters, 1 may fail
            member n2 (2) is starting: it serves no clients yet, or has not told the others where; if it lasts, look at its log"#]],
    );
}

#[test]
fn a_voter_that_follows_another_leader_does_not_count() {
    let mut document = cluster(3);
    document.members[2].leader = Some("9".to_owned());
    check(
        document,
        expect![[r#"
            degraded: 2 of 3 voters, none may fail
            member n3 (3) follows another leader or none: it should find the leader within seconds; if not, look at its log"#]],
    );
}

#[test]
fn without_a_majority_or_a_leader_it_is_unavailable() {
    let document = without(3, &[1, 2]);
    assert_eq!(document.clone().judge().health, Health::Unavailable);
    assert_eq!(document.judge().summary, "unavailable: 1 of 3 voters answer, 2 are needed");
    let document = Document { leader: None, ..cluster(3) }.judge();
    assert_eq!((document.summary.as_str(), document.may_fail), ("unavailable: the voters have no leader", 0));
}

#[test]
fn learners_do_not_vote_and_even_numbers_are_told() {
    let mut document = cluster(3);
    document.members.push(member(4, Role::Learner));
    check(document, expect!["healthy: 3 of 3 voters, 1 may fail"]);
    check(
        cluster(4),
        expect![[r#"
            degraded: 4 of 4 voters, 1 may fail
            4 voters bear no more than 3 do: add one, or remove one"#]],
    );
}

#[test]
fn alarms_and_lag_have_next_steps() {
    let mut document = cluster(3);
    document.alarms = vec![Alarm { member: "1".to_owned(), alarm: "NOSPACE".to_owned() }];
    document.members[1].lag = 20_000;
    check(
        document,
        expect![[r#"
            degraded: 3 of 3 voters, 1 may fail
            member n2 (2) is 20000 entries behind: look at its disk and at its processor
            alarm NOSPACE: the store takes nothing that makes it grow; delete keys and compact, or start the members with a larger --quota-backend-bytes"#]],
    );
}

#[test]
fn a_member_tells_of_itself_what_the_others_do_not_know() {
    let mut document = cluster(3);
    let mut other = Document { told_by: "2".to_owned(), ..cluster(3) };
    other.members[1].version = Some("1.2.3".to_owned());
    other.members[0].version = Some("only hearsay".to_owned());
    document.absorb(&other);
    let versions: Vec<_> = document.members.iter().map(|member| member.version.as_deref()).collect();
    assert_eq!(versions, [None, Some("1.2.3"), None]);
}

#[test]
fn a_page_begins_with_the_health_and_the_next_step() {
    let mut document = without(3, &[2]);
    document.cluster = "cafe".to_owned();
    document.members[0].database_bytes = Some(3 << 20);
    document.partitions =
        vec![Partition { id: 1, start: "\\x00".to_owned(), keys: 7, ..Partition::default() }];
    let page = text::page(&document.judge());
    expect![[r#"
        degraded: 2 of 3 voters, none may fail
          next: member n3 (3) does not answer at http://10.0.0.3:2380: start it, or look at the network between; if it is gone for good, `mainstem member replace 3` puts another in its place

        cluster cafe, term 0, revision 0, compacted at 0

        MEMBER  ID  ROLE       TERM  APPLIED  LAG  JOURNAL  DATABASE  VERSION  CLIENTS
        n1      1   leader     0     0        0    0 B      3 MiB     ?
        n2      2   follower   0     0        0    0 B      ?         ?
        n3      3   no answer  ?     ?        ?    ?        ?         ?

        PARTITION  FROM    TO       KEYS  BYTES  APPLIED  WATCHERS  MEMSTORES
        1          "\x00"  the end  7     0 B    0        0         all

        alarms: none
    "#]].assert_eq(&page);
}

#[test]
fn a_document_of_a_later_release_is_read() {
    let later = r#"{"format":1,"health":"degraded","members":[{"id":"1","shine":3}],"moon":true}"#;
    let document: Document = serde_json::from_str(later).expect("what is not known is left out");
    assert_eq!((document.health, document.members.len()), (Health::Degraded, 1));
}
