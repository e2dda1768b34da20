//! The sockets of a node.

use std::os::unix::net::UnixStream;
use std::path::Path;

use super::*;

/// What the kernel knows of our end of a connection: the kind of timer that runs.
fn timer(own: SocketAddr, client: SocketAddr) -> Option<u8> {
    let hex = |port: u16| format!(":{port:04X}");
    let (own, client) = (hex(own.port()), hex(client.port()));
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    let lines = tables.iter().flat_map(|table| table.lines());
    let columns = lines.map(|line| line.split_whitespace().collect::<Vec<&str>>());
    let mut found = columns.filter(|columns| {
        columns.get(1).is_some_and(|local| local.ends_with(&own))
            && columns.get(2).is_some_and(|remote| remote.ends_with(&client))
    });
    // sl local remote state queues timer:when ...
    let (kind, _) = found.next()?.get(5)?.split_once(':')?;
    u8::from_str_radix(kind, 16).ok()
}

/// A client whose machine is gone says nothing, not even that it is gone.
#[tokio::test]
async fn every_connection_is_probed_while_it_is_silent() {
    const PROBES: u8 = 2;
    let plain = || {
        let (socket, url) = free_address();
        Address { url, socket: SocketAddress::Tcp(socket), secure: false }
    };
    let (client, http, metrics, peer, memstore) = (plain(), plain(), plain(), plain(), plain());
    let node = Node::start(Config {
        listen_client: vec![client.clone()],
        listen_http: vec![http.clone()],
        listen_metrics: vec![metrics.clone()],
        listen_peer: vec![peer.clone()],
        advertise_peer: vec![peer.url.clone()],
        serve_peers: true,
        ..Config::ephemeral()
    });
    let node = node.await.expect("it starts");
    let beside = Node::start(Config {
        roles: Roles { journal: false, memstore: true, frontend: false },
        journal_endpoints: vec![peer.url.clone()],
        listen_memstore: vec![memstore.clone()],
        advertise_memstore: vec![memstore.url.clone()],
        ..Config::ephemeral()
    });
    let beside = beside.await.expect("it starts");
    for address in [client, http, metrics, peer, memstore] {
        let socket = address.socket.tcp().expect("it is one of the network");
        let stream = TcpStream::connect(socket).expect("it listens");
        let from = stream.local_addr().expect("it is connected");
        assert_eq!(timer(socket, from), Some(PROBES), "{}", address.url);
    }
    beside.shutdown().await;
    node.shutdown().await;
}

fn get_by_file(path: &Path) -> String {
    let mut stream = UnixStream::connect(path).expect("it listens");
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it answers and closes");
    text
}

#[tokio::test]
async fn clients_on_this_machine_come_by_a_file() {
    let folder = tempfile::tempdir().expect("a scratch directory");
    let at = |name: &str| {
        let path = folder.path().join(name);
        Address {
            url: format!("unix://{}", path.display()),
            socket: SocketAddress::Unix(path),
            secure: false,
        }
    };
    let (client, metrics) = (at("client"), at("metrics"));
    let config = Config {
        listen_client: vec![client.clone(), client],
        listen_metrics: vec![metrics],
        ..Config::ephemeral()
    };
    let urls = [format!("unix://{}", folder.path().join("client").display())];
    let node = Node::start(config).await.expect("it starts");
    assert_eq!(node.summary().client_urls, urls);
    for name in ["client", "metrics"] {
        let path = folder.path().join(name);
        let text = tokio::task::spawn_blocking(move || get_by_file(&path)).await.expect("nothing panics");
        assert!(text.starts_with("HTTP/1.1 200 OK"), "{name}: {text}");
    }
    node.shutdown().await;
    assert_eq!(std::fs::read_dir(folder.path()).expect("it is there").count(), 0, "the files are gone");
}
