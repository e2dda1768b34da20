//! The journal's nodes hold what memstores leave there, whole, and a majority of them counts.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use journal::{Dialer, Lsn, Member, Status, SystemClock};
use tempfile::TempDir;
use tokio::sync::watch;

use super::travel_tests::{CLUSTER, is_clean, serve, served, target, written};
use super::{Folder, JournalNodes, SnapshotService};
use crate::error::Error;

const NOBODY: &str = "http://127.0.0.1:1";

fn folder() -> TempDir {
    tempfile::tempdir().expect("the disk is fine")
}

/// A node that keeps what it is given.
pub(crate) fn keeps(directory: &Path, cluster: u64) -> String {
    keeps_and_tells(directory, cluster, watch::Sender::default())
}

fn keeps_and_tells(directory: &Path, cluster: u64, reach: watch::Sender<Lsn>) -> String {
    let (_, status) = watch::channel(Status { cluster, first: Lsn(1_000), ..Status::default() });
    serve(SnapshotService::keeping_with(directory, status, reach).expect("the disk is fine"))
}

/// The journal with voters at these places.
pub(crate) fn voters_at(cluster: u64, urls: &[&str]) -> watch::Receiver<Status> {
    let member =
        |(id, url): (u64, &&str)| Member { id, peer_urls: vec![(*url).to_owned()], ..Member::default() };
    let mut members: Vec<_> = (1..).zip(urls).map(member).collect();
    members.push(Member { id: 99, learner: true, ..Member::default() });
    watch::channel(Status { cluster, members, ..Status::default() }).1
}

fn nodes(cluster: u64, urls: &[&str]) -> JournalNodes {
    JournalNodes::new(voters_at(cluster, urls), Dialer::plain(), Arc::new(SystemClock::default()))
}

#[tokio::test]
async fn a_majority_holds_what_is_marked() {
    let (here, one, two) = (folder(), folder(), folder());
    written(here.path(), CLUSTER, &[40, 50]);
    let here = target(here.path());
    let (first, second) = (keeps(one.path(), CLUSTER), keeps(two.path(), CLUSTER));
    let refused = nodes(CLUSTER, &[&first, NOBODY, NOBODY]).hold(&here, Lsn(40)).await;
    let Err(Error::Io(reason)) = refused else { panic!("{refused:?}") };
    assert!(reason.contains("1 of 3 journal nodes hold it"), "{reason}");
    nodes(CLUSTER, &[&first, NOBODY, &second]).hold(&here, Lsn(40)).await.expect("two of three");
    for node in [&one, &two] {
        let node = Folder::at(node.path(), CLUSTER);
        assert_eq!(node.sets(), Ok(vec![Lsn(40)]));
        assert_eq!(node.verify(Lsn(40)), here.verify(Lsn(40)));
    }
}

#[tokio::test]
async fn a_node_with_a_later_set_needs_no_other_and_keeps_two() {
    let (here, there) = (folder(), folder());
    written(here.path(), CLUSTER, &[30, 40, 50]);
    let reach = watch::Sender::default();
    let (here, url) = (target(here.path()), keeps_and_tells(there.path(), CLUSTER, reach.clone()));
    for (lsn, kept) in [(40, vec![40]), (30, vec![40]), (40, vec![40]), (50, vec![50, 40])] {
        assert_eq!(*reach.borrow(), Lsn::ZERO, "the next one may be damaged");
        nodes(CLUSTER, &[&url]).hold(&here, Lsn(lsn)).await.expect("it is there");
        let sets = Folder::at(there.path(), CLUSTER).sets().expect("the disk is fine");
        assert!(sets.iter().map(|lsn| lsn.0).eq(kept), "{sets:?}");
    }
    assert_eq!(*reach.borrow(), Lsn(40));
    let later = folder();
    written(later.path(), CLUSTER, &[60]);
    nodes(CLUSTER, &[&url]).hold(&target(later.path()), Lsn(60)).await.expect("it is there");
    assert_eq!(Folder::at(there.path(), CLUSTER).sets(), Ok(vec![Lsn(60), Lsn(50)]));
    let again = watch::Sender::default();
    keeps_and_tells(there.path(), CLUSTER, again.clone());
    assert_eq!([*reach.borrow(), *again.borrow()], [Lsn(50); 2], "also after a restart");
}

#[tokio::test]
async fn a_damaged_set_is_not_taken_in() {
    let (here, there) = (folder(), folder());
    written(here.path(), CLUSTER, &[40]);
    let file = here.path().join(format!("{:020}/1.partition", 40));
    let mut bytes = fs::read(&file).expect("it was written");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).expect("the disk is fine");
    let url = keeps(there.path(), CLUSTER);
    let refused = nodes(CLUSTER, &[&url]).hold(&target(here.path()), Lsn(40)).await;
    let Err(Error::Io(reason)) = refused else { panic!("{refused:?}") };
    assert!(reason.contains("checksum"), "{reason}");
    assert_eq!(Folder::at(there.path(), CLUSTER).sets(), Ok(vec![]));
    assert!(is_clean(there.path()));
}

#[tokio::test]
async fn who_has_a_memstore_or_is_another_cluster_s_takes_nothing() {
    let (here, there) = (folder(), folder());
    written(here.path(), CLUSTER, &[40]);
    let here = target(here.path());
    for (url, why) in [
        (served(there.path(), CLUSTER, 1), "of its own memstore"),
        (keeps(there.path(), CLUSTER + 1), "belongs to cluster c0ffef"),
    ] {
        let refused = nodes(CLUSTER, &[&url]).hold(&here, Lsn(40)).await;
        assert!(matches!(&refused, Err(Error::Io(reason)) if reason.contains(why)), "{refused:?}");
    }
    assert_eq!(Folder::at(there.path(), CLUSTER).sets(), Ok(vec![]));
}
