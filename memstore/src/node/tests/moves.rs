//! What is wanted changes while the journal goes on: every answer is the model's, and every watcher sees each
//! event once and in order.

use std::time::Duration;

use proptest::collection::vec;
use tokio::sync::watch;

use super::*;
use crate::client::Memstore;
use crate::model::Model;
use crate::query::{At, Query};
use crate::watch::{WatchStream, WatcherKey};

const CUTS: [&str; 5] = ["b", "c", "m", "n", "z"];

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<(Vec<Write>, Option<SysOp>)>),
    Compact {
        back: u64,
    },
    /// Which of the cuts to make, and which of the pieces to hold.
    Want {
        cuts: u8,
        held: u8,
    },
    /// Wait until what is wanted is served.
    Settle,
    Trim,
    /// Keep what is served, to read it when it is served no longer.
    Hold,
    Watch {
        keys: KeyRange,
        back: u64,
    },
    Listen(usize),
    Read {
        keys: KeyRange,
        back: u64,
    },
}

fn keys() -> impl Strategy<Value = KeyRange> {
    let key = || prop::sample::select(vec!["a", "b", "c", "m", "n", "z"]).prop_map(Bytes::from);
    prop_oneof![
        1 => key().prop_map(KeyRange::Single),
        1 => key().prop_map(KeyRange::From),
        2 => (key(), key()).prop_filter_map("some key", |(start, end)| {
            (start < end).then_some(KeyRange::Range { start, end })
        }),
        2 => Just(KeyRange::all()),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    let held = prop_oneof![2 => Just(0xFF), 1 => any::<u8>()];
    prop_oneof![
        6 => vec(records(), 1..6).prop_map(Step::Write),
        1 => (0..12_u64).prop_map(|back| Step::Compact { back }),
        4 => (any::<u8>(), held).prop_map(|(cuts, held)| Step::Want { cuts, held }),
        3 => Just(Step::Settle),
        1 => Just(Step::Trim),
        1 => Just(Step::Hold),
        2 => (keys(), 0..12_u64).prop_map(|(keys, back)| Step::Watch { keys, back }),
        4 => (1..6_usize).prop_map(Step::Listen),
        3 => (keys(), 0..12_u64).prop_map(|(keys, back)| Step::Read { keys, back }),
    ]
}

/// What a frontend does with the watchers of one client, as simple as can be.
struct Watched {
    keys: KeyRange,
    from: Revision,
    parts: Vec<Part>,
    seen: Vec<Change>,
    /// Compacted before it was told.
    over: bool,
}

struct Part {
    keys: KeyRange,
    told: Revision,
    /// `None` where nobody serves its keys.
    key: Option<WatcherKey>,
}

struct World {
    journal: Arc<FedJournal>,
    model: Model,
    wanted: watch::Sender<Arc<[PartitionRange]>>,
    names: u64,
    node: Node,
    memstore: Memstore,
    stream: WatchStream,
    watched: Vec<Watched>,
    held: Vec<Arc<Replica>>,
}

impl World {
    fn new(directory: Option<&Path>) -> World {
        let journal = FedJournal::new();
        let wanted = watch::Sender::new(PartitionRange::split(&[]).into());
        let due = SnapshotDue { bytes: u64::MAX, records: 5 };
        let told = Wanted::Told(wanted.subscribe());
        let node =
            start(Config { wanted: told, ..config(directory, &[], due) }, &journal).expect("it starts");
        let memstore = node.handle();
        let stream = memstore.watch();
        let (model, watched, held) = (Model::new(), Vec::new(), Vec::new());
        World { journal, model, wanted, names: 1, node, memstore, stream, watched, held }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Write(batches) => batches.into_iter().for_each(|records| self.append(records)),
            Step::Compact { back } => {
                let revision = Revision(self.model.revision.0.saturating_sub(back)).max(self.model.compacted);
                self.append((Vec::new(), Some(SysOp::Compact { revision })));
            }
            Step::Want { cuts, held } => self.want(cuts, held),
            Step::Settle => self.settle().await,
            Step::Trim => trim(&self.journal),
            Step::Hold => self.held.extend(self.node.replicas().iter().cloned()),
            Step::Watch { keys, back } => self.watch(keys, back),
            Step::Listen(updates) => {
                for _ in 0..updates {
                    self.open();
                    tokio::select! {
                        biased;
                        update = self.stream.next() => self.hear(update),
                        () = tokio::task::yield_now() => {}
                    }
                }
            }
            Step::Read { keys, back } => self.read(&keys, back).await,
        }
    }

    fn append(&mut self, records: (Vec<Write>, Option<SysOp>)) {
        let record = |(writes, sysop)| journal::Record { origin: journal::Origin::default(), writes, sysop };
        let base_revision = self.model.revision.next();
        let records_of = vec![record(records.clone())];
        let batch = journal::Batch { term: 1, base_revision, wall_clock_ms: 0, records: records_of };
        self.model.apply(&batch);
        self.journal.append(vec![records]);
    }

    /// Ranges that stay keep their names.
    fn want(&mut self, cuts: u8, held: u8) {
        let bit = |bits: u8, place: usize| bits >> place & 1 == 1;
        let cuts: Vec<_> = (0..CUTS.len()).filter(|place| bit(cuts, *place)).collect();
        let cuts: Vec<_> = cuts.into_iter().map(|place| Bytes::from(CUTS[place])).collect();
        let before = self.wanted.borrow().clone();
        let pieces = PartitionRange::split(&cuts).into_iter().enumerate();
        let pieces = pieces.filter(|(place, _)| bit(held, *place)).map(|(_, piece)| piece);
        let named = pieces.map(|piece| {
            let same = before.iter().find(|other| (&other.start, &other.end) == (&piece.start, &piece.end));
            same.cloned().unwrap_or_else(|| {
                self.names += 1;
                PartitionRange { id: PartitionId(self.names), ..piece }
            })
        });
        let named: Vec<_> = named.collect();
        self.wanted.send_replace(named.into());
    }

    async fn settle(&self) {
        let wanted = self.wanted.borrow().clone();
        let mut served = self.memstore.partitions();
        while served != wanted {
            served = self.memstore.other_partitions(&served).await;
        }
        if self.serves_all() {
            self.check_hash().await;
        }
    }

    fn serves_all(&self) -> bool {
        let ranges: Vec<_> =
            self.node.replicas().iter().map(|replica| replica.partition.range().clone()).collect();
        PartitionRange::all().without(&ranges).is_empty()
    }

    async fn check_hash(&self) {
        let upto = self.model.revision;
        let hash = self.memstore.hash_kv(upto, self.journal.last()).await.expect("it can be read");
        assert_eq!((hash.hash, hash.compacted), (self.model.hash(upto), self.model.compacted));
    }

    /// Every part of `keys` at one revision, if everything is served.
    async fn read(&self, keys: &KeyRange, back: u64) {
        let at = Revision(self.model.revision.0.saturating_sub(back)).max(self.model.compacted);
        for held in &self.held {
            let (partition, own) = (&held.partition, held.partition.range().clip(keys));
            let Some(own) = own.filter(|_| partition.compacted() <= at && at <= partition.revision()) else {
                continue;
            };
            let query = Query { at: At::Revision(at), ..Query::latest(own) };
            let answer = partition.range_at_once(&query).expect("it is still there");
            assert_eq!((answer.kvs, answer.count, answer.more), self.model.range(&query, at));
        }
        'changed: loop {
            if !self.serves_all() {
                return;
            }
            let mut kvs = Vec::new();
            for partition in self.memstore.partitions().iter() {
                let Some(keys) = partition.clip(keys) else { continue };
                let (at, min_lsn) = (At::Revision(at), self.journal.last());
                let query = Query { at, min_lsn, ..Query::latest(keys) };
                match self.memstore.range(partition.id, query).await {
                    Err(Error::WrongPartition) => continue 'changed,
                    answer => kvs.extend(answer.expect("it can be read").kvs),
                }
            }
            if self.serves_all() {
                let expected = self.model.range(&Query::latest(keys.clone()), at).0;
                assert_eq!(kvs, expected, "{keys:?} at {at}");
                return;
            }
        }
    }

    fn watch(&mut self, keys: KeyRange, back: u64) {
        let from = Revision(self.model.revision.0.saturating_sub(back).max(1)).max(self.model.compacted);
        let part = Part { keys: keys.clone(), told: Revision(from.0 - 1), key: None };
        self.watched.push(Watched { keys, from, parts: vec![part], seen: Vec::new(), over: false });
        self.open();
    }

    /// Watches those parts that nobody watches, where somebody serves their keys.
    fn open(&mut self) {
        let partitions = self.memstore.partitions();
        for watched in self.watched.iter_mut().filter(|watched| !watched.over) {
            for part in std::mem::take(&mut watched.parts) {
                let all = partitions.iter().filter_map(|range| Some((range.id, range.clip(&part.keys)?)));
                let all: Vec<_> = all.collect();
                let held = |key: &&&str| part.keys.contains(key.as_bytes());
                let whole = ["a", "b", "c", "m", "n", "z"]
                    .iter()
                    .filter(held)
                    .all(|key| all.iter().any(|(_, keys)| keys.contains(key.as_bytes())));
                if part.key.is_some() || !whole {
                    watched.parts.push(part);
                    continue;
                }
                for (partition, keys) in all {
                    let from = part.told.next();
                    let spec = WatchSpec {
                        partition,
                        keys: keys.clone(),
                        from,
                        prev_kv: true,
                        puts: true,
                        deletes: true,
                    };
                    let added = match self.stream.add(spec) {
                        Err(Error::Compacted { .. }) => {
                            watched.over = true;
                            None
                        }
                        // It is gone already.
                        Err(Error::WrongPartition) => None,
                        added => Some(added.expect("there is nothing else to say")),
                    };
                    watched.parts.push(Part { keys, told: part.told, key: added });
                }
            }
            if watched.over {
                watched.parts.drain(..).filter_map(|part| part.key).for_each(|key| self.stream.remove(key));
            }
        }
    }

    fn hear(&mut self, update: Update) {
        let moved = matches!(update, Update::Moved { .. });
        let (key, events, upto) = match update {
            Update::Events { watcher, events, upto } => (watcher, events, Some(upto)),
            Update::Told { watcher, upto } | Update::Moved { watcher, upto } => {
                (watcher, Vec::new(), Some(upto))
            }
            Update::Compacted { watcher, .. } => (watcher, Vec::new(), None),
            Update::Closed => panic!("nobody closed it"),
        };
        let owns = |watched: &&mut Watched| watched.parts.iter().any(|part| part.key == Some(key));
        let watched =
            self.watched.iter_mut().find(owns).expect("only those that are there are told anything");
        let part = watched.parts.iter_mut().find(|part| part.key == Some(key)).expect("it was just found");
        let Some(upto) = upto else {
            assert!(part.told.next() < self.model.compacted, "nothing that is wanted was compacted");
            watched.over = true;
            watched.parts.drain(..).filter_map(|part| part.key).for_each(|key| self.stream.remove(key));
            return;
        };
        for event in &events {
            assert!(part.told < event.revision && event.revision <= upto, "{event:?} up to {upto}");
            watched.seen.push(Change::clone(event));
        }
        // One that begins in the future is told less than it knows.
        part.told = part.told.max(upto);
        if moved {
            part.key = None;
        }
    }

    /// With everything served, every watcher is told of everything.
    async fn finish(mut self) -> Node {
        self.want(0b10101, 0xFF);
        self.settle().await;
        let last = self.model.revision;
        loop {
            let partitions = self.memstore.partitions();
            self.open();
            let parts =
                self.watched.iter().filter(|watched| !watched.over).flat_map(|watched| &watched.parts);
            let behind: Vec<_> = parts.filter(|part| part.told < last).map(|part| part.key).collect();
            if behind.is_empty() {
                break;
            }
            behind.iter().flatten().for_each(|key| self.stream.ask(*key, last));
            if behind.iter().any(Option::is_none) {
                tokio::select! {
                    _ = self.memstore.other_partitions(&partitions) => {}
                    update = self.stream.next() => self.hear(update),
                }
            } else {
                let update = self.stream.next().await;
                self.hear(update);
            }
        }
        self.watched.iter().for_each(|watched| self.check(watched));
        self.read(&KeyRange::all(), 0).await;
        drop(self.stream);
        let watchers = self.memstore.stats().total.watchers;
        assert_eq!(watchers, 0, "a stream that is gone leaves nothing behind");
        self.node
    }

    fn check(&self, watched: &Watched) {
        let model = Model { compacted: Revision::ZERO, ..self.model.clone() };
        let mut seen = watched.seen.clone();
        // Of each part in order; of several as they came.
        seen.sort_by_key(|change| (change.revision, change.sub));
        let mut expected = model.changes(watched.from, model.revision, &watched.keys);
        if watched.over {
            // Some of its parts may be ahead of the one that was compacted.
            expected.retain(|change| seen.iter().any(|other| place(other) == place(change)));
        }
        // What was before is forgotten with a compaction.
        for (seen, expected) in seen.iter().zip(&mut expected) {
            if seen.prev.is_none() && seen.revision <= self.model.compacted {
                expected.prev = None;
            }
        }
        assert_eq!(seen, expected, "{:?} from {}", watched.keys, watched.from);
    }
}

fn place(change: &Change) -> (Revision, u32) {
    (change.revision, change.sub)
}

fn run(directory: Option<&Path>, steps: Vec<Step>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let run = async {
        let mut world = World::new(directory);
        let stopped = world.node.stopped();
        let run = async {
            for step in steps {
                world.step(step).await;
            }
            world.finish().await
        };
        let node = tokio::select! {
            node = run => node,
            () = stopped => panic!("the memstore has stopped"),
        };
        node.close().await.expect("it closes");
    };
    let patience = Duration::from_secs(60);
    runtime.block_on(async { tokio::time::timeout(patience, run).await }).expect("it gets to its end");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, max_shrink_iters: 30, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn partitions_come_and_go_and_nobody_notices(steps in vec(steps(), 1..40)) {
        run(None, steps);
    }

    #[test]
    fn what_is_not_held_comes_back_from_snapshots(steps in vec(steps(), 1..40)) {
        let directory = tempfile::tempdir().expect("the disk is fine");
        run(Some(directory.path()), steps);
    }
}
