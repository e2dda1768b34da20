//! A memstore that lacks what is trimmed, and members that have it, or say so.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use journal::{Dialer, Lsn, ManualClock, Member, Status, SystemClock};
use proto::snapshots::snapshots_server::SnapshotsServer;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Node;
use super::gap::{Gap, Helpers, Way};
use super::tests::{CLUSTER, NEVER, config, put, start, state, trim};
use crate::error::Error;
use crate::feed::Feed;
use crate::feed::fed::FedJournal;
use crate::partition_id::PartitionRange;
use crate::snapshot::Folder;
use crate::snapshot::keeping_tests::{keeps, voters_at};
use crate::snapshot::travel_tests::{Fault, serve, served};

fn folder() -> TempDir {
    tempfile::tempdir().expect("the disk is fine")
}

/// Of who has nothing.
fn gap(journal: &FedJournal) -> Gap {
    Gap { applied: Lsn::ZERO, first: journal.first(), lacking: vec![PartitionRange::all()] }
}

/// Writes into the journal, and snapshots into the folder, until the journal is trimmed.
async fn trimmed(directory: &Path) -> Arc<FedJournal> {
    let journal = FedJournal::new();
    for value in 0..4 {
        journal.append(vec![(vec![put("a", value), put("z", value)], None)]);
        let node = start(config(Some(directory), &["m"], NEVER), &journal).expect("it starts");
        state(&node, journal.last()).await;
        node.close().await.expect("it closes");
        trim(&journal);
    }
    assert!(Lsn(1) < journal.first());
    journal
}

/// A memstore of member 9, which knows the members at `urls`; the last of them leads.
fn joins(directory: Option<&Path>, journal: &Arc<FedJournal>, urls: &[String]) -> Node {
    let member = |(id, url): (u64, &String)| Member { id, peer_urls: vec![url.clone()], ..Member::default() };
    let members: Vec<_> =
        (1..).zip(urls).map(member).chain([Member { id: 9, ..Member::default() }]).collect();
    let leader = Some(urls.len() as u64);
    let status = Status { cluster: CLUSTER, node: 9, leader, members, ..Status::default() };
    let helpers =
        Helpers::new(watch::channel(status).1, Dialer::plain(), false, Arc::new(SystemClock::default()));
    let feed = Feed::Fed(journal.clone());
    let config = config(directory, &[], NEVER);
    let node = Node::follow(config, feed, Some(helpers), CLUSTER, CancellationToken::new());
    node.expect("what is missing is asked for later")
}

/// What is trimmed may be told of before who there is.
#[tokio::test]
async fn who_knows_nobody_yet_waits_until_somebody_is_told_of() {
    let (there, here) = (folder(), folder());
    let journal = trimmed(there.path()).await;
    let unknown = Status { cluster: CLUSTER, node: 9, ..Status::default() };
    let (tells, status) = watch::channel(unknown.clone());
    let clock = ManualClock::default();
    let mut helpers = Helpers::new(status, Dialer::plain(), false, Arc::new(clock.clone()));
    let here = Arc::new(Folder::open(here.path(), CLUSTER).expect("the disk is fine"));
    let gap = gap(&journal);
    let mut closing = std::pin::pin!(helpers.close(gap, Some(&here)));
    tokio::select! {
        biased;
        closed = &mut closing => panic!("nobody was asked: {:?}", closed.map(|_| ())),
        () = std::future::ready(()) => {}
    }
    let peer_urls = vec![served(there.path(), CLUSTER, 1_000)];
    let members = vec![Member { id: 1, peer_urls, ..Member::default() }];
    tells.send_replace(Status { members, ..unknown });
    clock.advance(Duration::from_secs(1));
    assert!(matches!(closing.await, Ok(Way::Pieces)));
}

fn lies(directory: &Path, fault: Fault) -> String {
    let member = crate::snapshot::travel_tests::Member::new(directory, CLUSTER, fault);
    serve(SnapshotsServer::new(member))
}

#[tokio::test]
async fn who_joins_late_gets_every_key_from_whoever_has_it_whole() {
    let (there, here, empty) = (folder(), folder(), folder());
    let journal = trimmed(there.path()).await;
    let urls = [
        lies(there.path(), Fault::FlipsBit(60)),
        served(empty.path(), CLUSTER, 1_000),
        served(there.path(), CLUSTER + 1, 1),
        served(there.path(), CLUSTER, 1_000),
    ];
    let node = joins(Some(here.path()), &journal, &urls);
    let (_, versions) = state(&node, journal.last()).await;
    assert_eq!(versions.len(), 8);
    node.close().await.expect("it closes");
    let [got, has] = [&here, &there].map(|folder| Folder::at(folder.path(), CLUSTER).sets());
    assert!(has.expect("the disk is fine").contains(&got.expect("the disk is fine")[0]));
}

/// Its own were the only ones, and are damaged.
#[tokio::test]
async fn who_has_only_damaged_snapshots_is_helped_as_well() {
    let (there, here) = (folder(), folder());
    let journal = trimmed(there.path()).await;
    let url = served(there.path(), CLUSTER, 1_000);
    let node = joins(Some(here.path()), &journal, std::slice::from_ref(&url));
    state(&node, journal.last()).await;
    node.close().await.expect("it closes");
    let folder = Folder::at(here.path(), CLUSTER);
    for lsn in folder.sets().expect("the disk is fine") {
        let file = here.path().join(format!("{:020}/0.partition", lsn.0));
        std::fs::write(file, b"nothing").expect("the disk is fine");
    }
    let node = joins(Some(here.path()), &journal, &[url]);
    let (_, versions) = state(&node, journal.last()).await;
    assert_eq!(versions.len(), 8);
    node.close().await.expect("it closes");
}

#[tokio::test]
async fn who_is_helped_by_nobody_says_what_is_missing() {
    let (there, empty) = (folder(), folder());
    let journal = trimmed(there.path()).await;
    let urls = [served(empty.path(), CLUSTER, 1_000), lies(there.path(), Fault::OffersOtherHash)];
    let node = joins(Some(empty.path()), &journal, &urls);
    node.stopped().await;
    let refused = node.close().await;
    assert_eq!(refused, Err(Error::Missing { next: Lsn(1), first: journal.first() }));
}

#[tokio::test]
async fn who_waits_for_a_member_that_is_away_can_be_stopped() {
    let (there, here) = (folder(), folder());
    let journal = trimmed(there.path()).await;
    let node = joins(Some(here.path()), &journal, &["http://127.0.0.1:1".to_owned()]);
    node.close().await.expect("it closes");
}

fn kept_by(urls: &[&str]) -> Helpers {
    let clock = Arc::new(SystemClock::default());
    Helpers::new(voters_at(CLUSTER, urls), Dialer::plain(), true, clock)
}

/// The folder was all that it had.
#[tokio::test]
async fn who_has_lost_its_folder_gets_what_it_left_with_the_journals_nodes() {
    let (here, again, nodes) = (folder(), folder(), [folder(), folder(), folder()]);
    let urls: Vec<String> = nodes.iter().map(|node| keeps(node.path(), CLUSTER)).collect();
    let journal = FedJournal::new();
    let voters = [urls[0].as_str(), urls[1].as_str(), "http://127.0.0.1:1"];
    for value in 0..4 {
        journal.append(vec![(vec![put("a", value), put("z", value)], None)]);
        let (feed, config) = (Feed::Fed(journal.clone()), config(Some(here.path()), &["m"], NEVER));
        let kept = kept_by(&voters);
        let node = Node::follow(config, feed, Some(kept), CLUSTER, CancellationToken::new());
        let node = node.expect("it starts");
        state(&node, journal.last()).await;
        node.close().await.expect("it closes");
        trim(&journal);
    }
    assert!(Lsn(1) < journal.first());
    let node = joins(Some(again.path()), &journal, &urls);
    let (_, versions) = state(&node, journal.last()).await;
    assert_eq!(versions.len(), 8);
    node.close().await.expect("it closes");
}

/// Else the journal would be trimmed behind what one disk has.
#[tokio::test]
async fn what_no_majority_holds_is_not_marked() {
    let (here, there) = (folder(), folder());
    let url = keeps(there.path(), CLUSTER);
    let journal = FedJournal::new();
    for value in 0..3 {
        journal.append(vec![(vec![put("a", value)], None)]);
        let (feed, config) = (Feed::Fed(journal.clone()), config(Some(here.path()), &[], NEVER));
        let kept = kept_by(&[&url, "http://127.0.0.1:1"]);
        let node = Node::follow(config, feed, Some(kept), CLUSTER, CancellationToken::new());
        let node = node.expect("it starts");
        state(&node, journal.last()).await;
        node.close().await.expect("it closes");
    }
    assert!(journal.marks().is_empty());
}

/// Partitions that are built side by side.
#[tokio::test]
async fn what_several_lack_comes_once() {
    let (there, here) = (folder(), folder());
    let journal = trimmed(there.path()).await;
    let member = crate::snapshot::travel_tests::Member::new(there.path(), CLUSTER, Fault::None);
    let asked = member.offsets.clone();
    let urls = serve(SnapshotsServer::new(member));
    let status = voters_at(CLUSTER, &[&urls]);
    let here = Arc::new(Folder::open(here.path(), CLUSTER).expect("the disk is fine"));
    let gap = gap(&journal);
    let close = || async {
        let clock = Arc::new(SystemClock::default());
        let mut helpers = Helpers::new(status.clone(), Dialer::plain(), false, clock);
        helpers.close(gap.clone(), Some(&here)).await
    };
    let (one, two, three) = tokio::join!(close(), close(), close());
    assert!([one, two, three].iter().all(|way| matches!(way, Ok(Way::Pieces))));
    assert_eq!(asked.lock().expect("nobody panics").len(), 2, "each of two partitions, once");
}
