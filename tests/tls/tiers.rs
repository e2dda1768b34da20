//! Tiers in processes of their own, which know each other by what their certificates say they are.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::certificates::Leaf;
use harness::clients::Clients;
use harness::server::Server;
use journal::Dialer;
use journal::tls::{KeyPair, Settings};
use proto::etcdserverpb::WatchCreateRequest;
use proto::journal::StatusRequest;
use proto::journal::journal_client::JournalClient;
use proto::memstore::FollowRequest;
use proto::memstore::memstore_client::MemstoreClient;
use proto::raft::Message;
use proto::raft::raft_client::RaftClient;
use tonic::Code;

use super::files::{Files, MAINSTEM, told};

/// How often it is looked whether another process has done something.
const GLANCE: Duration = Duration::from_millis(50);
const GLANCES_MAX: u32 = 1_200;

/// What a process shows to others, and whom it believes. All are told where clients would come.
fn between(files: &Files, name: &str) -> Vec<String> {
    let mut flags = files.mutual();
    flags.extend([
        files.flag("peer-cert-file", &format!("{name}.pem")),
        files.flag("peer-key-file", &format!("{name}.key")),
        files.flag("peer-trusted-ca-file", "ca.pem"),
    ]);
    flags
}

fn prepare(flags: &[String], more: &[String]) -> Result<Server> {
    let mut server = Server::prepare(MAINSTEM)?;
    server.secure()?;
    server.arguments(flags);
    server.arguments(more);
    Ok(server)
}

fn awaits(server: &Server, text: &str) -> Result<()> {
    for _ in 0..GLANCES_MAX {
        if server.log().contains(text) {
            return Ok(());
        }
        // There is no event to wait for in another process.
        std::thread::sleep(GLANCE);
    }
    anyhow::bail!("it does not say {text:?}:\n{}", server.log())
}

#[tokio::test]
async fn a_certificate_says_which_tier_one_is() -> Result<()> {
    let files = Files::new()?;
    let issue = |name: &str, tiers: &[&str]| -> Result<()> {
        let uris: Vec<String> = tiers.iter().map(|tier| format!("spiffe://test/mainstem/{tier}")).collect();
        let uris: Vec<&str> = uris.iter().map(String::as_str).collect();
        files.issue(name, &Leaf { uris: &uris, ..Leaf::named(name) })?;
        Ok(())
    };
    issue("journal", &["journal"])?;
    issue("memstore", &["memstore"])?;
    issue("frontend", &["frontend"])?;
    issue("nothing", &[])?;

    let mut journal = prepare(&between(&files, "journal"), &["--role=journal".to_owned()])?;
    journal.arguments(&[
        format!("--listen-peer-urls={}", journal.peer_url()),
        format!("--initial-advertise-peer-urls={}", journal.peer_url()),
    ]);
    journal.restart()?;
    let at = format!("--journal-endpoints={}", journal.peer_url());
    let role = |name: &str| [format!("--role={name}"), format!("--name={name}"), at.clone()];
    let mut memstore = prepare(&between(&files, "memstore"), &role("memstore"))?;
    memstore.arguments(&[format!("--listen-memstore-urls={}", memstore.peer_url())]);
    memstore.restart()?;
    let mut store = prepare(&between(&files, "frontend"), &role("frontend"))?;
    store.restart()?;
    let mut client = files.shown("client");
    client.push(files.flag("cacert", "ca.pem"));
    told(&store.endpoint(), &client, &["put", "key", "value"])?;
    assert_eq!(told(&store.endpoint(), &client, &["get", "key", "--print-value-only"])?, "value\n");

    // The same certificate asks for what is between the voters, and another for anything.
    let dials = |name: &str, url: &str| {
        let pair = |kind: &str| files.path(&format!("{name}.{kind}"));
        let identity = Some(KeyPair { cert: pair("pem"), key: pair("key") });
        let settings = Settings { identity, trusted_ca: Some(files.path("ca.pem")), ..Settings::default() };
        Dialer::tls(&settings)?.channel(url).context("a channel")
    };
    // A watcher is told by a connection of its own between frontend and memstore.
    let create = WatchCreateRequest { key: "key".into(), start_revision: 1, ..WatchCreateRequest::default() };
    let clients = Clients::over(dials("client", &store.endpoint())?);
    let mut told_of = clients.watching(create).await?;
    ensure!(told_of.message().await?.context("an answer")?.created, "the watcher is created");
    ensure!(told_of.message().await?.context("an answer")?.events.len() == 1, "it is told of the key");
    drop((told_of, clients));

    let (order, keys) = (journal.peer_url(), memstore.peer_url());
    let refused = RaftClient::new(dials("frontend", &order)?).members(Message::default()).await;
    let refused = refused.expect_err("it is no journal");
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    assert!(refused.message().contains("you have a certificate for frontend"), "{refused}");
    assert!(JournalClient::new(dials("frontend", &order)?).status(StatusRequest::default()).await.is_ok());
    let refused = JournalClient::new(dials("nothing", &order)?).status(StatusRequest::default()).await;
    assert_eq!(refused.expect_err("it names no tier").code(), Code::PermissionDenied);
    let heard = RaftClient::new(dials("journal", &order)?).members(Message::default()).await;
    ensure!(!heard.is_err_and(|status| status.code() == Code::PermissionDenied), "it is a journal");
    awaits(&journal, "a process was refused: this process is journal")?;

    // Nor does a memstore answer journals.
    let refused = MemstoreClient::new(dials("journal", &keys)?).follow(FollowRequest::default()).await;
    let refused = refused.expect_err("it is a journal");
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    let heard = MemstoreClient::new(dials("frontend", &keys)?).follow(FollowRequest::default()).await;
    ensure!(heard.is_ok(), "it is a frontend");

    // Nobody runs what its certificate is not for.
    let mut wrong = prepare(&between(&files, "frontend"), &role("memstore"))?;
    let refusal = wrong.restart().expect_err("it runs a memstore").to_string();
    let expected = "this process runs memstore, and its certificate is for frontend";
    assert!(refusal.contains(expected), "{refusal}");
    Ok(())
}
