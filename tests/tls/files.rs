//! Certificates as files, and etcdctl with them.

use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use harness::certificates::{Authority, Leaf, Pair};
use harness::server::{Kind, Server};
use harness::tools;
use tempfile::TempDir;

pub(super) const MAINSTEM: Kind = Kind::Mainstem { partitions: 2 };

/// An authority with a folder for what it issues.
pub(super) struct Files {
    pub(super) folder: TempDir,
    pub(super) authority: Authority,
}

impl Files {
    /// With an authority's certificate, and a pair for a server and for a client.
    pub(super) fn new() -> Result<Files> {
        let files = Files { folder: tempfile::tempdir()?, authority: Authority::new("ca")? };
        Authority::write(&[&files.authority], &files.path("ca.pem"))?;
        files.issue("server", &Leaf::named("server"))?;
        files.issue("client", &Leaf::named("client"))?;
        Ok(files)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn issue(&self, name: &str, leaf: &Leaf<'_>) -> Result<Pair> {
        self.authority.issue(self.folder.path(), name, leaf)
    }

    pub(super) fn flag(&self, flag: &str, file: &str) -> String {
        format!("--{flag}={}", self.path(file).display())
    }

    /// A server's certificate, and that it asks clients for theirs.
    pub(super) fn mutual(&self) -> Vec<String> {
        let mut flags = self.served();
        flags.extend([self.flag("trusted-ca-file", "ca.pem"), "--client-cert-auth".to_owned()]);
        flags
    }

    pub(super) fn served(&self) -> Vec<String> {
        vec![self.flag("cert-file", "server.pem"), self.flag("key-file", "server.key")]
    }

    /// The same between members.
    pub(super) fn between_members(&self) -> Vec<String> {
        vec![
            self.flag("peer-cert-file", "server.pem"),
            self.flag("peer-key-file", "server.key"),
            self.flag("peer-trusted-ca-file", "ca.pem"),
            "--peer-client-cert-auth".to_owned(),
        ]
    }

    /// What etcdctl proves itself with.
    pub(super) fn shown(&self, name: &str) -> Vec<String> {
        vec![self.flag("cert", &format!("{name}.pem")), self.flag("key", &format!("{name}.key"))]
    }
}

/// A store of one member whose clients come by https://.
pub(super) fn secure(kind: Kind, flags: &[String]) -> Result<Server> {
    let mut server = Server::prepare(kind)?;
    server.secure()?;
    server.arguments(flags);
    if !kind.is_ours() {
        // It listens for members in any case.
        server.arguments(&["--peer-auto-tls"]);
    }
    server.restart()?;
    Ok(server)
}

pub(super) fn etcdctl(endpoints: &str, flags: &[String], arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(tools::judge("etcdctl-3.6")?);
    command
        .arg(format!("--endpoints={endpoints}"))
        .args(flags)
        .args(["--command-timeout=8s", "--dial-timeout=5s"]);
    command.args(arguments).env_remove("ETCDCTL_ENDPOINTS").output().context("start etcdctl")
}

/// What it printed.
pub(super) fn told(endpoints: &str, flags: &[String], arguments: &[&str]) -> Result<String> {
    let output = etcdctl(endpoints, flags, arguments)?;
    ensure!(output.status.success(), "etcdctl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// Whether a key can be written.
pub(super) fn reaches(server: &Server, flags: &[String]) -> Result<bool> {
    Ok(etcdctl(&server.endpoint(), flags, &["put", "key", "value"])?.status.success())
}
