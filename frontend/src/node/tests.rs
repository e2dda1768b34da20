//! A whole node, from start to shutdown.

mod listening;
mod partitions;
#[expect(unreachable_pub, reason = "the suites use it too, from outside")]
#[path = "../../../tests/harness/ports.rs"]
mod ports;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use proto::etcdserverpb::maintenance_client::MaintenanceClient;
use proto::etcdserverpb::{AlarmRequest, HashKvRequest, StatusRequest};

use super::*;
use crate::config::{Address, AutoCompaction, SocketAddress};

fn listening() -> Config {
    let socket = "127.0.0.1:0".parse().expect("an address");
    Config {
        listen_client: vec![Address {
            url: "http://127.0.0.1:0".to_owned(),
            socket: SocketAddress::Tcp(socket),
            secure: false,
        }],
        ..Config::ephemeral()
    }
}

fn free_address() -> (SocketAddr, String) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free_port().expect("a free port")));
    (address, format!("http://{address}"))
}

/// A journal of its own, and where it is.
fn journal() -> (Config, String) {
    let (socket, peer) = free_address();
    let journal = Config {
        roles: Roles { journal: true, memstore: false, frontend: false },
        listen_peer: vec![Address { url: peer.clone(), socket: SocketAddress::Tcp(socket), secure: false }],
        advertise_peer: vec![peer.clone()],
        serve_peers: true,
        ..Config::ephemeral()
    };
    (journal, peer)
}

async fn get(address: SocketAddr, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let ask = move || {
        let mut stream = TcpStream::connect(address).expect("it accepts");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("it answers and closes");
        text
    };
    tokio::task::spawn_blocking(ask).await.expect("nothing panics")
}

#[tokio::test]
async fn a_node_that_has_started_is_ready() {
    let node = Node::start(listening()).await.expect("it starts");
    let address = node.summary().clients[0];
    for path in ["/health", "/livez", "/readyz"] {
        let text = get(address, path).await;
        assert!(text.starts_with("HTTP/1.1 200 OK"), "{path}: {text}");
    }
    let metrics = get(address, "/metrics").await;
    for line in
        ["etcd_server_has_leader 1", "etcd_server_is_leader 1", "etcd_server_leader_changes_seen_total 1"]
    {
        assert!(metrics.lines().any(|found| found == line), "{line}");
    }
    node.shutdown().await;
    assert!(TcpStream::connect(address).is_err());
}

#[tokio::test]
async fn a_port_in_use_is_told_before_anything_is_touched() {
    let first = Node::start(listening()).await.expect("it starts");
    let socket = first.summary().clients[0];
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let data = scratch.path().join("data");
    let config = Config {
        listen_client: vec![Address {
            url: format!("http://{socket}"),
            socket: SocketAddress::Tcp(socket),
            secure: false,
        }],
        ..Config::in_directory(&data)
    };
    let error = Node::start(config).await.err().expect("the port is taken").to_string();
    let expected = format!(
        "cannot listen on http://{socket}: another program uses that port; stop it, or choose another address"
    );
    assert_eq!(error, expected);
    assert!(!data.exists());
    first.shutdown().await;
}

/// A journal and two processes beside it, as they would be on three machines.
#[tokio::test]
async fn tiers_in_processes_of_their_own_are_one_store() {
    let (journal, peer) = journal();
    let journal = Node::start(journal).await.expect("it starts");
    let beside = |name: &str| Config {
        roles: Roles { journal: false, memstore: true, frontend: true },
        name: name.to_owned(),
        journal_endpoints: vec![peer.clone()],
        split_keys: vec!["m".into()],
        auto_compaction: AutoCompaction::Periodic(Duration::from_millis(100)),
        ..listening()
    };
    let one = Node::start(beside("one")).await.expect("it starts");
    let other = Node::start(beside("other")).await.expect("it starts");
    let cluster = journal.summary().cluster;
    assert_eq!((one.summary().cluster, other.summary().cluster), (cluster, cluster));
    assert_ne!(one.summary().member, other.summary().member);

    let url = format!("http://{}", one.summary().clients[0]);
    let channel = journal::Dialer::plain().channel(&url).expect("it is a URL");
    let mut maintenance = MaintenanceClient::new(channel);
    let status = maintenance.status(StatusRequest {}).await.expect("it answers").into_inner();
    let speaks_for = status.header.map(|header| header.member_id);
    assert_eq!((speaks_for, status.leader), (Some(journal.summary().member), journal.summary().member));
    let alarms = maintenance.alarm(AlarmRequest::default()).await.expect("it answers").into_inner();
    assert_eq!(alarms.header.map(|header| header.member_id), Some(one.summary().member));

    let revision = one.client().put("z", "1").await.expect("the journal is there");
    let found = other.client().get("z").await.expect("it follows").expect("it was put");
    assert_eq!((&found.value[..], found.mod_revision), (&b"1"[..], revision));
    assert!(get(other.summary().clients[0], "/readyz").await.starts_with("HTTP/1.1 200 OK"));
    // Though neither of them leads, somebody compacts.
    let compacts = async {
        let mut compacted = -1;
        while compacted < revision.to_wire() {
            let hash =
                maintenance.hash_kv(HashKvRequest::default()).await.expect("all is there").into_inner();
            compacted = hash.compact_revision;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), compacts).await.expect("it is not left to each other");
    one.shutdown().await;
    other.client().put("a", "2").await.expect("nobody misses the first");
    other.shutdown().await;
    journal.shutdown().await;
}
