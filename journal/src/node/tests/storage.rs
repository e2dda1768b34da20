//! Voters whose data directory is blank, older than it was, or another.

use super::net::Net;
use crate::lsn::Lsn;

/// Three voters, of which `absent` is down, and the position of what the others have acknowledged since.
async fn two_of_three(net: &mut Net, absent: u64) -> Lsn {
    net.write(7, 5).await;
    net.met().await;
    net.kill(absent).await;
    net.write(8, 20).await
}

#[tokio::test]
async fn a_voter_that_lost_its_disk_is_refused_whatever_it_had_published() {
    let mut net = Net::begin(&[1, 2, 3]).await;
    let last = two_of_three(&mut net, 3).await;
    net.kill(1).await;
    net.kill(2).await;
    net.wipe(1);
    net.start(3, &[1, 2, 3], false).await;
    let error = net.try_start(1, &[1, 2, 3], false).await.unwrap_err().to_string();
    assert!(error.starts_with("member 1 has already been bootstrapped: "), "{error}");
    assert!(
        error.contains("mainstem member replace 1 --name=node-1 --peer-urls=http://127.0.0.1:"),
        "{error}"
    );
    net.start(2, &[1, 2, 3], false).await;
    net.has(3, last).await;
}

#[tokio::test]
async fn a_voter_that_lost_its_disk_ends_as_soon_as_it_is_told() {
    let mut net = Net::begin(&[1, 2, 3]).await;
    let last = two_of_three(&mut net, 3).await;
    net.kill(1).await;
    net.kill(2).await;
    net.wipe(1);
    net.start(1, &[1, 2, 3], false).await;
    let stopped = net.node(1).stopped();
    net.start(3, &[1, 2, 3], false).await;
    stopped.await;
    net.kill(1).await;
    net.start(2, &[1, 2, 3], false).await;
    net.has(3, last).await;
}

#[tokio::test]
async fn a_voter_on_an_older_disk_votes_once_it_has_caught_up() {
    let mut net = Net::begin(&[1, 2, 3]).await;
    net.write(7, 5).await;
    net.met().await;
    net.kill(3).await;
    let older = net.copy(2);
    let last = net.write(8, 20).await;
    net.save_registry(1).await;
    net.kill(1).await;
    net.kill(2).await;
    net.put_back(2, older);
    net.start(1, &[1, 2, 3], false).await;
    net.start(2, &[1, 2, 3], false).await;
    assert!(net.standing(2).missing.is_some(), "the other one knows what it had acknowledged");
    net.start(3, &[1, 2, 3], false).await;
    for node in [1, 2, 3] {
        net.has(node, last).await;
    }
    while net.standing(2).missing.is_some() {
        net.rest().await;
    }
    net.kill(1).await;
    net.write(9, 5).await;
}

#[tokio::test]
async fn a_voter_whose_disk_is_put_back_under_a_leader_is_sent_what_is_missing() {
    let mut net = Net::begin(&[1, 2, 3]).await;
    net.write(7, 5).await;
    net.met().await;
    let follower = net.leader().await % 3 + 1;
    let older = net.copy(follower);
    net.write(8, 20).await;
    net.kill(follower).await;
    net.put_back(follower, older);
    net.start(follower, &[1, 2, 3], false).await;
    let last = net.write(9, 5).await;
    net.has(follower, last).await;
    while net.standing(follower).missing.is_some() {
        net.rest().await;
    }
}

#[tokio::test]
async fn a_new_cluster_begins_also_where_a_founder_is_wiped_before_it_has_voted() {
    let mut net = Net::places(&[1, 2, 3]).await;
    net.start(1, &[1, 2, 3], false).await;
    net.kill(1).await;
    net.wipe(1);
    for node in [2, 1, 3] {
        net.start(node, &[1, 2, 3], false).await;
    }
    net.write(7, 5).await;
}

/// A joined member is in no flags with its id: it finds out from the addresses of the others.
#[tokio::test]
async fn members_whose_disks_are_swapped_end_with_what_to_do() {
    let mut net = Net::begin(&[1, 2, 3]).await;
    net.write(7, 5).await;
    net.met().await;
    net.kill(2).await;
    net.kill(3).await;
    net.swap_disks(2, 3);
    for node in [2, 3] {
        net.start(node, &[], true).await;
    }
    for node in [2, 3] {
        net.node(node).stopped().await;
    }
}
