//! A memstore from start to close, behind a journal in memory.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use journal::{KeyRange, LeaseId, Lsn, Revision, SysOp, Write};
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use super::{Config, Node};
use crate::error::Error;
use crate::event::Change;
use crate::feed::Feed;
use crate::feed::fed::FedJournal;
use crate::key_value::Version;
use crate::partition_id::{PartitionId, PartitionRange};
use crate::replica::Replica;
use crate::snapshot::Folder;
use crate::wanted::Wanted;
use crate::watch::{Update, WatchSpec};
use crate::work::SnapshotDue;

mod decay;
mod moves;
mod pauses;
mod together;

pub(super) const CLUSTER: u64 = 5;
pub(super) const NEVER: SnapshotDue = SnapshotDue { bytes: u64::MAX, records: u64::MAX };

pub(super) fn config(directory: Option<&Path>, split: &[&'static str], due: SnapshotDue) -> Config {
    let wanted = Wanted::Split(split.iter().copied().map(Bytes::from).collect());
    let snapshot_dir = directory.map(Path::to_owned);
    Config { wanted, snapshot_dir, snapshot_due: due, ..Config::default() }
}

pub(super) fn start(config: Config, journal: &Arc<FedJournal>) -> Result<Node, Error> {
    let feed = Feed::Fed(journal.clone());
    Node::follow(config, feed, None, CLUSTER, CancellationToken::new())
}

pub(super) fn put(key: &'static str, value: impl ToString) -> Write {
    Write::Put { key: Bytes::from(key), value: Bytes::from(value.to_string()), lease: LeaseId::NONE }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

/// All versions of all partitions, in order.
pub(super) async fn state(node: &Node, lsn: Lsn) -> (Revision, Vec<Version>) {
    let mut versions = Vec::new();
    for replica in node.replicas().iter() {
        let applied = replica.frontier.wait(lsn).await.expect("it is open");
        assert_eq!(replica.partition.revision(), applied.revision);
        versions.extend(all_versions(replica));
    }
    versions.sort_by_key(Version::position);
    (node.replicas()[0].partition.revision(), versions)
}

fn all_versions(replica: &Replica) -> Vec<Version> {
    let compacted = replica.partition.compacted();
    replica.partition.versions(Revision(u64::MAX), compacted, (Revision::ZERO, 0), usize::MAX)
}

pub(super) fn records() -> impl Strategy<Value = (Vec<Write>, Option<SysOp>)> {
    let key = prop::sample::select(vec!["a", "b", "c", "m", "n", "z"]);
    let write = (key, any::<bool>(), any::<u16>()).prop_map(|(key, is_put, value)| match is_put {
        true => put(key, value),
        false => Write::Delete { key: Bytes::from(key) },
    });
    prop::collection::vec(write, 0..4).prop_map(|mut writes| {
        let mut named = Vec::new();
        writes.retain(|write| {
            !named.contains(write.key()) && {
                named.push(write.key().clone());
                true
            }
        });
        (writes, None)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Snapshots whenever a few records have passed, restarts with other splits, and trims as far as marks allow.
    #[test]
    fn a_restart_comes_back_to_the_same_state(
        runs in prop::collection::vec(
            (prop::collection::vec(records(), 1..12), 0_usize..3, prop::option::of(0_u64..10)),
            1..6,
        ),
    ) {
        let directory = tempfile::tempdir().expect("the disk is fine");
        let journal = FedJournal::new();
        let splits: [&[&'static str]; 3] = [&[], &["b", "n"], &["m"]];
        let due = SnapshotDue { bytes: u64::MAX, records: 5 };
        block_on(async {
            for (batches, split, compact) in runs {
                let node = start(config(Some(directory.path()), splits[split], due), &journal).expect("it starts");
                for records in batches {
                    journal.append(vec![records]);
                    journal.void();
                    journal.rest_on_refused(vec![put("refused", 1)]);
                }
                if let Some(back) = compact {
                    let revision = Revision(journal.revision().0.saturating_sub(back));
                    journal.append(vec![(Vec::new(), Some(SysOp::Compact { revision }))]);
                }
                let (revision, versions) = state(&node, journal.last()).await;
                assert_eq!(revision, journal.revision());
                let compacted = node.replicas()[0].partition.compacted();
                node.close().await.expect("it closes");
                trim(&journal);
                check_newest_is_compacted(directory.path());
                let again = start(config(Some(directory.path()), splits[(split + 1) % 3], NEVER), &journal);
                let again = again.expect("it starts again");
                let (revision_again, versions_again) = state(&again, journal.last()).await;
                assert_eq!(revision_again, revision);
                assert_eq!(again.replicas()[0].partition.compacted(), compacted);
                assert_eq!(versions_again, versions);
                again.close().await.expect("it closes");
            }
        });
    }
}

/// Of what is compacted a snapshot has only the newest version of each key.
fn check_newest_is_compacted(directory: &Path) {
    let folder = Folder::open(directory, CLUSTER).expect("the disk is fine");
    let Some(newest) = folder.sets().expect("the disk is fine").first().copied() else { return };
    let set = folder.set(newest).expect("it is whole");
    let mut versions = set.versions(&PartitionRange::split(&[])[0]).expect("it is whole");
    let mut compacted = Vec::new();
    while let Some(version) = versions.next().expect("it is whole") {
        if version.kv.mod_revision <= set.compacted() {
            assert!(!compacted.contains(&version.kv.key), "{version:?} at {}", set.compacted());
            compacted.push(version.kv.key);
        }
    }
}

#[test]
fn a_snapshot_holds_all_of_a_large_revision() {
    let directory = tempfile::tempdir().expect("the disk is fine");
    let journal = FedJournal::new();
    let key = |number: u32| Write::Put {
        key: Bytes::from(format!("{number:06}")),
        value: Bytes::new(),
        lease: LeaseId::NONE,
    };
    journal.append(vec![((0..2_000).map(key).collect(), None)]);
    block_on(async {
        let node = start(config(Some(directory.path()), &["001000"], NEVER), &journal).expect("it starts");
        let before = state(&node, journal.last()).await;
        node.close().await.expect("it closes");
        let node = start(config(Some(directory.path()), &[], NEVER), &journal).expect("it starts");
        assert_eq!(node.replicas()[0].frontier.applied().lsn, journal.last(), "nothing is applied again");
        assert_eq!(state(&node, journal.last()).await, before);
        node.close().await.expect("it closes");
    });
}

#[test]
fn no_snapshot_is_written_when_nothing_has_changed() {
    let directory = tempfile::tempdir().expect("the disk is fine");
    let journal = FedJournal::new();
    let folder = Folder::open(directory.path(), CLUSTER).expect("the disk is fine");
    block_on(async {
        for round in 0..4 {
            if round < 2 {
                journal.append(vec![(vec![put("a", round)], None)]);
            }
            let config = config(Some(directory.path()), &[], NEVER);
            let reach = config.snapshots_reach.clone();
            let node = start(config, &journal).expect("it starts");
            state(&node, journal.last()).await;
            node.close().await.expect("it closes");
            let older = if round == 1 { Lsn(1) } else { Lsn::ZERO };
            assert_eq!(*reach.borrow(), older, "the journal is needed behind the older snapshot");
        }
        assert_eq!(journal.marks().len(), 1, "the second snapshot marks the first");
        assert_eq!(folder.sets(), Ok(vec![Lsn(2), Lsn(1)]));
    });
}

/// As far as the marks allow.
pub(super) fn trim(journal: &FedJournal) {
    if let Some(lsn) = trim_point(journal) {
        journal.trim(lsn.next());
    }
}

/// The oldest of what is newest of a key. Between two bounds all keys are alike.
pub(super) fn trim_point(journal: &FedJournal) -> Option<Lsn> {
    let marks = journal.marks().into_iter().map(|mark| match mark {
        SysOp::SnapshotMark { start, end, lsn, .. } => (start, end, lsn),
        other => panic!("{other:?}"),
    });
    let marks: Vec<_> = marks.collect();
    let bounds = marks.iter().flat_map(|(start, end, _)| [start, end]);
    let newest = |key: &Bytes| {
        let has = |(start, end, _): &&(Bytes, Bytes, Lsn)| start <= key && (end.is_empty() || key < end);
        marks.iter().filter(has).map(|(_, _, lsn)| *lsn).max()
    };
    bounds.chain([&Bytes::new()]).map(newest).min().flatten()
}

#[test]
fn a_damaged_snapshot_is_passed_over_for_the_one_before() {
    let directory = tempfile::tempdir().expect("the disk is fine");
    let journal = FedJournal::new();
    let configured = || config(Some(directory.path()), &["m"], NEVER);
    block_on(async {
        for value in 0..3 {
            journal.append(vec![(vec![put("a", value), put("z", value)], None)]);
            let node = start(configured(), &journal).expect("it starts");
            state(&node, journal.last()).await;
            node.close().await.expect("it closes");
            trim(&journal);
        }
        assert!(journal.first() > Lsn(1), "the journal is trimmed behind the older snapshot");
        let folder = Folder::open(directory.path(), CLUSTER).expect("the disk is fine");
        let sets = folder.sets().expect("the disk is fine");
        assert_eq!(sets.len(), 2);
        damage(directory.path(), sets[0]);
        let node = start(configured(), &journal).expect("the older one and the journal hold everything");
        let (revision, versions) = state(&node, journal.last()).await;
        assert_eq!((revision, versions.len()), (Revision(4), 6));
        node.close().await.expect("it closes");

        for lsn in folder.sets().expect("the disk is fine") {
            damage(directory.path(), lsn);
        }
        let refused = start(configured(), &journal).map(|_| ()).expect_err("something is missing");
        assert!(matches!(refused, Error::Missing { .. }), "{refused}");
    });
}

fn damage(directory: &Path, lsn: Lsn) {
    let path = directory.join(format!("{:020}/1.partition", lsn.0));
    let mut bytes = std::fs::read(&path).expect("it was written");
    let place = bytes.len() / 2;
    bytes[place] ^= 4;
    std::fs::write(&path, bytes).expect("the disk is fine");
}

#[test]
fn the_journal_is_trimmed_behind_endless_writes() {
    let directory = tempfile::tempdir().expect("the disk is fine");
    let journal = FedJournal::new();
    let due = SnapshotDue { bytes: 2_000, records: u64::MAX };
    block_on(async {
        let node = start(config(Some(directory.path()), &[], due), &journal).expect("it starts");
        while journal.first() < Lsn(500) {
            let lsn = journal.append(vec![(vec![put("a", "some value")], None)]);
            node.replicas()[0].frontier.wait(lsn).await.expect("it is open");
            trim(&journal);
        }
        node.close().await.expect("it closes");
    });
}

/// A watcher, and a follower that has fallen behind what the journal keeps.
#[test]
fn behind_the_trim_it_goes_on_from_a_snapshot_and_no_event_is_lost() {
    let directory = tempfile::tempdir().expect("the disk is fine");
    let (journal, lagging) = (FedJournal::new(), FedJournal::new());
    block_on(async {
        // The same records, of which the second journal has got only the first, and not the rest but trimmed.
        let write = |value: u64| vec![(vec![put("a", value)], None)];
        let node = start(config(Some(directory.path()), &[], NEVER), &lagging).expect("it starts");
        let mut stream = node.handle().watch();
        let (partition, keys) = (PartitionId(0), KeyRange::all());
        let spec = WatchSpec { partition, keys, from: Revision(2), prev_kv: true, puts: true, deletes: true };
        stream.add(spec).expect("nothing is compacted");
        journal.append(write(0));
        lagging.append(write(0));
        let mut seen = events(&mut stream, Revision(2)).await;

        let other = start(config(Some(directory.path()), &[], NEVER), &journal).expect("it starts");
        for value in 1..9 {
            journal.append(write(value));
        }
        state(&other, journal.last()).await;
        other.close().await.expect("it closes");
        lagging.replace_by(&journal, journal.last().next());
        seen.extend(events(&mut stream, Revision(10)).await);
        let revisions = seen.iter().map(|change| (change.revision.0, change.prev.is_some()));
        assert!(revisions.eq((2..11).map(|revision| (revision, revision > 2))));
        node.close().await.expect("it closes");
    });
}

pub(super) async fn events(stream: &mut crate::watch::WatchStream, last: Revision) -> Vec<Change> {
    let mut seen = Vec::new();
    loop {
        match stream.next().await {
            Update::Events { events, upto, .. } => {
                seen.extend(events.iter().map(|event| Change::clone(event)));
                if last <= upto {
                    return seen;
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn closing_ends_watches_and_waits() {
    let journal = FedJournal::new();
    block_on(async {
        let node = start(config(None, &[], NEVER), &journal).expect("it starts");
        let mut stream = node.handle().watch();
        let frontier = node.replicas()[0].frontier.clone();
        journal.close();
        assert!(matches!(stream.next().await, Update::Closed));
        assert_eq!(frontier.wait(Lsn(9)).await, None);
        node.stopped().await;
        assert_eq!(node.close().await, Err(Error::Closed), "the journal went first");
    });
}

#[test]
fn snapshots_of_another_cluster_are_refused_and_left_alone() {
    let directory = tempfile::tempdir().expect("the disk is fine");
    let journal = FedJournal::new();
    journal.append(vec![(vec![put("a", 1)], None)]);
    let configured = || config(Some(directory.path()), &[], NEVER);
    block_on(async {
        let node = start(configured(), &journal).expect("it starts");
        state(&node, journal.last()).await;
        node.close().await.expect("it closes");
        let feed = Feed::Fed(FedJournal::new());
        let refused = Node::follow(configured(), feed, None, CLUSTER + 1, CancellationToken::new());
        let refused = refused.map(|_| ()).expect_err("they are not ours");
        assert!(matches!(refused, Error::Io(_)), "{refused}");
        start(configured(), &journal).expect("they are still there").close().await.expect("it closes");
    });
}

/// With the journal that it will have: one voter, in memory.
#[test]
fn a_journal_is_followed_and_told_of_snapshots() {
    let directory = tempfile::tempdir().expect("the disk is fine");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let clock: Arc<dyn journal::Clock> = Arc::new(journal::SystemClock::default());
        let settings = journal::Config::single(CLUSTER, 1, journal::Storage::Memory);
        let server = journal::Node::start(settings, clock.clone()).await.expect("it starts");
        let handle = server.handle();
        let due = SnapshotDue { bytes: u64::MAX, records: 10 };
        let configured = Config { process: 2, ..config(Some(directory.path()), &["m"], due) };
        let node =
            Node::start(configured, handle.clone(), clock, CancellationToken::new()).expect("it starts");
        let mut lsn = Lsn::ZERO;
        for seq in 1..600 {
            let origin = journal::Origin { frontend: 1, seq, attempt: 0 };
            let writes = vec![put("a", seq), put("z", seq)];
            let append = || journal::Append {
                origin,
                reads: vec![],
                writes: writes.clone(),
                sysop: None,
                reserve: false,
            };
            lsn = loop {
                match handle.append(append()).await {
                    journal::Verdict::Committed { lsn, .. } => break lsn,
                    // It has yet to vote for itself.
                    _ => tokio::task::yield_now().await,
                }
            };
        }
        let (revision, versions) = state(&node, lsn).await;
        assert_eq!((revision, versions.len()), (Revision(600), 1_198));
        let mut tail = handle.tail(Lsn(1));
        let mut marks = Vec::new();
        while marks.len() < 2 {
            let entries = tail.next().await.expect("the journal is open");
            let batches = entries.iter().filter_map(|entry| entry.batch.as_ref());
            let sysops = batches.flat_map(|batch| &batch.records).filter_map(|record| record.sysop.clone());
            marks.extend(sysops.filter(|sysop| matches!(sysop, SysOp::SnapshotMark { .. })));
        }
        assert!(
            matches!(&marks[0], SysOp::SnapshotMark { start, end, .. } if start.is_empty() && *end == "m")
        );
        assert!(
            matches!(&marks[1], SysOp::SnapshotMark { start, end, .. } if *start == "m" && end.is_empty())
        );
        node.close().await.expect("it closes");
        server.close().await;
    });
}
