//! Memstores that each hold some of the keys: what they leave with the journal's nodes is all that is needed, and no more
//! is kept than that takes.

mod decay;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use journal::{Dialer, KeyRange, Lsn, Revision, SysOp, SystemClock, Write};
use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::gap::Helpers;
use super::tests::{CLUSTER, NEVER, config, events, put, records, start, state, trim, trim_point};
use super::{Config, Node};
use crate::feed::Feed;
use crate::feed::fed::FedJournal;
use crate::key_value::Version;
use crate::partition_id::{PartitionId, PartitionRange};
use crate::snapshot::keeping_tests::{keeps_and_tells, voters_at};
use crate::snapshot::store_tests::places;
use crate::snapshot::{Folder, SnapshotStore};
use crate::wanted::Wanted;
use crate::watch::WatchSpec;

/// Who takes longer will never have what it wants.
const PATIENCE: Duration = Duration::from_secs(60);
const NOBODY: &str = "http://127.0.0.1:1";

fn folder() -> TempDir {
    tempfile::tempdir().expect("the disk is fine")
}

/// `"am"` has the keys from a to m, `"-m"` all up to m.
fn ranges(names: &str) -> Vec<PartitionRange> {
    let key = |byte: u8| (byte != b'-').then(|| Bytes::copy_from_slice(&[byte]));
    let range = |name: &str| {
        let [start, end] = *name.as_bytes() else { panic!("{name} is no range") };
        let id = PartitionId(u64::from(start) << 8 | u64::from(end));
        PartitionRange { id, start: key(start).unwrap_or_default(), end: key(end) }
    };
    names.split_whitespace().map(range).collect()
}

/// A journal, of whose three nodes one is down.
struct World {
    journal: Arc<FedJournal>,
    nodes: [TempDir; 2],
    reach: [watch::Sender<Lsn>; 2],
    urls: [String; 3],
    /// Where snapshots are left instead.
    store: Option<SnapshotStore>,
}

impl World {
    fn new() -> World {
        let nodes = [folder(), folder()];
        let reach = [(); 2].map(|()| watch::Sender::default());
        let [one, two] = [0, 1].map(|at| keeps_and_tells(nodes[at].path(), CLUSTER, reach[at].clone()));
        World { journal: FedJournal::new(), nodes, reach, urls: [one, two, NOBODY.to_owned()], store: None }
    }

    fn start_on(&self, journal: &Arc<FedJournal>, directory: &Path, wanted: &[PartitionRange]) -> Node {
        let status = voters_at(CLUSTER, &self.urls.each_ref().map(String::as_str));
        let clock = Arc::new(SystemClock::default());
        let store = self.store.clone().map(|store| store.of(CLUSTER, clock.clone()));
        let helpers = Helpers::new(status, Dialer::plain(), true, clock).with_store(store);
        let wanted = Wanted::Told(watch::channel(wanted.into()).1);
        let config = Config { wanted, ..config(Some(directory), &[], NEVER) };
        let feed = Feed::Fed(journal.clone());
        Node::follow(config, feed, Some(helpers), CLUSTER, CancellationToken::new())
            .expect("the disk is fine")
    }

    fn start(&self, directory: &Path, wanted: &[PartitionRange]) -> Node {
        self.start_on(&self.journal, directory, wanted)
    }

    /// Holds these until it is as far as the journal, and leaves a snapshot. Answers what it held.
    async fn holds(&self, directory: &Path, wanted: &[PartitionRange]) -> Vec<Version> {
        let node = self.start(directory, wanted);
        let versions = held(&node, wanted, self.journal.last()).await;
        node.close().await.expect("it closes");
        versions
    }

    /// As far as the marks and what a node keeps itself allow.
    fn trim(&self) {
        let reach = self.store.as_ref().map_or(self.reach[0].borrow().next(), |_| Lsn(u64::MAX));
        let marked = trim_point(&self.journal).map_or(Lsn(1), Lsn::next);
        self.journal.trim(marked.min(reach).max(self.journal.first()));
    }

    /// What the whole journal leads to, of these keys.
    async fn expected(&self, ranges: &[PartitionRange]) -> Vec<Version> {
        let journal = FedJournal::new();
        journal.replace_by(&self.journal, Lsn(1));
        let node = start(config(None, &[], NEVER), &journal).expect("it starts");
        let (_, mut versions) = state(&node, journal.last()).await;
        versions.retain(|version| ranges.iter().any(|range| range.contains(&version.kv.key)));
        node.close().await.expect("it closes");
        versions
    }

    fn kept(&self, node: usize) -> Folder {
        Folder::at(self.nodes[node].path(), CLUSTER)
    }

    fn put(&self, value: u64) {
        self.journal
            .append(vec![(vec![put("a", value), put("d", value), put("n", value), put("z", value)], None)]);
    }
}

/// What it holds of these keys once it serves them and is as far as that.
async fn held(node: &Node, wanted: &[PartitionRange], lsn: Lsn) -> Vec<Version> {
    let memstore = node.handle();
    let mut served = memstore.partitions();
    let held = async {
        while *served != *wanted {
            served = memstore.other_partitions(&served).await;
        }
        if wanted.is_empty() { Vec::new() } else { state(node, lsn).await.1 }
    };
    tokio::select! {
        held = tokio::time::timeout(PATIENCE, held) => held.expect("it gets there"),
        () = node.stopped() => panic!("the memstore has stopped"),
    }
}

#[tokio::test]
async fn the_journal_is_trimmed_and_the_disks_are_bounded_where_each_holds_a_part() {
    let (world, own) = (World::new(), [folder(), folder()]);
    let halves = ["-m", "m-"].map(ranges);
    let mut value = 0..;
    for _ in 0..6 {
        for (own, half) in own.iter().zip(&halves) {
            world.put(value.next().expect("endless"));
            world.holds(own.path(), half).await;
            let before = world.journal.first();
            world.trim();
            assert!(before <= world.journal.first());
        }
    }
    let (first, last) = (world.journal.first(), world.journal.last());
    assert!(Lsn(last.0 / 2) < first, "trimmed up to {first} of {last}");
    for node in [0, 1] {
        let kept = world.kept(node).held().expect("the disk is fine");
        assert_eq!(kept.len(), 4, "two of each half");
    }
    for own in &own {
        assert_eq!(Folder::at(own.path(), CLUSTER).held().map(|held| held.len()), Ok(2));
    }

    for wanted in ["dn", "--", "-c c-", "m- -m"] {
        let mut wanted = ranges(wanted);
        wanted.sort_by(|one, other| one.start.cmp(&other.start));
        assert_eq!(world.holds(folder().path(), &wanted).await, world.expected(&wanted).await);
    }
}

/// No node has any, and one of them does not even answer.
#[tokio::test]
async fn what_lies_in_a_store_is_all_that_it_takes() {
    let objects = [folder(), folder()];
    for store in places(objects.each_ref().map(TempDir::path)).await {
        let (world, own) = (World { store: Some(store.clone()), ..World::new() }, [folder(), folder()]);
        let halves = ["-m", "m-"].map(ranges);
        for value in 0..8 {
            world.put(value);
            let half = usize::from(value % 2 == 1);
            world.holds(own[half].path(), &halves[half]).await;
            world.trim();
        }
        assert!(Lsn(world.journal.last().0 / 2) < world.journal.first());
        let pieces = store.of(CLUSTER, Arc::new(SystemClock::default())).pieces().await;
        assert_eq!(pieces.map(|pieces| pieces.len()), Ok(4), "two of each half");
        assert!([0, 1].iter().all(|node| world.kept(*node).held() == Ok(vec![])));
        for wanted in ["dn", "--"] {
            let wanted = ranges(wanted);
            assert_eq!(world.holds(folder().path(), &wanted).await, world.expected(&wanted).await);
        }
    }
}

/// Half of the keys can't be read at one node, and half at the other.
#[tokio::test]
async fn a_damaged_piece_is_refused_and_another_node_has_it() {
    let (world, own) = (World::new(), [folder(), folder()]);
    let halves = ["-m", "m-"].map(ranges);
    for value in 0..8 {
        world.put(value);
        let half = usize::from(value % 2 == 1);
        world.holds(own[half].path(), &halves[half]).await;
    }
    world.trim();
    assert!(Lsn(1) < world.journal.first());
    for (node, half) in [(0, &halves[0]), (1, &halves[1])] {
        for held in world.kept(node).held().expect("the disk is fine") {
            if held.header.range.same_keys(&half[0]) {
                let mut bytes = std::fs::read(&held.path).expect("it is there");
                let end = bytes.len() - 30;
                bytes[end] ^= 4;
                std::fs::write(&held.path, bytes).expect("the disk is fine");
            }
        }
    }
    let all = [PartitionRange::all()];
    let joins = folder();
    assert_eq!(world.holds(joins.path(), &all).await, world.expected(&all).await);
}

/// What is there after a crash stands at several positions.
#[tokio::test]
async fn who_starts_from_pieces_brings_them_to_one_position() {
    let (world, own) = (World::new(), [folder(), folder()]);
    let halves = ["-m", "m-"].map(ranges);
    for value in 0..9 {
        world.put(value);
        let half = usize::from(value % 2 == 1);
        world.holds(own[half].path(), &halves[half]).await;
    }
    world.trim();
    let (joins, again) = (folder(), folder());
    let all = [PartitionRange::all()];
    let node = world.start(joins.path(), &all);
    held(&node, &all, world.journal.last()).await;
    let came = Folder::open(joins.path(), CLUSTER).expect("the disk is fine");
    assert_eq!(came.sets().map(|sets| sets.len()), Ok(2));
    for lsn in came.sets().expect("the disk is fine") {
        let (from, to) = [&joins, &again].map(|at| at.path().join(format!("{:020}", lsn.0))).into();
        std::fs::create_dir(&to).expect("the disk is fine");
        for file in std::fs::read_dir(&from).expect("it is there").flatten() {
            std::fs::copy(file.path(), to.join(file.file_name())).expect("the disk is fine");
        }
    }
    node.close().await.expect("it closes");
    // With nobody to ask, and however keys are split.
    for split in [&[][..], &["d", "n"]] {
        let node = start(config(Some(again.path()), split, NEVER), &world.journal).expect("it starts");
        let ranges = PartitionRange::split(&split.iter().copied().map(Bytes::from).collect::<Vec<_>>());
        assert_eq!(held(&node, &ranges, world.journal.last()).await, world.expected(&all).await);
        drop(node);
    }
}

/// Nobody else has a snapshot of them.
#[tokio::test]
async fn who_lets_keys_go_and_wants_them_again_still_has_them() {
    let (world, own) = (World::new(), folder());
    let alone = async |wanted: &str| {
        let wanted = ranges(wanted);
        let told = Wanted::Told(watch::channel(wanted.clone().into()).1);
        let config = Config { wanted: told, ..config(Some(own.path()), &[], NEVER) };
        let node = start(config, &world.journal).expect("it starts");
        assert_eq!(held(&node, &wanted, world.journal.last()).await, world.expected(&wanted).await);
        node.close().await.expect("it closes");
    };
    for value in 0..9 {
        world.put(value);
        alone(if value < 3 { "-m m-" } else { "-m" }).await;
    }
    trim(&world.journal);
    assert!(Lsn(1) < world.journal.first());
    alone("-c cn n-").await;
}

/// One that serves, and watches, and has fallen behind what the journal keeps.
#[tokio::test]
async fn behind_the_trim_it_goes_on_from_pieces_and_no_event_is_lost() {
    let (world, own, lags) = (World::new(), [folder(), folder()], folder());
    let (lagging, halves) = (FedJournal::new(), ["-m", "m-"].map(ranges));
    world.put(0);
    lagging.replace_by(&world.journal, Lsn(1));
    let both = halves.concat();
    let node = world.start_on(&lagging, lags.path(), &both);
    held(&node, &both, lagging.last()).await;
    let mut stream = node.handle().watch();
    let keys = KeyRange::Single("n".into());
    let spec = WatchSpec {
        partition: both[1].id,
        keys,
        from: Revision(2),
        prev_kv: false,
        puts: true,
        deletes: true,
    };
    stream.add(spec).expect("nothing is compacted");
    let mut seen = events(&mut stream, Revision(2)).await;
    for value in 1..10 {
        world.put(value);
        let half = usize::from(value % 2 == 1);
        world.holds(own[half].path(), &halves[half]).await;
    }
    world.trim();
    assert!(Lsn(2) < world.journal.first());
    lagging.replace_by(&world.journal, world.journal.first());
    assert_eq!(held(&node, &both, world.journal.last()).await, world.expected(&both).await);
    seen.extend(events(&mut stream, world.journal.revision()).await);
    assert!(seen.iter().map(|change| change.revision.0).eq(2..12), "{seen:?}");
    node.close().await.expect("it closes");
}

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<(Vec<Write>, Option<SysOp>)>),
    Compact(u64),
    /// One of three memstores holds these for a while, and may have lost what it had.
    Hold {
        memstore: usize,
        wanted: &'static str,
        lost: bool,
    },
    Trim,
}

fn steps() -> impl Strategy<Value = Step> {
    let wanted =
        || prop::sample::select(vec!["-m", "m-", "--", "-c", "c- ", "bn", "-b b-", "-c n-", "-c cn n-", ""]);
    prop_oneof![
        3 => vec(records(), 1..6).prop_map(Step::Write),
        1 => (0..12_u64).prop_map(Step::Compact),
        5 => (0..3_usize, wanted(), prop::bool::weighted(0.2))
            .prop_map(|(memstore, wanted, lost)| Step::Hold { memstore, wanted, lost }),
        2 => Just(Step::Trim),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, max_shrink_iters: 60, ..ProptestConfig::with_cases(40) })]

    #[test]
    fn whoever_holds_what_and_whatever_is_lost_every_key_comes_back(steps in vec(steps(), 1..24)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let world = World::new();
            let mut own = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Write(batches) => batches.into_iter().for_each(|records| {
                        world.journal.append(vec![records]);
                    }),
                    Step::Compact(back) => {
                        let revision = Revision(world.journal.revision().0.saturating_sub(back));
                        world.journal.append(vec![(Vec::new(), Some(SysOp::Compact { revision }))]);
                    }
                    Step::Hold { memstore, wanted, lost } => {
                        if lost {
                            own.remove(&memstore);
                        }
                        let (own, wanted) = (own.entry(memstore).or_insert_with(folder), ranges(wanted));
                        assert_eq!(world.holds(own.path(), &wanted).await, world.expected(&wanted).await);
                    }
                    Step::Trim => world.trim(),
                }
                for node in [0, 1] {
                    let folder = world.kept(node);
                    let held = folder.held().expect("the disk is fine");
                    for key in ["a", "b", "c", "m", "n", "z"] {
                        let having = held.iter().filter(|held| held.header.range.contains(key.as_bytes()));
                        let (kept, reach) = (having.count(), *world.reach[node].borrow());
                        assert!(reach == Lsn::ZERO || 2 <= kept, "{key} is kept {kept} times at {reach}");
                    }
                }
            }
            let all = [PartitionRange::all()];
            assert_eq!(world.holds(folder().path(), &all).await, world.expected(&all).await);
        });
    }
}
