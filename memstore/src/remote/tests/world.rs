//! A memstore that is served on a port of its own, the handle on it from here, and the one over that port.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use journal::{Clock, Dialer, LeaseId, Lsn, Revision, SystemClock, Write};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;

use crate::client::Memstore;
use crate::feed::Feed;
use crate::feed::fed::FedJournal;
use crate::node::{Config, Node};
use crate::remote::{Health, Remote};
use crate::service::MemstoreService;
use crate::wanted::Wanted;
use crate::watch::WatchLimits;
use crate::wire::reports::Identity;

pub(super) const CLUSTER: u64 = 0xc1;

pub(super) struct World {
    pub(super) journal: Arc<FedJournal>,
    pub(super) node: Node,
    pub(super) here: Memstore,
    pub(super) there: Memstore,
    pub(super) url: String,
    /// Whether bytes pass between the two.
    pub(super) flows: watch::Sender<bool>,
    serving: CancellationToken,
}

impl World {
    pub(super) async fn start(split: &[&'static str], limits: WatchLimits) -> World {
        let journal = FedJournal::new();
        let wanted = Wanted::Split(split.iter().copied().map(Bytes::from).collect());
        let config = Config { wanted, watch: limits, ..Config::default() };
        let feed = Feed::Fed(journal.clone());
        let node = Node::follow(config, feed, None, CLUSTER, CancellationToken::new()).expect("it starts");
        let serving = CancellationToken::new();
        let address = serve(&node, &journal, serving.clone()).await;
        let flows = watch::Sender::new(true);
        let url = proxy(address, flows.subscribe(), serving.clone()).await;
        let there = connect(&url, CLUSTER);
        up(&there).await;
        World { here: node.handle(), journal, node, there, url, flows, serving }
    }

    /// As if its process were killed.
    pub(super) fn kill(&self) {
        self.serving.cancel();
    }

    pub(super) fn put(&self, key: &'static str, value: impl Into<Bytes>) -> Lsn {
        self.journal.append(vec![(vec![put(key, value)], None)])
    }

    pub(super) async fn close(self) {
        self.serving.cancel();
        self.node.close().await.expect("it closes");
    }
}

pub(super) fn put(key: &'static str, value: impl Into<Bytes>) -> Write {
    Write::Put { key: key.into(), value: value.into(), lease: LeaseId::NONE }
}

pub(super) fn connect(url: &str, cluster: u64) -> Memstore {
    let clock = Arc::new(SystemClock::default());
    let remote = Remote { url: url.to_owned(), cluster, dialer: Dialer::plain(), clock };
    remote.connect().expect("an address")
}

pub(super) async fn up(memstore: &Memstore) {
    until(memstore, |health| health == Health::Up).await;
}

pub(super) async fn down(memstore: &Memstore) {
    until(memstore, |health| health == Health::Down).await;
}

async fn until(memstore: &Memstore, is: impl Fn(Health) -> bool) {
    let mut serves = memstore.serves();
    while !is(serves.health) {
        serves = memstore.other_than(&serves).await;
    }
}

/// Everybody has applied `lsn` and said so.
pub(super) async fn reached(memstore: &Memstore, lsn: Lsn) -> Revision {
    let mut revision = Revision::ZERO;
    for range in memstore.partitions().iter() {
        revision = memstore.wait(range.id, lsn).await.expect("it is open").revision;
    }
    revision
}

async fn serve(node: &Node, journal: &Arc<FedJournal>, serving: CancellationToken) -> SocketAddr {
    let listener = bind().await;
    let address = listener.local_addr().expect("it is bound");
    let identity = Identity { cluster: CLUSTER, process: 1, name: "m1".to_owned() };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let feed = Feed::Fed(journal.clone());
    let service = MemstoreService::of(node.handle(), identity, feed, clock, node.farewell());
    let incoming = TcpIncoming::from(listener);
    let server = tonic::transport::Server::builder().max_concurrent_streams(Some(1 << 20));
    let stop = std::future::pending();
    tokio::spawn(async move {
        tokio::select! {
            served = server.serve_with_incoming_shutdown(service, incoming, stop) => {
                served.expect("the port stays open");
            }
            () = serving.cancelled() => {}
        }
    });
    address
}

async fn bind() -> TcpListener {
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    TcpListener::bind(any).await.expect("a port is free")
}

/// Passes bytes on while they flow, and hangs up at the end.
async fn proxy(to: SocketAddr, flows: watch::Receiver<bool>, end: CancellationToken) -> String {
    let listener = bind().await;
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted.expect("the port stays open").0,
                () = end.cancelled() => return,
            };
            tokio::spawn(pass_on(accepted, to, flows.clone(), end.clone()));
        }
    });
    url
}

async fn pass_on(from: TcpStream, to: SocketAddr, flows: watch::Receiver<bool>, end: CancellationToken) {
    let Ok(to) = TcpStream::connect(to).await else { return };
    tokio::select! {
        () = pass(&from, &to, flows.clone()) => {}
        () = pass(&to, &from, flows) => {}
        () = end.cancelled() => {}
    }
}

async fn pass(from: &TcpStream, to: &TcpStream, mut flows: watch::Receiver<bool>) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        from.readable().await.expect("it is there");
        if flows.wait_for(|flows| *flows).await.is_err() {
            return;
        }
        let mut bytes = match from.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => &buffer[..count],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(_) => return,
        };
        while !bytes.is_empty() {
            if to.writable().await.is_err() {
                return;
            }
            match to.try_write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}
