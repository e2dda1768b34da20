//! The journal's nodes hold what memstores leave there, whole, and a majority of them counts.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use journal::{Dialer, Lsn, Member, Status, SystemClock};
use tempfile::TempDir;
use tokio::sync::watch;

use super::travel_tests::{CLUSTER, is_clean, serve, served, target, written};
use super::{Folder, Header, JournalNodes, SnapshotService};
use crate::error::Error;

const NOBODY: &str = "http://127.0.0.1:1";

fn folder() -> TempDir {
    tempfile::tempdir().expect("the disk is fine")
}

/// A node that keeps what it is given.
pub(crate) fn keeps(directory: &Path, cluster: u64) -> String {
    keeps_and_tells(directory, cluster, watch::Sender::default())
}

/// The same, and tells how far that reaches.
pub(crate) fn keeps_and_tells(directory: &Path, cluster: u64, reach: watch::Sender<Lsn>) -> String {
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

/// Everything that is there of this position.
fn at(folder: &Folder, lsn: u64) -> Vec<Header> {
    let set = folder.set(Lsn(lsn)).expect("it was written");
    set.files.into_iter().map(|held| held.header).collect()
}

#[tokio::test]
async fn a_majority_holds_what_is_marked() {
    let (here, one, two) = (folder(), folder(), folder());
    written(here.path(), CLUSTER, &[40, 50]);
    let here = target(here.path());
    let (first, second) = (keeps(one.path(), CLUSTER), keeps(two.path(), CLUSTER));
    let refused = nodes(CLUSTER, &[&first, NOBODY, NOBODY]).hold(&here, &at(&here, 40)).await;
    let Err(Error::Io(reason)) = refused else { panic!("{refused:?}") };
    assert!(reason.contains("1 of 3 journal nodes hold it"), "{reason}");
    nodes(CLUSTER, &[&first, NOBODY, &second]).hold(&here, &at(&here, 40)).await.expect("two of three");
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
        nodes(CLUSTER, &[&url]).hold(&here, &at(&here, lsn)).await.expect("it is there");
        let sets = Folder::at(there.path(), CLUSTER).sets().expect("the disk is fine");
        assert!(sets.iter().map(|lsn| lsn.0).eq(kept), "{sets:?}");
    }
    assert_eq!(*reach.borrow(), Lsn(40));
    let later = folder();
    written(later.path(), CLUSTER, &[60]);
    let later = target(later.path());
    nodes(CLUSTER, &[&url]).hold(&later, &at(&later, 60)).await.expect("it is there");
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
    let (url, here) = (keeps(there.path(), CLUSTER), target(here.path()));
    let refused = nodes(CLUSTER, &[&url]).hold(&here, &at(&here, 40)).await;
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
        let refused = nodes(CLUSTER, &[&url]).hold(&here, &at(&here, 40)).await;
        assert!(matches!(&refused, Err(Error::Io(reason)) if reason.contains(why)), "{refused:?}");
    }
    assert_eq!(Folder::at(there.path(), CLUSTER).sets(), Ok(vec![]));
}

/// Of memstores that hold different keys each leaves its own, at positions of its own.
#[tokio::test]
async fn a_node_takes_the_keys_that_it_has_not_as_new_and_keeps_two_of_each() {
    let (one, two, there) = (folder(), folder(), folder());
    written(one.path(), CLUSTER, &[30, 50, 70]);
    written(two.path(), CLUSTER, &[40, 60, 80]);
    let reach = watch::Sender::default();
    let (one, two) = (target(one.path()), target(two.path()));
    let url = keeps_and_tells(there.path(), CLUSTER, reach.clone());
    let kept = || {
        let held = Folder::at(there.path(), CLUSTER).held().expect("the disk is fine");
        let mut kept: Vec<_> =
            held.iter().map(|held| (held.header.lsn.0, held.header.range.end.is_none())).collect();
        kept.sort_unstable();
        kept
    };
    let (first, second) = (false, true);
    let hold = async |folder: &Arc<Folder>, lsn: u64, halves: &[usize]| {
        let all = at(folder, lsn);
        let pieces: Vec<_> = halves.iter().map(|half| all[*half].clone()).collect();
        nodes(CLUSTER, &[&url]).hold(folder, &pieces).await.expect("it takes them");
    };
    hold(&two, 40, &[1]).await;
    hold(&one, 30, &[0, 1]).await;
    assert_eq!(kept(), [(30, first), (40, second)], "of the other half it has a later one");
    hold(&two, 60, &[1]).await;
    hold(&one, 50, &[0]).await;
    assert_eq!(kept(), [(30, first), (40, second), (50, first), (60, second)]);
    assert_eq!(*reach.borrow(), Lsn(30));
    hold(&one, 70, &[0]).await;
    assert_eq!(kept(), [(40, second), (50, first), (60, second), (70, first)]);
    assert_eq!(*reach.borrow(), Lsn(40));
    hold(&one, 70, &[1]).await;
    hold(&two, 80, &[0, 1]).await;
    assert_eq!(kept(), [(70, first), (70, second), (80, first), (80, second)]);
    assert_eq!(*reach.borrow(), Lsn(70));
    let again = watch::Sender::default();
    keeps_and_tells(there.path(), CLUSTER, again.clone());
    assert_eq!(*again.borrow(), Lsn(70), "also after a restart");
}
