//! Memstores that follow one journal and are asked over sockets, each of which can be stopped or killed.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use journal::{Dialer, Journal, SystemClock};
use memstore::{Config, Health, Memory, Memstore, Node, PartitionRange, Remote, Wanted};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;

use crate::routes::{Holder, Routes};

pub(crate) struct Served {
    pub(crate) routes: Routes,
    pub(crate) sites: Vec<Site>,
}

/// One memstore.
pub(crate) struct Site {
    node: Node,
    pub(crate) there: Memstore,
    /// What its process takes of 1,000 bytes.
    pub(crate) memory: Arc<Memory>,
    /// Whether bytes pass.
    flows: watch::Sender<bool>,
    serving: CancellationToken,
}

impl Served {
    /// One for each list of split keys, each with all keys.
    pub(crate) async fn start(journal: &Journal, splits: &[&[&'static str]]) -> Served {
        let wanted =
            |split: &&[&'static str]| Wanted::Split(split.iter().copied().map(Bytes::from).collect());
        Served::with(journal, splits.iter().map(wanted)).await
    }

    /// One for each of the partitions that are cut here.
    pub(crate) async fn start_apart(journal: &Journal, split: &[&'static str]) -> Served {
        let keys: Vec<Bytes> = split.iter().copied().map(Bytes::from).collect();
        let alone = |range| Wanted::Told(watch::channel([range].into()).1);
        Served::with(journal, PartitionRange::split(&keys).into_iter().map(alone)).await
    }

    async fn with(journal: &Journal, wanted: impl Iterator<Item = Wanted>) -> Served {
        let routes = Routes::new("");
        let mut sites = Vec::new();
        for wanted in wanted {
            sites.push(Site::start(journal, wanted).await);
        }
        let holders = sites.iter().zip(1..);
        let holders =
            holders.map(|(site, id)| Holder { id, zone: String::new(), memstore: site.there.clone() });
        routes.set_memstores(holders.collect());
        for site in &sites {
            site.is(Health::Up).await;
        }
        Served { routes, sites }
    }

    pub(crate) async fn close(self) {
        for site in self.sites {
            site.serving.cancel();
            site.node.close().await.expect("it closes");
        }
    }
}

impl Site {
    async fn start(journal: &Journal, wanted: Wanted) -> Site {
        let memory = Arc::new(Memory::new(1_000));
        let config = Config { wanted, process: rand::random(), memory: memory.clone(), ..Config::default() };
        let clock = Arc::new(SystemClock::default());
        let node = Node::start(config, journal.clone(), clock.clone(), CancellationToken::new());
        let node = node.expect("it needs nothing");
        let (flows, serving) = (watch::Sender::new(true), CancellationToken::new());
        let address = serve(&node, serving.clone()).await;
        let url = proxy(address, flows.subscribe(), serving.clone()).await;
        let cluster = journal.status_now().cluster;
        let there = Remote { url, cluster, dialer: Dialer::plain(), clock }.connect().expect("an address");
        Site { node, there, memory, flows, serving }
    }

    /// The one that is asked, as it is seen in its own process.
    pub(crate) fn here(&self) -> Memstore {
        self.node.handle()
    }

    /// As SIGSTOP does.
    pub(crate) fn stop(&self) {
        self.flows.send_replace(false);
    }

    /// As SIGCONT does.
    pub(crate) fn resume(&self) {
        self.flows.send_replace(true);
    }

    /// As SIGTERM does, as far as others see it before it closes.
    pub(crate) async fn leave(&self) -> bool {
        self.node.leave().await
    }

    /// As SIGKILL does.
    pub(crate) fn kill(&self) {
        self.serving.cancel();
    }

    pub(crate) async fn is(&self, health: Health) {
        let mut serves = self.there.serves();
        while serves.health != health {
            serves = self.there.other_than(&serves).await;
        }
    }
}

async fn serve(node: &Node, serving: CancellationToken) -> SocketAddr {
    let listener = bind().await;
    let address = listener.local_addr().expect("it is bound");
    let (service, incoming) = (node.service(), TcpIncoming::from(listener));
    let server = tonic::transport::Server::builder().max_concurrent_streams(Some(1 << 20));
    tokio::spawn(async move {
        tokio::select! {
            served = server.serve_with_incoming_shutdown(service, incoming, std::future::pending()) => {
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
    drop((from.set_nodelay(true), to.set_nodelay(true)));
    tokio::select! {
        () = pass(&from, &to, flows.clone()) => {}
        () = pass(&to, &from, flows) => {}
        () = end.cancelled() => {}
    }
}

async fn pass(from: &TcpStream, to: &TcpStream, mut flows: watch::Receiver<bool>) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        if from.readable().await.is_err() || flows.wait_for(|flows| *flows).await.is_err() {
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
