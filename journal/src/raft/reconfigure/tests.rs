//! What etcd refuses is refused, and nothing else.

use super::*;
use crate::member::Member;

fn url(id: u64) -> String {
    format!("http://host-{id}:2380")
}

fn started(id: u64) -> Peer {
    Peer { name: format!("node-{id}"), peer_urls: vec![url(id)], client_urls: Vec::new(), votes: true }
}

/// The leader is 1; all are up and have everything.
fn sight(voters: &[u64], learners: &[u64]) -> Sight {
    let mut nodes: BTreeMap<u64, Peer> = voters.iter().map(|id| (*id, started(*id))).collect();
    nodes.extend(learners.iter().map(|id| (*id, Peer { votes: false, ..started(*id) })));
    let up: BTreeSet<u64> = nodes.keys().copied().collect();
    let steady = up.clone();
    let matched = up.iter().map(|id| (*id, 1_000)).collect();
    let members = Voters::new(vec![voters.iter().copied().collect()], nodes).unwrap();
    Sight { members, leader: 1, up, steady, matched, last: 1_000, is_strict: true }
}

fn add(id: u64, learner: bool) -> MemberChange {
    MemberChange::Add(Member { id, peer_urls: vec![url(id)], learner, ..Member::default() })
}

/// Answers voters, and all nodes.
fn after(plan: Result<Plan, MemberRefusal>) -> (Vec<u64>, Vec<u64>) {
    let Ok(Plan::Append(members)) = plan else { panic!("{plan:?}") };
    (members.voter_ids().collect(), members.nodes().map(|(id, _)| *id).collect())
}

#[test]
fn one_that_is_new_follows_before_it_votes() {
    let mut one = sight(&[1], &[]);
    let Ok(Plan::Append(members)) = one.plan(add(2, false), 1) else { panic!() };
    assert!(members.voter_ids().eq([1]) && members.get_node(&2).unwrap().votes);
    one.members = members;
    assert!(one.awaits_voters());
    assert_eq!(one.next_voter(), None, "it has not been heard of");
    one.up.insert(2);
    one.matched.insert(2, 500);
    assert_eq!(one.next_voter(), None, "it is behind");
    one.matched.insert(2, 999);
    assert_eq!(one.next_voter(), Some(2));
    assert_eq!(after(Ok(one.with_vote(2))), (vec![1, 2], vec![1, 2]));
}

#[test]
fn who_is_there_is_not_added_again() {
    let three = sight(&[1, 2, 3], &[]);
    assert_eq!(three.plan(add(2, false), 1), Err(MemberRefusal::Exists));
    let Ok(Plan::Append(_)) = three.plan(add(4, true), 1) else { panic!() };
    let taken = MemberChange::Add(Member { id: 4, peer_urls: vec![url(3)], ..Member::default() });
    assert_eq!(three.plan(taken, 1), Err(MemberRefusal::PeerUrlExists));
    let moved = MemberChange::Update { id: 2, peer_urls: vec![url(3)] };
    assert_eq!(three.plan(moved, 1), Err(MemberRefusal::PeerUrlExists));
}

#[test]
fn learners_are_counted() {
    let one = sight(&[1], &[2]);
    assert_eq!(one.plan(add(3, true), 1), Err(MemberRefusal::TooManyLearners));
    assert_eq!(after(one.plan(add(3, true), 2)), (vec![1], vec![1, 2, 3]));
}

#[test]
fn a_learner_that_is_behind_is_not_promoted() {
    let promote = |id| MemberChange::Promote { id };
    let mut one = sight(&[1], &[2]);
    assert_eq!(after(one.plan(promote(2), 1)), (vec![1, 2], vec![1, 2]));
    assert_eq!(one.plan(promote(1), 1), Err(MemberRefusal::NotLearner));
    assert_eq!(one.plan(promote(3), 1), Err(MemberRefusal::NotFound));
    one.matched.insert(2, 899);
    assert_eq!(one.plan(promote(2), 1), Err(MemberRefusal::LearnerNotReady));
}

#[test]
fn while_one_is_down_nobody_comes_and_only_that_one_goes() {
    let mut three = sight(&[1, 2, 3], &[]);
    three.up.remove(&3);
    assert_eq!(three.plan(add(4, false), 1), Err(MemberRefusal::Unhealthy));
    assert_eq!(three.plan(MemberChange::Remove { id: 2 }, 1), Err(MemberRefusal::Unhealthy));
    assert_eq!(after(three.plan(MemberChange::Remove { id: 3 }, 1)), (vec![1, 2], vec![1, 2]));
}

/// As etcd 3.6.16: additions and removals are refused until members were connected for five seconds; other changes are
/// not, and neither is the removal of a member that is down.
#[test]
fn members_that_were_connected_only_now_count_as_down() {
    let mut three = sight(&[1, 2, 3], &[4]);
    three.steady = [1].into();
    let remove = |id| MemberChange::Remove { id };
    assert_eq!(three.plan(add(5, false), 2), Err(MemberRefusal::Unhealthy));
    assert_eq!(three.plan(add(5, true), 2), Err(MemberRefusal::Unhealthy));
    assert_eq!(three.plan(remove(3), 1), Err(MemberRefusal::Unhealthy));
    assert_eq!(three.plan(remove(1), 1), Err(MemberRefusal::Unhealthy));
    assert_eq!(after(three.plan(remove(4), 1)), (vec![1, 2, 3], vec![1, 2, 3]), "it has no vote");
    assert_eq!(after(three.plan(MemberChange::Promote { id: 4 }, 1)).0, [1, 2, 3, 4]);
    let moved = MemberChange::Update { id: 2, peer_urls: vec![url(9)] };
    assert!(matches!(three.plan(moved, 1), Ok(Plan::SetPeer(2, _))));
    three.up.remove(&3);
    assert_eq!(after(three.plan(remove(3), 1)).0, [1, 2]);
    three.is_strict = false;
    assert_eq!(after(three.plan(add(5, false), 2)).1, [1, 2, 3, 4, 5]);
}

#[test]
fn one_comes_where_the_others_are_a_majority_beside_it() {
    for (voters, is_taken) in [(2, false), (3, false), (4, true), (5, true)] {
        let mut sight = sight(&(1..=voters).collect::<Vec<_>>(), &[]);
        sight.up.remove(&voters);
        let planned = sight.plan(add(9, false), 1);
        assert_eq!(planned.is_ok(), is_taken, "{voters}: {planned:?}");
    }
}

#[test]
fn without_the_check_nothing_is_refused_for_what_is_down() {
    let mut three = sight(&[1, 2, 3], &[]);
    (three.up, three.is_strict) = ([1].into(), false);
    assert_eq!(after(three.plan(MemberChange::Remove { id: 2 }, 1)), (vec![1, 3], vec![1, 3]));
    assert_eq!(after(three.plan(add(4, false), 1)), (vec![1, 2, 3], vec![1, 2, 3, 4]));
    let last = sight(&[1], &[]);
    let last = Sight { is_strict: false, ..last };
    assert_eq!(last.plan(MemberChange::Remove { id: 1 }, 1), Err(MemberRefusal::NotEnoughStarted));
}

#[test]
fn those_who_have_not_started_do_not_count() {
    let mut three = sight(&[1, 2, 3], &[]);
    let nodes: BTreeMap<u64, Peer> =
        [(1, started(1)), (2, started(2)), (3, Peer { name: String::new(), ..started(3) })].into();
    three.members = Voters::new(vec![[1, 2, 3].into()], nodes).unwrap();
    assert_eq!(three.plan(add(4, false), 1), Err(MemberRefusal::NotEnoughStarted));
    assert_eq!(three.plan(MemberChange::Remove { id: 2 }, 1), Err(MemberRefusal::NotEnoughStarted));
    assert_eq!(after(three.plan(MemberChange::Remove { id: 3 }, 1)), (vec![1, 2], vec![1, 2]));
    assert_eq!(
        sight(&[1], &[]).plan(MemberChange::Remove { id: 1 }, 1),
        Err(MemberRefusal::NotEnoughStarted)
    );
}

#[test]
fn a_leader_that_is_to_go_lets_the_best_one_lead_first() {
    let mut three = sight(&[1, 2, 3], &[]);
    three.matched.insert(3, 900);
    assert_eq!(three.plan(MemberChange::Remove { id: 1 }, 1), Ok(Plan::HandOver(2)));
    assert_eq!(after(three.plan(MemberChange::Remove { id: 2 }, 1)), (vec![1, 3], vec![1, 3]));
}

#[test]
fn what_a_node_tells_of_itself_is_written_once() {
    let publish = |name: &str| MemberChange::Publish { id: 2, name: name.into(), client_urls: Vec::new() };
    let three = sight(&[1, 2, 3], &[]);
    assert_eq!(three.plan(publish("node-2"), 1), Ok(Plan::Nothing));
    let renamed = Peer { name: "other".into(), ..started(2) };
    assert_eq!(three.plan(publish("other"), 1), Ok(Plan::SetPeer(2, renamed)));
}
