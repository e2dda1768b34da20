//! Members that know each other by their certificates.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::certificates::Leaf;
use harness::server::Server;

use super::files::{Files, MAINSTEM, etcdctl, told};

/// Refusal of a change until members were connected for five seconds: asked again, as an operator does.
const UNHEALTHY: &str = "etcdserver: unhealthy cluster";
const HEALTHY_MAX: Duration = Duration::from_secs(60);

/// Three members, which reach each other by https://.
struct Cluster {
    members: Vec<Server>,
    flags: Vec<String>,
}

impl Cluster {
    fn start(files: &Files, flags: &[String]) -> Result<Cluster> {
        let mut members = Vec::new();
        for _ in 0..3 {
            let mut member = Server::prepare(MAINSTEM)?;
            member.secure()?;
            members.push(member);
        }
        let initial = initial(&members);
        for (at, member) in members.iter_mut().enumerate() {
            member.arguments(&cluster_flags(at, member, &initial, "new"));
            member.arguments(flags);
            member.spawn()?;
        }
        members.iter_mut().try_for_each(Server::await_answer)?;
        let mut flags = files.shown("client");
        flags.push(files.flag("cacert", "ca.pem"));
        Ok(Cluster { members, flags })
    }

    fn told(&self, at: usize, arguments: &[&str]) -> Result<String> {
        let deadline = Instant::now() + HEALTHY_MAX;
        loop {
            match told(&self.members[at].endpoint(), &self.flags, arguments) {
                Err(error) if error.to_string().contains(UNHEALTHY) && Instant::now() < deadline => {}
                told => return told,
            }
        }
    }
}

fn initial(members: &[Server]) -> String {
    let members = members.iter().enumerate();
    members.map(|(at, member)| format!("n{at}={}", member.peer_url())).collect::<Vec<_>>().join(",")
}

fn cluster_flags(at: usize, member: &Server, initial: &str, state: &str) -> Vec<String> {
    let peer = member.peer_url();
    vec![
        format!("--name=n{at}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster={initial}"),
        format!("--initial-cluster-state={state}"),
    ]
}

#[test]
fn members_know_each_other_by_their_certificates() -> Result<()> {
    let files = Files::new()?;
    let mut flags = files.mutual();
    flags.extend(files.between_members());
    flags.push("--peer-cert-allowed-cn=server".to_owned());
    let mut cluster = Cluster::start(&files, &flags)?;
    for at in 0..3 {
        cluster.told(at, &["put", &format!("key {at}"), "1"])?;
        assert_eq!(
            cluster.told((at + 1) % 3, &["get", &format!("key {at}"), "--print-value-only"])?.trim(),
            "1"
        );
    }

    // All certificates are replaced while it runs, and a member comes back with the new ones.
    files.issue("server", &Leaf { serial: 2, ..Leaf::named("server") })?;
    cluster.members[2].kill()?;
    cluster.told(0, &["put", "without", "2"])?;
    cluster.members[2].restart()?;
    assert_eq!(cluster.told(2, &["get", "without", "--print-value-only"])?.trim(), "2");

    // A fourth is added; with a certificate of another name nobody listens to it.
    let mut fourth = Server::prepare(MAINSTEM)?;
    fourth.secure()?;
    let url = format!("--peer-urls={}", fourth.peer_url());
    cluster.told(0, &["member", "add", "n3", &url, "--learner"])?;
    let foreign = Files::new()?;
    let names = format!("{},n3={}", initial(&cluster.members), fourth.peer_url());
    let with = |between: &Files, name: &str| {
        let mut flags = cluster_flags(3, &fourth, &names, "existing");
        flags.extend(files.mutual());
        flags.extend(between.between_members());
        flags.push(format!("--peer-client-cert-file={}", between.path(&format!("{name}.pem")).display()));
        flags.push(format!("--peer-client-key-file={}", between.path(&format!("{name}.key")).display()));
        flags
    };
    let (wrong_name, stranger, right) =
        (with(&files, "client"), with(&foreign, "server"), with(&files, "server"));
    for refused in [wrong_name, stranger] {
        let mut member = Server::prepare(MAINSTEM)?;
        member.secure()?;
        member.arguments(&refused);
        let told = member.restart().expect_err("nobody listens to it").to_string();
        assert!(told.contains("cannot fetch cluster info from peer urls"), "{told}");
    }
    fourth.arguments(&right);
    fourth.spawn()?;
    let mut wait = 0;
    while !fourth.log().contains("ready to serve client requests") {
        // There is no event to wait for in another process.
        std::thread::sleep(Duration::from_millis(50));
        wait += 1;
        ensure!(wait < 600, "it does not join:\n{}", fourth.log());
    }
    Ok(())
}

#[test]
fn certificates_of_their_own_encrypt() -> Result<()> {
    let files = Files::new()?;
    let flags: Vec<String> = ["--auto-tls", "--peer-auto-tls"].map(str::to_owned).into();
    let mut cluster = Cluster::start(&files, &flags)?;
    let careless = vec!["--insecure-skip-tls-verify".to_owned()];
    let endpoint = cluster.members[0].endpoint();
    told(&endpoint, &careless, &["put", "key", "1"])?;
    let made = |member: &Server| member.data().join("data").join("fixtures").join("client").join("cert.pem");
    let knows = |path: &Path| vec![format!("--cacert={}", path.display())];
    let first = std::fs::read(made(&cluster.members[0]))?;
    told(&endpoint, &knows(&made(&cluster.members[0])), &["get", "key"])?;
    let another = knows(&made(&cluster.members[1]));
    assert!(!etcdctl(&endpoint, &another, &["get", "key"])?.status.success());
    cluster.members[0].restart()?;
    assert_eq!(std::fs::read(made(&cluster.members[0]))?, first, "it is made once");
    told(&endpoint, &careless, &["get", "key"])?;
    Ok(())
}
