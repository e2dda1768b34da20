//! Partitions, hubs and streams, and a list of all changes to hold them against.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use journal::{Batch, KeyRange, LeaseId, Lsn, Origin, Record, Revision, SysOp, Write};
use tokio_util::sync::CancellationToken;

use super::super::{Hub, LocalStream, Update, Wakes, WatchLimits, WatchSpec, WatcherKey};
use crate::error::Error;
use crate::event::{Change, EventKind};
use crate::frontier::Applied;
use crate::key_value::KeyValue;
use crate::partition::Partition;
use crate::partition_id::{PartitionId, PartitionRange};
use crate::replica::Replica;
use crate::replicas::Replicas;

pub(super) const PARTITIONS: u8 = 3;
pub(super) const KEYS_EACH: u8 = 4;
pub(super) const STREAMS: usize = 2;

/// Revisions applied at once: each a list of (key, whether it is put).
pub(super) type Burst = Vec<Vec<(u8, bool)>>;

#[derive(Clone, Debug)]
pub(super) enum Step {
    Write(Burst),
    /// As `Write`, but the hubs are told to skip to the end of it.
    Skip(Burst),
    /// As one of these, write by write, with a step in between.
    Long {
        burst: Burst,
        between: Vec<Step>,
        tell: bool,
    },
    Compact {
        back: u64,
    },
    Add {
        stream: usize,
        partition: u8,
        from: u8,
        to: Option<u8>,
        at: i8,
        puts: bool,
        deletes: bool,
    },
    Remove(usize),
    Ask {
        watcher: usize,
        ahead: i8,
    },
    Next(usize),
}

/// What a test knows of a watcher.
pub(super) struct Seen {
    pub(super) stream: usize,
    pub(super) key: WatcherKey,
    pub(super) spec: WatchSpec,
    pub(super) changes: Vec<Change>,
    pub(super) told: Revision,
    pub(super) asked: Option<Revision>,
    pub(super) over: bool,
}

pub(super) struct World {
    pub(super) revision: Revision,
    pub(super) compacted: Revision,
    pub(super) replicas: Arc<Replicas>,
    pub(super) hubs: Vec<Arc<Hub>>,
    pub(super) streams: Vec<LocalStream>,
    pub(super) closed: CancellationToken,
    heads: BTreeMap<Bytes, KeyValue>,
    pub(super) log: Vec<Change>,
    pub(super) seen: Vec<Seen>,
}

impl World {
    pub(super) fn new(limits: WatchLimits) -> World {
        let applied = Applied { lsn: Lsn::ZERO, revision: Revision::EMPTY_STORE };
        let replica = |id| Arc::new(Replica::new(Partition::new(range(id)), applied, limits));
        let replicas = Arc::new(Replicas::new((0..PARTITIONS).map(replica).collect()));
        let hubs = replicas.served().iter().map(|replica| replica.hub.clone()).collect();
        let closed = CancellationToken::new();
        let streams = (0..STREAMS).map(|_| LocalStream::new(replicas.clone(), closed.clone())).collect();
        let (log, seen, heads) = (Vec::new(), Vec::new(), BTreeMap::new());
        let revision = Revision::EMPTY_STORE;
        World { revision, compacted: Revision::ZERO, replicas, hubs, streams, closed, heads, log, seen }
    }

    pub(super) fn step(&mut self, step: Step) {
        match step {
            Step::Write(burst) => self.write(&burst, true),
            Step::Skip(burst) => self.write(&burst, false),
            Step::Long { burst, between, tell } => self.write_long(&burst, between, tell),
            Step::Compact { back } => {
                self.compact(Revision(self.revision.0.saturating_sub(back)));
            }
            Step::Add { stream, partition, from, to, at, puts, deletes } => {
                let keys = keys(partition, from, to);
                let from = Revision(self.revision.0.saturating_add_signed(at.into()));
                let partition = PartitionId(partition.into());
                self.add(stream, WatchSpec { partition, keys, from, prev_kv: true, puts, deletes });
            }
            Step::Remove(watcher) => {
                if let Some(seen) = self.seen.get_mut(watcher).filter(|seen| !seen.over) {
                    seen.over = true;
                    self.streams[seen.stream].remove(seen.key);
                }
            }
            Step::Ask { watcher, ahead } => {
                if let Some(seen) = self.seen.get_mut(watcher).filter(|seen| !seen.over) {
                    let revision = Revision(self.revision.0.saturating_add_signed(ahead.into()));
                    seen.asked = Some(revision);
                    self.streams[seen.stream].ask(seen.key, revision);
                }
            }
            Step::Next(stream) => {
                self.next(stream);
            }
        }
        self.check_told();
    }

    /// Applies revisions to all partitions, and then tells the hubs of them.
    pub(super) fn write(&mut self, burst: &Burst, tell: bool) {
        let records: Vec<_> = burst.iter().map(|writes| record(writes)).collect();
        let logged = self.log.len();
        let batch = self.batch(records.into_iter().map(|writes| (writes, None)).collect());
        for (revision, record) in batch.revisions() {
            self.revision = revision;
            (0_u32..).zip(&record.writes).for_each(|(sub, write)| self.expect(sub, write));
        }
        let mut wakes = Wakes::default();
        for (id, replica) in self.replicas.served().iter().enumerate() {
            let (hub, mut changes) = (&replica.hub, Vec::new());
            replica.partition.apply(&batch, &mut |change| changes.push(change));
            let own = self.log[logged..].iter().filter(|change| partition_of(&change.kv.key) == id);
            assert!(changes.iter().eq(own), "the partition did what it was told");
            if tell {
                hub.publish(&changes, self.revision, &mut wakes);
            } else {
                hub.skip_to(self.revision, &mut wakes);
            }
        }
        wakes.wake();
    }

    /// Applies and offers revisions write by write, with a step in between, and then tells the hubs of them.
    fn write_long(&mut self, burst: &Burst, between: Vec<Step>, tell: bool) {
        let records: Vec<_> = burst.iter().map(|writes| record(writes)).collect();
        let logged = self.log.len();
        let batch = self.batch(records.into_iter().map(|writes| (writes, None)).collect());
        let before = self.revision;
        for (revision, record) in batch.revisions() {
            self.revision = revision;
            (0_u32..).zip(&record.writes).for_each(|(sub, write)| self.expect(sub, write));
        }
        let after = std::mem::replace(&mut self.revision, before);
        let (mut between, mut wakes) = (between.into_iter(), Wakes::default());
        let replicas = self.replicas.served();
        for (id, replica) in replicas.iter().enumerate() {
            let mut changes = Vec::new();
            loop {
                let offered = changes.len();
                let more = replica.partition.stage(&batch, 1, &mut |change| changes.push(change));
                replica.hub.offer(&changes[offered..]);
                if let Some(step) = between.next() {
                    self.step(step);
                }
                if !more {
                    break;
                }
            }
            let own = self.log[logged..].iter().filter(|change| partition_of(&change.kv.key) == id);
            assert!(changes.iter().eq(own), "the partition did what it was told");
        }
        self.revision = after;
        for replica in replicas.iter() {
            replica.partition.apply(&batch, &mut |_| panic!("it was told before"));
            if tell {
                replica.hub.publish(&[], self.revision, &mut wakes);
            } else {
                replica.hub.skip_to(self.revision, &mut wakes);
            }
        }
        wakes.wake();
    }

    /// Refuses what is below `at`, and frees a bit of it.
    fn compact(&mut self, at: Revision) {
        self.compacted = self.compacted.max(at);
        let batch = self.batch(vec![(Vec::new(), Some(SysOp::Compact { revision: at }))]);
        for replica in self.replicas.served().iter() {
            replica.partition.apply(&batch, &mut |_| panic!("it changes no key"));
            replica.partition.compact_step(3);
        }
    }

    fn batch(&self, records: Vec<(Vec<Write>, Option<SysOp>)>) -> Batch {
        let record = |(writes, sysop)| Record { origin: Origin::default(), writes, sysop };
        let records = records.into_iter().map(record).collect();
        Batch { term: 1, base_revision: self.revision.next(), wall_clock_ms: 0, records }
    }

    /// Notes what a write at the current revision changes.
    fn expect(&mut self, sub: u32, write: &Write) {
        let (revision, key) = (self.revision, write.key().clone());
        let prev = self.heads.remove(&key);
        let change = match write {
            Write::Delete { .. } if prev.is_none() => return,
            Write::Delete { .. } => {
                let kv = KeyValue::deleted(key, revision);
                Change { revision, sub, kind: EventKind::Delete, kv, prev }
            }
            Write::Put { value, lease, .. } => {
                let kv = KeyValue {
                    key: key.clone(),
                    value: value.clone(),
                    create_revision: prev.as_ref().map_or(revision, |prev| prev.create_revision),
                    mod_revision: revision,
                    version: prev.as_ref().map_or(0, |prev| prev.version) + 1,
                    lease: *lease,
                };
                self.heads.insert(key, kv.clone());
                Change { revision, sub, kind: EventKind::Put, kv, prev }
            }
        };
        self.log.push(change);
    }

    pub(super) fn add(&mut self, stream: usize, spec: WatchSpec) {
        let added = self.streams[stream].add(spec.clone());
        if spec.from < self.compacted {
            assert_eq!(added, Err(Error::Compacted { compacted: self.compacted }));
            return;
        }
        let key = added.expect("it is not compacted");
        let told = Revision::ZERO;
        self.seen.push(Seen { stream, key, spec, changes: Vec::new(), told, asked: None, over: false });
    }

    /// Takes what the stream has to tell, if anything.
    pub(super) fn next(&mut self, stream: usize) -> bool {
        let Some(update) = poll(self.streams[stream].next()) else { return false };
        match update {
            Update::Events { watcher, events, upto } => {
                assert!(!events.is_empty(), "something was told");
                let told: Vec<_> = events.iter().map(|event| self.with_prev(event)).collect();
                let seen = self.seen(stream, watcher);
                seen.changes.extend(told);
                seen.told(upto);
            }
            Update::Told { watcher, upto } => {
                let seen = self.seen(stream, watcher);
                assert!(seen.asked.is_some_and(|asked| asked <= upto), "nobody asked for this");
                seen.told(upto);
            }
            Update::Compacted { watcher, compacted } => {
                assert_eq!(compacted, self.compacted);
                let seen = self.seen(stream, watcher);
                assert!(seen.told < compacted, "it was told of everything that is compacted");
                seen.over = true;
            }
            Update::Moved { .. } => panic!("partitions stay where they are"),
            Update::Closed => panic!("nobody closed it"),
        }
        true
    }

    /// The change, with the state before as it was where a compaction has made it forgotten.
    fn with_prev(&self, change: &Change) -> Change {
        let mut change = change.clone();
        if change.prev.is_none() && change.revision <= self.compacted {
            let same = |other: &&Change| (other.revision, other.sub) == (change.revision, change.sub);
            change.prev = self.log.iter().find(same).and_then(|other| other.prev.clone());
        }
        change
    }

    fn seen(&mut self, stream: usize, key: WatcherKey) -> &mut Seen {
        let seen = self.seen.iter_mut().find(|seen| (seen.stream, seen.key) == (stream, key));
        seen.filter(|seen| !seen.over).expect("only watchers that are there are told anything")
    }

    /// What was handed out is exactly what there is up to what was told, and nothing of what follows.
    fn check_told(&self) {
        for seen in self.seen.iter().filter(|seen| !seen.over) {
            let told = self.streams[seen.stream].told(seen.key);
            assert!(seen.told <= told && told <= self.revision, "told goes forward, up to what there is");
            let expected = self.log.iter().filter(|change| change.revision <= told && seen.wants(change));
            assert_eq!(seen.changes, expected.cloned().collect::<Vec<_>>(), "{:?} up to {told}", seen.spec);
        }
    }

    pub(super) fn finish(mut self) {
        for stream in 0..STREAMS {
            while self.next(stream) {
                self.check_told();
            }
        }
        for seen in self.seen.iter().filter(|seen| !seen.over) {
            let told = self.streams[seen.stream].told(seen.key);
            let start = Revision(seen.spec.from.0.saturating_sub(1));
            assert_eq!(told, self.revision, "an idle stream has told everything, from {start}");
            assert!(seen.asked.is_none_or(|asked| asked > told), "a question was not answered");
        }
        self.streams.clear();
        assert!(
            self.hubs.iter().all(|hub| hub.watchers() == (0, 0)),
            "a stream that is gone leaves nothing behind"
        );
        assert!(!self.closed.is_cancelled());
    }
}

impl Seen {
    fn told(&mut self, upto: Revision) {
        assert!(self.told <= upto);
        assert!(self.changes.last().is_none_or(|last| last.revision <= upto));
        self.told = upto;
        self.asked.take_if(|asked| *asked <= upto);
    }

    fn wants(&self, change: &Change) -> bool {
        self.spec.from <= change.revision
            && self.spec.keys.contains(&change.kv.key)
            && self.spec.wants(change)
    }
}

/// The writes of one record: of those that name the same key only the first.
fn record(writes: &[(u8, bool)]) -> Vec<Write> {
    let mut named = Vec::new();
    let fresh = writes.iter().filter(|(key, _)| {
        !named.contains(key) && {
            named.push(*key);
            true
        }
    });
    let write = |&(key, put): &(u8, bool)| match put {
        true => Write::Put { key: name(key), value: Bytes::from(vec![key; 9]), lease: LeaseId::NONE },
        false => Write::Delete { key: name(key) },
    };
    fresh.map(write).collect()
}

fn partition_of(key: &[u8]) -> usize {
    usize::from((key[0] - b'a') / KEYS_EACH)
}

pub(super) fn name(key: u8) -> Bytes {
    Bytes::copy_from_slice(&[b'a' + key])
}

/// Keys of a partition: from the `from`th of its own on, one of them or as many as lie before the `to`th.
pub(super) fn keys(partition: u8, from: u8, to: Option<u8>) -> KeyRange {
    let first = partition * KEYS_EACH;
    let start = name(first + from);
    match to {
        None => KeyRange::Single(start),
        Some(0) => KeyRange::Range { start, end: name(first + KEYS_EACH) },
        Some(to) => KeyRange::Range { start, end: name(first + to.max(from + 1)) },
    }
}

pub(super) struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Flag>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Polls for as long as that moves something; gives up then, as a caller in a `select!` does.
pub(super) fn poll<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let flag = Arc::new(Flag(AtomicBool::new(true)));
    let waker = Waker::from(flag.clone());
    while flag.0.swap(false, Ordering::SeqCst) {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(output);
        }
    }
    None
}

/// The range of one partition.
fn range(id: u8) -> PartitionRange {
    let splits: Vec<_> = (1..PARTITIONS).map(|id| name(id * KEYS_EACH)).collect();
    PartitionRange::split(&splits).remove(id.into())
}
