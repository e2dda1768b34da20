//! TLS as etcd's users know it: by etcdctl, beside the real etcd where it is asked the same, and what is better here.

mod files;
mod members;
mod operator;
mod tiers;

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use harness::certificates::{Authority, Leaf};
use harness::server::{Kind, Server};
use harness::tools;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use self::files::{Files, MAINSTEM, reaches, secure, told};

#[test]
fn clients_come_in_by_their_certificates_as_with_etcd() -> Result<()> {
    let files = Files::new()?;
    let other = Authority::new("other")?;
    other.issue(files.folder.path(), "foreign", &Leaf::named("client"))?;
    Authority::write(&[&other], &files.path("other.pem"))?;
    files.issue("expired", &Leaf { expired: true, ..Leaf::named("client") })?;
    files.issue("revoked", &Leaf { serial: 666, ..Leaf::named("client") })?;
    files.issue("elsewhere", &Leaf { hosts: &["elsewhere.example"], ..Leaf::named("client") })?;
    files.issue("authority", &Leaf { is_ca: true, ..Leaf::named("client") })?;
    files.authority.revoke(&[666], &files.path("crl.der"))?;
    let crl = files.flag("client-crl-file", "crl.der");
    let names = "--client-cert-allowed-hostname=127.0.0.1,x.example".to_owned();
    let expected = [
        ("client", true),
        ("authority", true),
        ("foreign", false),
        ("expired", false),
        ("revoked", false),
        ("elsewhere", false),
        ("nothing", false),
    ];
    for kind in [Kind::Etcd36, MAINSTEM, Kind::Tiers { partitions: 1 }] {
        let mut flags = files.mutual();
        flags.extend([crl.clone(), names.clone()]);
        let server = secure(kind, &flags)?;
        let knows = files.flag("cacert", "ca.pem");
        // etcdctl tries again until its time is over: all at once.
        let came_in = std::thread::scope(|scope| {
            let tries = expected.map(|(name, _)| {
                let mut shows = if name == "nothing" { Vec::new() } else { files.shown(name) };
                shows.push(knows.clone());
                let server = &server;
                (name, scope.spawn(move || reaches(server, &shows).is_ok_and(|reached| reached)))
            });
            tries.map(|(name, tried)| (name, tried.join().expect("it does not panic")))
        });
        assert_eq!(came_in, expected, "{kind:?}\n{}", server.log());
        // Who does not know the server leaves.
        let mut wary = files.shown("client");
        wary.push(files.flag("cacert", "other.pem"));
        assert!(!reaches(&server, &wary)?, "{kind:?}");
        let mut careless = files.shown("client");
        careless.push("--insecure-skip-tls-verify".to_owned());
        assert!(reaches(&server, &careless)?, "{kind:?}");
    }
    Ok(())
}

#[test]
fn every_service_is_there_over_tls() -> Result<()> {
    let files = Files::new()?;
    let server = secure(MAINSTEM, &files.mutual())?;
    let mut flags = files.shown("client");
    flags.push(files.flag("cacert", "ca.pem"));
    let at = server.endpoint();
    let large = "x".repeat(1 << 20);
    let path = files.path("large");
    std::fs::write(&path, &large)?;
    told(&at, &flags, &["put", "a", "1"])?;
    assert_eq!(told(&at, &flags, &["get", "a", "--print-value-only"])?, "1\n");
    told(&at, &flags, &["endpoint", "health"])?;
    assert!(told(&at, &flags, &["endpoint", "status"])?.contains("https://127.0.0.1"));
    assert!(told(&at, &flags, &["lock", "name", "echo", "held"])?.contains("held"));
    assert!(told(&at, &flags, &["member", "list"])?.contains("https://127.0.0.1"));
    // A request and an answer of many records.
    let input = Command::new("sh")
        .arg("-c")
        .arg(format!(
            "{} --endpoints={at} {} put large < {}",
            tools::judge("etcdctl-3.6")?.display(),
            flags.join(" "),
            path.display()
        ))
        .status()?;
    assert!(input.success());
    assert_eq!(told(&at, &flags, &["get", "large", "--print-value-only"])?.trim_end(), large);
    Ok(())
}

/// A browser's or script's HTTP/1.1.
fn agent(files: &Files, with_certificate: bool) -> Result<ureq::Agent> {
    let read = |name: &str| std::fs::read(files.path(name)).context("a file");
    let roots = RootCerts::from([Certificate::from_pem(&read("ca.pem")?)?]);
    let mut tls = TlsConfig::builder().root_certs(roots);
    if with_certificate {
        let chain = vec![Certificate::from_pem(&read("client.pem")?)?.to_owned()];
        let key = PrivateKey::from_pem(&read("client.key")?)?;
        tls = tls.client_cert(Some(ClientCert::new_with_certs(&chain, key)));
    }
    let config = ureq::Agent::config_builder().tls_config(tls.build()).http_status_as_error(false);
    Ok(config.timeout_global(Some(Duration::from_secs(20))).build().into())
}

#[test]
fn http_is_on_the_same_port() -> Result<()> {
    let files = Files::new()?;
    let server = secure(MAINSTEM, &files.mutual())?;
    let agent_in = agent(&files, true)?;
    let get = |path: &str| -> Result<String> {
        let mut answer = agent_in.get(format!("{}{path}", server.endpoint())).call()?;
        Ok(answer.body_mut().read_to_string()?)
    };
    assert!(get("/health")?.contains("\"health\":\"true\""));
    assert!(get("/version")?.contains("etcdserver"));
    assert!(get("/metrics")?.contains("etcd_server_has_leader 1"));
    let put = agent_in
        .post(format!("{}/v3/kv/put", server.endpoint()))
        .send("{\"key\":\"YQ==\",\"value\":\"Yg==\"}")?;
    assert_eq!(put.status(), 200);
    assert!(agent(&files, false)?.get(format!("{}/health", server.endpoint())).call().is_err());
    // Who forgot the s is told.
    let plain = server.endpoint().replace("https://", "http://");
    let mut answer = ureq::Agent::from(ureq::Agent::config_builder().http_status_as_error(false).build())
        .get(format!("{plain}/health"))
        .call()?;
    assert_eq!(answer.status(), 400);
    assert!(answer.body_mut().read_to_string()?.contains("Client sent an HTTP request to an HTTPS server"));
    Ok(())
}

#[test]
fn what_is_renewed_or_revoked_counts_without_a_restart() -> Result<()> {
    let files = Files::new()?;
    let folder = files.folder.path();
    files.issue("client", &Leaf { serial: 7, ..Leaf::named("client") })?;
    files.authority.revoke(&[1_000], &files.path("crl.der"))?;
    let mut flags = files.mutual();
    flags.push(files.flag("client-crl-file", "crl.der"));
    let server = secure(MAINSTEM, &flags)?;
    let trusts = |ca: &str, client: &str| {
        let mut flags = files.shown(client);
        flags.push(files.flag("cacert", ca));
        flags
    };
    std::fs::copy(files.path("ca.pem"), files.path("before.pem"))?;
    assert!(reaches(&server, &trusts("before.pem", "client"))?);

    // The server's own certificate, by another authority.
    let next = Authority::new("next")?;
    Authority::write(&[&next], &files.path("next.pem"))?;
    next.issue(folder, "server", &Leaf::named("server 2"))?;
    assert!(!reaches(&server, &trusts("before.pem", "client"))?);
    assert!(reaches(&server, &trusts("next.pem", "client"))?);

    // Whom it believes: first one more, then without the one from before.
    next.issue(folder, "client 2", &Leaf::named("client 2"))?;
    assert!(!reaches(&server, &trusts("next.pem", "client 2"))?);
    Authority::write(&[&files.authority, &next], &files.path("ca.pem"))?;
    assert!(reaches(&server, &trusts("next.pem", "client"))?);
    assert!(reaches(&server, &trusts("next.pem", "client 2"))?);

    // What counts no more.
    files.authority.revoke(&[1_000, 7], &files.path("crl.der"))?;
    assert!(!reaches(&server, &trusts("next.pem", "client"))?);
    assert!(reaches(&server, &trusts("next.pem", "client 2"))?);

    // What is broken changes nothing, and is told once.
    std::fs::write(files.path("ca.pem"), "broken")?;
    assert!(reaches(&server, &trusts("next.pem", "client 2"))?);
    assert!(!reaches(&server, &trusts("next.pem", "client"))?);
    assert_eq!(server.log().matches("changed certificates cannot be used").count(), 1, "{}", server.log());
    Authority::write(&[&files.authority], &files.path("ca.pem"))?;
    assert!(!reaches(&server, &trusts("next.pem", "client 2"))?);
    Ok(())
}

#[test]
fn what_cannot_work_is_refused_at_the_start() -> Result<()> {
    let files = Files::new()?;
    files.issue("other", &Leaf::named("other"))?;
    let check = |flags: &[String], part: &str| -> Result<()> {
        let mut server = Server::prepare(MAINSTEM)?;
        server.secure()?;
        server.arguments(flags);
        let told = server.restart().expect_err(part).to_string();
        assert!(told.contains(part), "{part}: {told}");
        Ok(())
    };
    check(&[], "TLS key/cert (--cert-file, --key-file) must be provided for client url")?;
    let mixed = [files.flag("cert-file", "server.pem"), files.flag("key-file", "other.key")];
    check(&mixed, "other.key is its key")?;
    let missing = [files.flag("cert-file", "nobody.pem"), files.flag("key-file", "server.key")];
    check(&missing, "nobody.pem: No such file or directory")?;
    Ok(())
}

/// Those are of P-521.
#[test]
fn keys_that_etcd_has_made_for_itself_are_taken() -> Result<()> {
    let mut etcd = secure(Kind::Etcd36, &["--auto-tls".to_owned()])?;
    etcd.stop()?;
    let fixture = |name: &str| etcd.data().join("data/fixtures/client").join(name).display().to_string();
    let flags =
        [format!("--cert-file={}", fixture("cert.pem")), format!("--key-file={}", fixture("key.pem"))];
    let ours = secure(MAINSTEM, &flags)?;
    told(&ours.endpoint(), &["--insecure-skip-tls-verify".to_owned()], &["put", "key", "value"])?;
    Ok(())
}
