//! Nodes in one process that reach each other over TCP, each on a disk and at an address that outlive it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::codegen::Service as _;

use super::super::*;
use super::world::put;
use crate::Dialer;
use crate::clock::SystemClock;
use crate::log_device::sim::Sim;
use crate::lsn::Lsn;
use crate::member::{Member, MemberChange, MemberRefusal, MembersChanged};
use crate::origin::Origin;
use crate::raft::network::Wire;
use crate::raft::voter_registry::{Standing, VoterRegistry};
use crate::record::Append;
use crate::remote::Remote;
use crate::verdict::{Fate, Verdict};

pub(super) const CLUSTER: u64 = 0xc0;

/// No test takes a tenth of it, also where many run at once.
const HOPELESS_AFTER: Duration = Duration::from_secs(180);

/// What there is of a node while its process does not run.
#[derive(Clone)]
struct Place {
    address: SocketAddr,
    /// Held until the first start: nobody else gets the port.
    listener: Arc<Mutex<Option<TcpListener>>>,
    disk: Sim,
    snapshots: SnapshotStore,
    /// Where its registry of voters is.
    directory: Arc<TempDir>,
}

/// What a node has on disk.
pub(super) struct Kept {
    disk: Sim,
    directory: Arc<TempDir>,
}

struct Process {
    node: Node,
    server: JoinHandle<()>,
}

pub(super) struct Net {
    clock: Arc<SystemClock>,
    cluster: u64,
    places: BTreeMap<u64, Place>,
    processes: BTreeMap<u64, Process>,
    retention_bytes: u64,
    /// URLs that every member names before its own.
    first_urls: Vec<String>,
}

impl Net {
    fn new(cluster: u64) -> Net {
        let clock = Arc::new(SystemClock::default());
        let (places, processes, first_urls) = Default::default();
        Net { clock, cluster, places, processes, retention_bytes: 1 << 30, first_urls }
    }

    /// A cluster of these nodes, begun, which never trims.
    pub(super) async fn begin(nodes: &[u64]) -> Net {
        Net::begin_with(nodes, 1 << 30).await
    }

    pub(super) async fn begin_with(nodes: &[u64], retention_bytes: u64) -> Net {
        Net { retention_bytes, ..Net::new(CLUSTER) }.begun(nodes).await
    }

    /// A cluster whose members are not reached by the first of their URLs.
    pub(super) async fn begin_behind(first_url: String, nodes: &[u64]) -> Net {
        Net { first_urls: vec![first_url], ..Net::new(CLUSTER) }.begun(nodes).await
    }

    /// Addresses and blank disks for these nodes.
    pub(super) async fn places(nodes: &[u64]) -> Net {
        Net::new(CLUSTER).placed(nodes).await
    }

    async fn placed(mut self, nodes: &[u64]) -> Net {
        for node in nodes {
            self.place(*node).await;
        }
        self
    }

    async fn begun(self, nodes: &[u64]) -> Net {
        let mut net = self.placed(nodes).await;
        for node in nodes {
            net.start(*node, nodes, false).await;
        }
        net
    }

    async fn place(&mut self, node: u64) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let snapshots = SnapshotStore::in_memory();
        let directory = Arc::new(TempDir::new().unwrap());
        let listener = Arc::new(Mutex::new(Some(listener)));
        self.places.insert(node, Place { address, listener, disk: Sim::default(), snapshots, directory });
    }

    /// What there is of the node, at another address.
    pub(super) async fn relocate(&mut self, node: u64) {
        let before = self.places.remove(&node).expect("it has a place");
        self.place(node).await;
        let place = self.places.get_mut(&node).expect("it has a place again");
        *place = Place { address: place.address, listener: place.listener.clone(), ..before };
    }

    /// Each of the two has the disk of the other from here on.
    pub(super) fn swap_disks(&mut self, one: u64, other: u64) {
        let [at_one, at_other] = [one, other].map(|id| self.places[&id].address);
        for (id, address) in [(one, at_other), (other, at_one)] {
            self.places.get_mut(&id).expect("it has a place").address = address;
        }
    }

    pub(super) fn member(&self, id: u64) -> Member {
        let own = format!("http://{}", self.places[&id].address);
        let peer_urls = self.first_urls.iter().cloned().chain([own]).collect();
        Member { id, name: format!("node-{id}"), peer_urls, ..Member::default() }
    }

    /// The node as one that nobody knows yet: it has an address, and no name.
    pub(super) async fn newcomer(&mut self, id: u64, learner: bool) -> Member {
        self.place(id).await;
        Member { name: String::new(), learner, ..self.member(id) }
    }

    pub(super) async fn start(&mut self, id: u64, voters: &[u64], join: bool) {
        self.try_start(id, voters, join).await.unwrap();
    }

    /// The process starts, or says why not.
    pub(super) async fn try_start(&mut self, id: u64, voters: &[u64], join: bool) -> Result<(), Error> {
        let Place { address, listener, disk, snapshots, directory } = self.places[&id].clone();
        let voters = voters.iter().map(|voter| self.member(*voter)).collect();
        let config = Config {
            voters,
            join,
            dialer: Some(Dialer::plain()),
            heartbeat: Duration::from_millis(100),
            election_timeout: Duration::from_millis(600),
            retention_bytes: self.retention_bytes,
            ..Config::single(self.cluster, id, Storage::Memory)
        };
        let log = Log::on_sim(&disk, 4 << 20, self.clock.clone()).unwrap();
        let network = network(&config, directory.path());
        let node = Node::assemble(config, self.clock.clone(), log, snapshots, network).await?;
        let listener = listener.lock().take();
        let listener = match listener {
            Some(listener) => listener,
            None => self.listen(address).await,
        };
        let peer = node.peer_service().expect("it has a dialer");
        let server = tokio::spawn(serve(listener, peer, node.service()));
        self.processes.insert(id, Process { node, server });
        Ok(())
    }

    /// Another process may have the port for a moment, to call from.
    async fn listen(&self, address: SocketAddr) -> TcpListener {
        loop {
            match TcpListener::bind(address).await {
                Ok(listener) => return listener,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}"),
            }
            self.rest().await;
        }
    }

    /// The process ends without a word. What its disk has stays.
    pub(super) async fn kill(&mut self, id: u64) {
        let Process { node, server } = self.processes.remove(&id).expect("it runs");
        server.abort();
        let place = self.places.get_mut(&id).expect("it has a place");
        place.disk = place.disk.restart(crate::log_device::sim::Faults::default());
        node.task.abort();
        node.cluster.close().await;
    }

    /// What the node had on disk is gone.
    pub(super) fn wipe(&mut self, id: u64) {
        let place = self.places.get_mut(&id).expect("it has a place");
        place.disk = Sim::default();
        place.snapshots = SnapshotStore::in_memory();
        place.directory = Arc::new(TempDir::new().unwrap());
    }

    /// A copy of what the node has on disk now.
    pub(super) fn copy(&self, id: u64) -> Kept {
        let Place { disk, directory, .. } = &self.places[&id];
        let copy = TempDir::new().unwrap();
        for file in std::fs::read_dir(directory.path()).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
        Kept { disk: disk.copy(), directory: Arc::new(copy) }
    }

    /// Puts a copy back.
    pub(super) fn put_back(&mut self, id: u64, kept: Kept) {
        let place = self.places.get_mut(&id).expect("it has a place");
        (place.disk, place.directory) = (kept.disk, kept.directory);
    }

    pub(super) fn disk(&self, id: u64) -> &Sim {
        &self.places[&id].disk
    }

    pub(super) fn ids(&self) -> Vec<u64> {
        self.processes.keys().copied().collect()
    }

    pub(super) fn handle(&self, id: u64) -> Journal {
        self.processes[&id].node.handle()
    }

    pub(super) fn node(&self, id: u64) -> &Node {
        &self.processes[&id].node
    }

    /// Waits until every node has recorded every other.
    pub(super) async fn met(&self) {
        let registry = |id: u64| self.node(id).cluster.wire().expect("it has a dialer").registry();
        while self.ids().into_iter().any(|id| registry(id).bootstrapped().len() + 1 < self.processes.len()) {
            self.rest().await;
        }
    }

    /// What the node has heard of the others is on disk, as it is every few seconds.
    pub(super) async fn save_registry(&self, id: u64) {
        self.node(id).cluster.wire().expect("it has a dialer").registry().save().await.unwrap();
    }

    pub(super) fn standing(&self, id: u64) -> Standing {
        self.node(id).cluster.wire().expect("it has a dialer").registry().standing_now()
    }

    pub(super) async fn rest(&self) {
        let now = self.clock.now();
        assert!(now < HOPELESS_AFTER, "what is waited for does not come");
        self.clock.until(now + Duration::from_millis(20)).await;
    }

    /// Waits for a leader that can prove it.
    pub(super) async fn leader(&self) -> u64 {
        loop {
            for id in self.ids() {
                let handle = self.handle(id);
                // Who does not lead asks who does.
                if handle.status().borrow().leader == Some(id) && handle.barrier().await.is_ok() {
                    return id;
                }
            }
            self.rest().await;
        }
    }

    /// Appends as a frontend does, through every change of leader. Answers where it is.
    pub(super) async fn append(&self, mut append: Append) -> (Origin, Lsn) {
        loop {
            let leader = self.handle(self.leader().await);
            match leader.append(append.clone()).await {
                Verdict::Committed { lsn, .. } => return (append.origin, lsn),
                Verdict::NotLeader { .. } => {}
                Verdict::Unknown => match self.fate(append.origin).await {
                    Fate::Committed { lsn, .. } => return (append.origin, lsn),
                    Fate::Never => append.origin.attempt += 1,
                    fate => panic!("{fate:?} of {:?}", append.origin),
                },
                verdict => panic!("{verdict:?}"),
            }
        }
    }

    async fn fate(&self, origin: Origin) -> Fate {
        loop {
            match self.handle(self.leader().await).fate(origin).await {
                Ok(Fate::Pending) | Err(_) => self.rest().await,
                Ok(fate) => return fate,
            }
        }
    }

    /// Appends some small records. Answers the last one's position.
    pub(super) async fn write(&self, frontend: u64, count: u64) -> Lsn {
        let mut last = Lsn::ZERO;
        for seq in 1..=count {
            last = self.append(put(frontend, seq, 100)).await.1;
        }
        last
    }

    /// Changes the cluster wherever it is led, and tries again what may only be too early.
    pub(super) async fn change(&self, change: MemberChange) -> MembersChanged {
        loop {
            let leader = self.handle(self.leader().await);
            match leader.change_members(change.clone()).await {
                Ok(Err(
                    MemberRefusal::UnderWay | MemberRefusal::Unhealthy | MemberRefusal::LearnerNotReady,
                ))
                | Err(Error::NotLeader { .. }) => self.rest().await,
                Ok(changed) => return changed,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Waits until this many vote, as the node sees it.
    pub(super) async fn voters(&self, id: u64, count: usize) {
        while self.node(id).cluster.voters() != count {
            self.rest().await;
        }
    }

    /// The whole of it, from outside.
    pub(super) fn remote(&self) -> Journal {
        let endpoints = self.ids().into_iter().flat_map(|id| self.member(id).peer_urls).collect();
        let clock = self.clock.clone();
        Remote { endpoints, cluster: Some(self.cluster), id: 0, dialer: Dialer::plain(), clock }
            .connect()
            .unwrap()
    }

    /// Waits until the node has everything up to `lsn`.
    pub(super) async fn has(&self, id: u64, lsn: Lsn) {
        while self.handle(id).status().borrow().applied < lsn {
            self.rest().await;
        }
    }
}

/// What voters say to each other, and what others ask a node.
async fn serve(listener: TcpListener, peer: PeerService, journal: JournalServer<JournalService>) {
    let mut connections = JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        socket.set_nodelay(true).unwrap();
        let (peer, journal) = (peer.clone(), journal.clone());
        let answer = service_fn(move |request: hyper::Request<Incoming>| {
            let (mut peer, mut journal) = (peer.clone(), journal.clone());
            async move {
                let request = request.map(tonic::body::Body::new);
                match request.uri().path().starts_with("/mainstem.journal.") {
                    true => journal.call(request).await,
                    false => peer.call(request).await,
                }
            }
        });
        let connection =
            http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), answer);
        connections.spawn(connection);
    }
}

/// Random numbers of data directories.
static STORAGES: AtomicU64 = AtomicU64::new(1);

fn network(config: &Config, directory: &Path) -> Network {
    let dialer = config.dialer.clone().expect("it has one");
    let new = STORAGES.fetch_add(1, Relaxed);
    let registry = VoterRegistry::open(config.node, Some(directory.to_owned()), new).unwrap();
    let clock = Arc::new(SystemClock::default());
    Network::Wire(Wire::new(config.cluster, config.node, dialer, clock, registry))
}
