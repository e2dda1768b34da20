//! A cluster that grows, shrinks and changes hands over TCP.

use super::net::Net;
use super::world::{history, put, requests};
use crate::error::Error;
use crate::lsn::Lsn;
use crate::member::{Member, MemberChange, MemberRefusal, MoveRefusal};

fn ids(members: &[Member]) -> Vec<u64> {
    members.iter().map(|member| member.id).collect()
}

#[tokio::test]
async fn one_grows_to_three_and_nobody_waits() {
    let mut net = Net::begin(&[1]).await;
    net.write(7, 20).await;
    for id in [2, 3] {
        let member = net.newcomer(id, false).await;
        let members = net.change(MemberChange::Add(member.clone())).await.unwrap();
        let joining = Member { awaits_vote: true, ..member };
        assert_eq!(members.last(), Some(&joining), "it is no learner, and votes once it has caught up");
        // It has not even started, and yet nothing waits for it.
        net.write(10 + id, 5).await;
        net.start(id, &[], true).await;
        net.voters(1, usize::try_from(id).unwrap()).await;
        let name = format!("node-{id}");
        net.change(MemberChange::Publish { id, name, client_urls: Vec::new() }).await.unwrap();
    }
    net.kill(1).await;
    let last = net.write(8, 20).await;
    for id in [2, 3] {
        net.has(id, last).await;
        assert_eq!(requests(&history(&net.handle(id), Lsn(1), last).await).len(), 50);
        assert_eq!(ids(&net.handle(id).status().borrow().members), [1, 2, 3]);
    }
}

#[tokio::test]
async fn a_dead_voter_is_replaced_by_a_learner_that_is_promoted() {
    let mut net = Net::begin(&[1, 2, 3]).await;
    net.write(7, 20).await;
    let dead = net.leader().await % 3 + 1;
    let member = net.newcomer(4, true).await;
    net.change(MemberChange::Add(member)).await.unwrap();
    net.kill(dead).await;
    net.change(MemberChange::Remove { id: dead }).await.unwrap();
    net.start(4, &[], true).await;
    let members = net.change(MemberChange::Promote { id: 4 }).await.unwrap();
    assert!(members.iter().all(|member| !member.learner) && members.len() == 3);
    let last = net.write(8, 20).await;
    net.has(4, last).await;
    assert_eq!(ids(&net.handle(4).status().borrow().members), ids(&members));
    assert_eq!(net.change(MemberChange::Promote { id: 4 }).await, Err(MemberRefusal::NotLearner));
    assert_eq!(net.change(MemberChange::Remove { id: dead }).await, Err(MemberRefusal::NotFound));
}

#[tokio::test]
async fn a_leader_that_is_removed_hands_over_and_stops() {
    let mut net = Net::begin(&[1, 2, 3]).await;
    net.write(7, 5).await;
    let first = net.leader().await;
    let members = net.change(MemberChange::Remove { id: first }).await.unwrap();
    assert!(members.len() == 2 && !ids(&members).contains(&first));
    while !matches!(net.handle(first).barrier().await, Err(Error::Closed)) {
        net.rest().await;
    }
    net.node(first).stopped().await;
    net.kill(first).await;
    net.write(8, 5).await;
}

#[tokio::test]
async fn leadership_moves_to_whom_it_is_given() {
    let mut net = Net::begin(&[1, 2, 3]).await;
    net.write(7, 5).await;
    let (first, mut moved) = (net.leader().await, Err(MoveRefusal::TookTooLong));
    let (next, third) = (first % 3 + 1, (first + 1) % 3 + 1);
    let learner = net.newcomer(4, true).await;
    net.change(MemberChange::Add(learner)).await.unwrap();
    for nobody in [4, 9] {
        assert_eq!(net.handle(first).move_leader(nobody).await, Ok(Err(MoveRefusal::NotAVoter)));
    }
    assert!(matches!(net.handle(third).move_leader(next).await, Err(Error::NotLeader { .. })));
    while moved.is_err() {
        let leader = net.leader().await;
        moved = net.handle(leader).move_leader(next).await.unwrap_or(Err(MoveRefusal::TookTooLong));
    }
    net.write(8, 5).await;
}

#[tokio::test]
async fn a_member_that_moves_is_found_where_it_is() {
    let mut net = Net::begin(&[1, 2, 3]).await;
    net.write(7, 5).await;
    let moving = net.leader().await % 3 + 1;
    net.kill(moving).await;
    net.relocate(moving).await;
    let peer_urls = net.member(moving).peer_urls;
    net.change(MemberChange::Update { id: moving, peer_urls }).await.unwrap();
    net.start(moving, &[], false).await;
    let last = net.write(8, 5).await;
    net.has(moving, last).await;
}

#[tokio::test]
async fn a_learner_that_is_removed_learns_it() {
    let mut net = Net::begin(&[1]).await;
    net.write(7, 5).await;
    let member = net.newcomer(2, true).await;
    net.change(MemberChange::Add(member)).await.unwrap();
    net.start(2, &[], true).await;
    let last = net.write(8, 5).await;
    net.has(2, last).await;
    net.change(MemberChange::Remove { id: 2 }).await.unwrap();
    while !matches!(net.handle(2).barrier().await, Err(Error::Closed)) {
        net.rest().await;
    }
}

#[tokio::test]
async fn a_voter_that_has_lost_its_data_is_refused() {
    let mut net = Net::begin(&[1, 2, 3]).await;
    net.write(7, 5).await;
    let lost = net.leader().await % 3 + 1;
    let client_urls = vec!["http://127.0.0.1:2379".into()];
    net.change(MemberChange::Publish { id: lost, name: "lost".into(), client_urls }).await.unwrap();
    net.kill(lost).await;
    net.wipe(lost);
    for join in [false, true] {
        let error = net.try_start(lost, &[1, 2, 3], join).await.unwrap_err();
        assert!(error.to_string().contains("has already been bootstrapped"), "{error}");
    }
    net.change(MemberChange::Remove { id: lost }).await.unwrap();
    let again = net.newcomer(4, false).await;
    net.change(MemberChange::Add(again)).await.unwrap();
    net.start(4, &[], true).await;
    let leader = net.leader().await;
    net.voters(leader, 3).await;
}

#[tokio::test]
async fn one_that_comes_behind_what_is_trimmed_gets_a_snapshot() {
    let mut net = Net::begin_with(&[1], 0).await;
    let journal = net.handle(1);
    for seq in 1..=100 {
        net.append(put(7, seq, 64 << 10)).await;
    }
    let at = net.handle(net.leader().await).barrier().await.unwrap();
    net.append(super::mark(1, at.lsn, at.revision)).await;
    journal.status().wait_for(|status| Lsn(20) < status.first).await.unwrap();
    let member = net.newcomer(2, false).await;
    net.change(MemberChange::Add(member)).await.unwrap();
    net.start(2, &[], true).await;
    net.voters(1, 2).await;
    let last = net.write(9, 5).await;
    net.has(2, last).await;
    assert!(Lsn(20) < net.handle(2).status().borrow().first);
    assert_eq!(net.handle(2).status().borrow().revision, journal.status().borrow().revision);
}
