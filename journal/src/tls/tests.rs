//! Both sides of a connection, with certificates of every kind.

mod authority;
mod go_certificates;

use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};

use self::authority::{Authority, Leaf};
use super::*;

const H2: &[&[u8]] = &[b"h2"];

/// A folder with the files of both sides.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    /// Both sides have a certificate of `authority`.
    fn of(authority: &Authority) -> Files {
        let files = Files { folder: tempfile::tempdir().expect("there is room") };
        files.put("ca.pem", &authority.pem());
        files.put_pair("server", &authority.issue(&Leaf::named("server")));
        files.put_pair("client", &authority.issue(&Leaf::named("client")));
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces a file as careful programs do.
    fn put(&self, name: &str, text: &str) {
        let fresh = self.path("fresh");
        std::fs::write(&fresh, text).expect("there is room");
        std::fs::rename(fresh, self.path(name)).expect("it is there");
    }

    fn put_pair(&self, name: &str, (cert, key): &(String, String)) {
        self.put(&format!("{name}.pem"), cert);
        self.put(&format!("{name}.key"), key);
    }

    fn pair(&self, name: &str) -> Option<KeyPair> {
        Some(KeyPair { cert: self.path(&format!("{name}.pem")), key: self.path(&format!("{name}.key")) })
    }

    fn side(&self, name: &str) -> Settings {
        Settings { identity: self.pair(name), trusted_ca: Some(self.path("ca.pem")), ..Settings::default() }
    }

    fn server(&self) -> Settings {
        self.side("server")
    }

    fn client(&self) -> Settings {
        self.side("client")
    }
}

/// Who came, as the server sees it, and what became of it, as the client sees it.
async fn meet(acceptor: &Acceptor, connector: &Connector) -> (Result<Option<Caller>, String>, bool) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
    let port = listener.local_addr().expect("it is bound").port();
    let accepts = async {
        let (socket, _) = listener.accept().await.expect("somebody comes");
        let mut stream = acceptor.accept(socket).await.map_err(|refused| refused.to_string())?;
        stream.write_all(b"hello").await.expect("it is open");
        stream.shutdown().await.expect("it is open");
        Ok(stream.caller().map(|caller| Caller::clone(&caller)))
    };
    let connects = async {
        let Ok(mut stream) = connector.connect("127.0.0.1", port).await else { return false };
        let mut told = String::new();
        // Under 1.3 a client learns only by reading that it was refused.
        stream.read_to_string(&mut told).await.is_ok() && told == "hello"
    };
    tokio::join!(accepts, connects)
}

async fn meet_once(server: &Settings, client: &Settings) -> (Result<Option<Caller>, String>, bool) {
    let (acceptor, connector) = (Acceptor::new(server, H2), Connector::new(client));
    meet(&acceptor.expect("its files are right"), &connector.expect("its files are right")).await
}

fn named(name: &str) -> Option<Caller> {
    Some(Caller { common_name: Some(name.to_owned()), tiers: None })
}

#[tokio::test]
async fn both_sides_know_each_other() {
    let files = Files::of(&Authority::new("ca"));
    assert_eq!(meet_once(&files.server(), &files.client()).await, (Ok(named("client")), true));
    // Nobody asks for a certificate.
    let open = Settings { trusted_ca: None, ..files.server() };
    assert_eq!(meet_once(&open, &files.client()).await, (Ok(None), true));
}

#[tokio::test]
async fn who_shows_nothing_or_something_else_is_refused() {
    let files = Files::of(&Authority::new("ca"));
    let refused = |told: (Result<Option<Caller>, String>, bool), why: &str| {
        let reason = told.0.expect_err(why);
        assert!(reason.contains(why) && !told.1, "{reason}");
    };
    let silent = Settings { identity: None, ..files.client() };
    refused(meet_once(&files.server(), &silent).await, "peer sent no certificates");
    let other = Authority::new("ca");
    let client = |leaf: &Leaf, authority: &Authority| {
        files.put_pair("client", &authority.issue(leaf));
        files.client()
    };
    let authority = Authority::new("right");
    files.put("ca.pem", &authority.pem());
    files.put_pair("server", &authority.issue(&Leaf::named("server")));
    refused(meet_once(&files.server(), &client(&Leaf::named("a"), &other)).await, "UnknownIssuer");
    let late = Leaf { expired: true, ..Leaf::named("a") };
    refused(meet_once(&files.server(), &client(&late, &authority)).await, "certificate expired");
    let serves = Leaf { for_clients: false, ..Leaf::named("a") };
    refused(meet_once(&files.server(), &client(&serves, &authority)).await, "certificate");
    assert!(meet_once(&files.server(), &client(&Leaf::named("a"), &authority)).await.1);
}

#[tokio::test]
async fn one_port_serves_with_and_without_tls() {
    let files = Files::of(&Authority::new("ca"));
    let acceptor = Acceptor::new(&files.server(), H2).expect("its files are right").or_plain();
    let connector = Connector::new(&files.client()).expect("its files are right");
    assert_eq!(meet(&acceptor, &connector).await, (Ok(named("client")), true));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
    let mut client =
        TcpStream::connect(listener.local_addr().expect("it is bound")).await.expect("it is open");
    client.write_all(b"PRI").await.expect("it is open");
    let (socket, _) = listener.accept().await.expect("somebody comes");
    let Ok(mut stream) = acceptor.accept(socket).await else { panic!("it is served") };
    let mut first = [0; 3];
    stream.read_exact(&mut first).await.expect("it is open");
    assert!(&first == b"PRI" && stream.caller().is_none());
}

#[tokio::test]
async fn a_socket_of_this_machine_can_be_secure() {
    let files = Files::of(&Authority::new("ca"));
    let acceptor = Acceptor::new(&files.server(), H2).expect("its files are right");
    let (client, server) = UnixStream::pair().expect("there are descriptors");
    let connector = Connector::new(&files.client()).expect("its files are right");
    let accepts = acceptor.accept(server);
    let (accepted, connected) = tokio::join!(accepts, connector.over("127.0.0.1", client));
    let Ok(stream) = accepted else { panic!("it is believed") };
    assert!(connected.is_ok());
    assert_eq!(stream.caller().map(|caller| Caller::clone(&caller)), named("client"));
}

#[tokio::test]
async fn a_server_that_is_another_is_left() {
    let authority = Authority::new("ca");
    let files = Files::of(&authority);
    let met = |leaf: Leaf, authority: &Authority| {
        files.put_pair("server", &authority.issue(&leaf));
        let (server, client) = (files.server(), files.client());
        async move { meet_once(&server, &client).await.1 }
    };
    assert!(met(Leaf::named("server"), &authority).await);
    assert!(!met(Leaf { hosts: &["127.0.0.2"], ..Leaf::named("server") }, &authority).await);
    assert!(!met(Leaf::named("server"), &Authority::new("other")).await);
    assert!(!met(Leaf { expired: true, ..Leaf::named("server") }, &authority).await);
    let anybody = Settings { believes_anybody: true, trusted_ca: None, ..files.client() };
    assert!(meet_once(&Settings { trusted_ca: None, ..files.server() }, &anybody).await.1);
}

#[tokio::test]
async fn only_names_on_the_list_may_come() {
    let files = Files::of(&Authority::new("ca"));
    for (allowed, expected) in [
        (Allowed::CommonNames(vec!["other".to_owned(), "client".to_owned()]), true),
        (Allowed::CommonNames(vec!["other".to_owned()]), false),
        (Allowed::Hosts(vec!["a.example".to_owned(), "127.0.0.1".to_owned()]), true),
        (Allowed::Hosts(vec!["a.example".to_owned(), "not a name".to_owned()]), false),
    ] {
        let server = Settings { allowed, ..files.server() };
        assert_eq!(meet_once(&server, &files.client()).await.1, expected, "{:?}", server.allowed);
        // The same list is asked of who is dialed.
        let dials = Settings { allowed: server.allowed, ..files.client() };
        let lists_client = matches!(&dials.allowed, Allowed::CommonNames(_));
        assert_eq!(meet_once(&files.server(), &dials).await.1, expected && !lists_client);
    }
}

#[tokio::test]
async fn what_is_revoked_counts_no_more_from_the_next_connection_on() {
    let authority = Authority::new("ca");
    let files = Files::of(&authority);
    let good = Leaf { serial: 7, ..Leaf::named("client") };
    files.put_pair("client", &authority.issue(&good));
    files.put("crl.pem", &authority.revoke(&[8]));
    let server = Settings { crl: Some(files.path("crl.pem")), ..files.server() };
    let acceptor = Acceptor::new(&server, H2).expect("its files are right");
    let connector = Connector::new(&files.client()).expect("its files are right");
    assert!(meet(&acceptor, &connector).await.1);
    files.put("crl.pem", &authority.revoke(&[8, 7]));
    let (told, got) = meet(&acceptor, &connector).await;
    assert!(told.expect_err("it is revoked").contains("Revoked") && !got);
    // A broken list is no reason to believe what was revoked.
    files.put("crl.pem", "-----BEGIN X509 CRL-----\nnothing\n");
    assert!(!meet(&acceptor, &connector).await.1);
    std::fs::remove_file(files.path("crl.pem")).expect("it is there");
    assert!(!meet(&acceptor, &connector).await.1);
}

#[tokio::test]
async fn what_is_renewed_counts_from_the_next_connection_on() {
    let (before, after) = (Authority::new("before"), Authority::new("after"));
    let files = Files::of(&before);
    let acceptor = Acceptor::new(&files.server(), H2).expect("its files are right");
    let connector = Connector::new(&files.client()).expect("its files are right");
    assert_eq!(meet(&acceptor, &connector).await, (Ok(named("client")), true));
    // First both are believed, then everybody gets a new certificate.
    files.put("ca.pem", &(before.pem() + &after.pem()));
    files.put_pair("client", &after.issue(&Leaf::named("client 2")));
    assert_eq!(meet(&acceptor, &connector).await, (Ok(named("client 2")), true));
    files.put_pair("server", &after.issue(&Leaf::named("server 2")));
    files.put("ca.pem", &after.pem());
    assert!(meet(&acceptor, &connector).await.1);
    // A certificate without its key changes nothing.
    files.put("server.pem", &before.issue(&Leaf::named("server 3")).0);
    assert!(meet(&acceptor, &connector).await.1);
    files.put_pair("client", &before.issue(&Leaf::named("client 3")));
    assert!(!meet(&acceptor, &connector).await.1);
}

#[tokio::test]
async fn versions_can_be_chosen() {
    let files = Files::of(&Authority::new("ca"));
    let only = |oldest, newest| Protocol::parse(oldest, newest, &[]).expect("they are known").0;
    let server = Settings { protocol: only("TLS1.3", ""), ..files.server() };
    let client = Settings { protocol: only("", "TLS1.2"), ..files.client() };
    assert!(!meet_once(&server, &client).await.1);
    assert!(meet_once(&server, &files.client()).await.1);
    assert!(meet_once(&files.server(), &client).await.1);
}

#[tokio::test]
async fn who_does_not_speak_tls_is_told_so() {
    let files = Files::of(&Authority::new("ca"));
    let acceptor = Acceptor::new(&files.server(), H2).expect("its files are right");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
    let mut client =
        TcpStream::connect(listener.local_addr().expect("it is bound")).await.expect("it is open");
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("it is open");
    let (socket, _) = listener.accept().await.expect("somebody comes");
    assert!(matches!(acceptor.accept(socket).await, Err(Refused::Plain)));
    let mut told = String::new();
    // A reset may come behind the text, which was not read.
    let _ = client.read_to_string(&mut told).await;
    assert!(told.contains("Client sent an HTTP request to an HTTPS server"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_not_waited_for() {
    let files = Files::of(&Authority::new("ca"));
    let acceptor = Acceptor::new(&files.server(), H2).expect("its files are right");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
    let _client = TcpStream::connect(listener.local_addr().expect("it is bound")).await.expect("it is open");
    let (socket, _) = listener.accept().await.expect("somebody comes");
    assert!(matches!(acceptor.accept(socket).await, Err(Refused::Silent)));
}

#[test]
fn files_that_cannot_be_used_are_told_with_the_next_step() {
    let authority = Authority::new("ca");
    let files = Files::of(&authority);
    let check = |settings: &Settings, part: &str| {
        let error = Acceptor::new(settings, H2).err().expect(part).to_string();
        assert!(error.contains(part), "{error}");
    };
    check(&Settings::default(), "needs a certificate and its key");
    check(&Settings { identity: files.pair("nobody"), ..files.server() }, "cannot read");
    files.put("server.key", &authority.issue(&Leaf::named("server")).1);
    check(&files.server(), "check that");
    files.put("server.key", "nothing");
    check(&files.server(), "it must be a private key as PEM");
    files.put("server.pem", "nothing");
    check(&files.server(), "there is no certificate in it");
    files.put("ca.pem", "nothing");
    check(&files.server(), "there is no certificate in it");
}

#[tokio::test]
async fn a_certificate_of_ones_own_is_made_once() {
    let folder = tempfile::tempdir().expect("there is room");
    let directory = folder.path().join("fixtures").join("client");
    let now = std::time::Duration::from_secs(1_800_000_000);
    let make = |years| self_signed(&directory, &["127.0.0.1".to_owned()], now, years).expect("there is room");
    let pair = make(10);
    let text = |path: &Path| std::fs::read_to_string(path).expect("it is there");
    let first = (text(&pair.cert), text(&pair.key));
    assert_eq!((text(&make(1).cert), text(&make(1).key)), first);
    let server = Settings { identity: Some(pair.clone()), ..Settings::default() };
    let knows_it = Settings { trusted_ca: Some(pair.cert), ..Settings::default() };
    assert!(Connector::new(&knows_it).is_ok());
    assert!(Acceptor::new(&server, H2).is_ok());
    let anybody = Settings { believes_anybody: true, ..Settings::default() };
    assert!(meet_once(&server, &anybody).await.1);
}
