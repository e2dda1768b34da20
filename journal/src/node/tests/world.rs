//! Three voters in one process, links and disks that outlive them, and clients that do what frontends do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::super::*;
use crate::clock::SystemClock;
use crate::log_device::sim::{Faults, Sim};
use crate::lsn::Lsn;
use crate::member::Member;
use crate::origin::Origin;
use crate::raft::network::Hub;
use crate::record::{Append, Entry, LeaseId, SysOp, Write};
use crate::verdict::{Barrier, Fate, Verdict};

pub(super) const NODES: [u64; 3] = [1, 2, 3];

/// What a node's process leaves behind.
#[derive(Clone)]
struct Disk {
    disk: Sim,
    snapshots: SnapshotStore,
}

pub(super) struct World {
    pub(super) hub: Hub,
    pub(super) clock: Arc<SystemClock>,
    disks: BTreeMap<u64, Disk>,
    nodes: BTreeMap<u64, Node>,
    /// The handles that clients use; those of crashed nodes answer that they are closed.
    handles: BTreeMap<u64, watch::Sender<Journal>>,
    retention_bytes: u64,
    recent_bytes_max: usize,
    acknowledged: Acknowledged,
}

/// The furthest position and revision that any client was told of.
type Acknowledged = Arc<Mutex<(Lsn, Revision)>>;

impl World {
    /// Nothing is ever trimmed here.
    pub(super) async fn start() -> World {
        World::start_with(1 << 30, 32 << 20).await
    }

    /// Here everything is trimmed that snapshots have, and what is older than a moment is read from disk.
    pub(super) async fn start_trimming() -> World {
        World::start_with(0, 64 << 10).await
    }

    async fn start_with(retention_bytes: u64, recent_bytes_max: usize) -> World {
        let clock = Arc::new(SystemClock::default());
        let disk = || Disk { disk: Sim::default(), snapshots: SnapshotStore::in_memory() };
        let disks = NODES.map(|node| (node, disk())).into();
        let hub = Hub::new(clock.clone());
        let (nodes, handles) = (BTreeMap::new(), BTreeMap::new());
        let acknowledged = Acknowledged::default();
        let mut world =
            World { hub, clock, disks, nodes, handles, retention_bytes, recent_bytes_max, acknowledged };
        for node in NODES {
            world.restart(node).await;
        }
        world
    }

    pub(super) async fn restart(&mut self, node: u64) {
        let voters = NODES.map(|id| Member { id, ..Member::default() }).into();
        let World { retention_bytes, recent_bytes_max, .. } = *self;
        let config =
            Config { voters, retention_bytes, recent_bytes_max, ..Config::single(7, node, Storage::Memory) };
        let network = Network::Local { hub: self.hub.clone(), node };
        let Disk { disk, snapshots } = self.disks[&node].clone();
        let log = Log::on_sim(&disk, 64 << 10, self.clock.clone()).unwrap();
        let started = Node::assemble(config, self.clock.clone(), log, snapshots, network).await.unwrap();
        let handle = started.handle();
        match self.handles.get(&node) {
            Some(handles) => drop(handles.send_replace(handle)),
            None => drop(self.handles.insert(node, watch::channel(handle).0)),
        }
        self.nodes.insert(node, started);
    }

    /// The machine stops, in the middle of whatever it does.
    pub(super) async fn crash(&mut self, node: u64) {
        if let Some(running) = self.nodes.remove(&node) {
            let disk = &mut self.disks.get_mut(&node).expect("it has a disk").disk;
            let faults = Faults { seed: disk.operations(), ..Faults::default() };
            *disk = disk.restart(faults);
            running.task.abort();
            running.cluster.close().await;
        }
    }

    /// The process is asked to end.
    pub(super) async fn close(&mut self, node: u64) {
        if let Some(running) = self.nodes.remove(&node) {
            running.close().await;
        }
    }

    pub(super) fn node(&self, node: u64) -> Option<&Node> {
        self.nodes.get(&node)
    }

    pub(super) fn is_up(&self, node: u64) -> bool {
        self.nodes.contains_key(&node)
    }

    pub(super) fn handle(&self, node: u64) -> Journal {
        self.handles[&node].borrow().clone()
    }

    /// The node's handle, and after each restart the next.
    pub(super) fn handles(&self, node: u64) -> watch::Receiver<Journal> {
        self.handles[&node].subscribe()
    }

    pub(super) fn client(&self, frontend: u64) -> Client {
        let handles = NODES.map(|node| (node, self.handles(node))).into();
        let acknowledged = self.acknowledged.clone();
        Client { frontend, seq: 0, handles, at: 1, clock: self.clock.clone(), acknowledged }
    }

    /// Waits for a leader that can prove it, among these nodes.
    pub(super) async fn leader(&self, among: &[u64]) -> u64 {
        loop {
            for node in among {
                if self.is_up(*node) && self.handle(*node).barrier().await.is_ok() {
                    return *node;
                }
            }
            self.clock.until(self.clock.now() + Duration::from_millis(10)).await;
        }
    }
}

/// A frontend with one request at a time. It holds every barrier against what anybody was told before (I6).
pub(super) struct Client {
    frontend: u64,
    seq: u64,
    handles: BTreeMap<u64, watch::Receiver<Journal>>,
    at: u64,
    clock: Arc<SystemClock>,
    acknowledged: Acknowledged,
}

impl Client {
    fn handle(&self) -> Journal {
        self.handles[&self.at].borrow().clone()
    }

    pub(super) async fn elsewhere(&mut self) {
        self.at = self.at % NODES.len() as u64 + 1;
        self.rest(10).await;
    }

    pub(super) async fn rest(&self, milliseconds: u64) {
        self.clock.until(self.clock.now() + Duration::from_millis(milliseconds)).await;
    }

    pub(super) fn put(&mut self, value_bytes: usize) -> Append {
        self.seq += 1;
        put(self.frontend, self.seq, value_bytes)
    }

    /// Tells the journal that everything up to the barrier is in snapshots.
    pub(super) fn mark(&mut self, at: Barrier) -> Append {
        let (start, end) = (Bytes::new(), Bytes::new());
        let mark = SysOp::SnapshotMark { start, end, lsn: at.lsn, revision: at.revision, set_hash: 0 };
        Append { writes: Vec::new(), sysop: Some(mark), ..self.put(0) }
    }

    /// Appends, asks for the fate of what is unknown, and tries again what never happened. Answers where it is.
    pub(super) async fn append(&mut self, append: Append) -> (Origin, Lsn, Revision) {
        let place = self.land(append).await;
        let mut acknowledged = self.acknowledged.lock();
        *acknowledged = (acknowledged.0.max(place.1), acknowledged.1.max(place.2));
        place
    }

    /// Does not wait for ever for one that cannot know that it leads no more.
    async fn verdict(&mut self, append: Append) -> Verdict {
        let journal = self.handle();
        tokio::select! {
            verdict = journal.append(append) => return verdict,
            () = self.rest(300) => {}
        }
        self.elsewhere().await;
        Verdict::Unknown
    }

    async fn land(&mut self, mut append: Append) -> (Origin, Lsn, Revision) {
        loop {
            match self.verdict(append.clone()).await {
                Verdict::Committed { lsn, revision, attempt, .. } => {
                    append.origin.attempt = attempt;
                    return (append.origin, lsn, revision);
                }
                Verdict::NotLeader { .. } | Verdict::Overloaded { .. } => self.elsewhere().await,
                Verdict::Unknown => match self.fate(append.origin).await {
                    Fate::Committed { lsn, revision, attempt, .. } => {
                        append.origin.attempt = attempt;
                        return (append.origin, lsn, revision);
                    }
                    Fate::Never => append.origin.attempt += 1,
                    fate => panic!("{fate:?} of {:?}", append.origin),
                },
                verdict => panic!("{verdict:?}"),
            }
        }
    }

    async fn fate(&mut self, origin: Origin) -> Fate {
        loop {
            match self.handle().fate(origin).await {
                Ok(Fate::Pending) => self.rest(1).await,
                Ok(fate) => return fate,
                Err(_) => self.elsewhere().await,
            }
        }
    }

    pub(super) async fn barrier(&mut self) -> Barrier {
        loop {
            let (lsn, revision) = *self.acknowledged.lock();
            match self.handle().barrier().await {
                Ok(barrier) => {
                    assert!(
                        lsn <= barrier.lsn && revision <= barrier.revision,
                        "{barrier:?} is before {lsn}"
                    );
                    return barrier;
                }
                Err(_) => self.elsewhere().await,
            }
        }
    }
}

pub(super) fn put(frontend: u64, seq: u64, value_bytes: usize) -> Append {
    let key = Bytes::from(format!("{frontend}/{}", seq % 100));
    let write = Write::Put { key, value: Bytes::from(vec![0; value_bytes]), lease: LeaseId::NONE };
    let origin = Origin { frontend, seq, attempt: 1 };
    Append { origin, reads: Vec::new(), writes: vec![write], sysop: None, reserve: false }
}

/// Everything committed from `from` to `upto`, as this node's tail tells it.
pub(super) async fn history(journal: &Journal, from: Lsn, upto: Lsn) -> Vec<Entry> {
    let mut tail = journal.tail(from);
    let mut entries: Vec<Entry> = Vec::new();
    while tail.position() <= upto {
        entries.extend(tail.next().await.unwrap());
    }
    entries.retain(|entry| entry.lsn <= upto);
    entries
}

/// Where each request is. Panics where one is there twice, or revisions have a gap.
pub(super) fn requests(history: &[Entry]) -> BTreeMap<(u64, u64), (Origin, Lsn, Revision)> {
    let mut requests = BTreeMap::new();
    let mut last = Revision::EMPTY_STORE;
    for entry in history {
        let Some(batch) = &entry.batch else { continue };
        assert_eq!(batch.term, entry.term);
        for (revision, record) in batch.revisions() {
            assert!(!record.is_mutating() || revision == last.next(), "{revision} follows {last}");
            last = revision;
            let Origin { frontend, seq, .. } = record.origin;
            let place = (record.origin, entry.lsn, revision);
            let twice = requests.insert((frontend, seq), place);
            assert_eq!(twice, None, "committed twice");
        }
    }
    requests
}

use crate::revision::Revision;

/// Chance from a seed.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
