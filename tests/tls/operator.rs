//! What an operator types, with etcdctl's flags.

use std::process::{Command, Output};

use anyhow::{Context, Result};
use harness::certificates::{Authority, Leaf};
use harness::program::{complaint, printed};
use harness::tools;

use super::files::{Files, MAINSTEM, secure};

/// A command line of our program.
fn mainstem(endpoint: &str, flags: &[String], line: &str) -> Result<Output> {
    let mut command = Command::new(tools::mainstem()?);
    command.args(line.split(' ')).arg(format!("--endpoints={endpoint}")).args(flags);
    command.output().context("start mainstem")
}

#[test]
fn an_operators_commands_come_in_by_certificates() -> Result<()> {
    let files = Files::new()?;
    let other = Authority::new("other")?;
    other.issue(files.folder.path(), "foreign", &Leaf::named("client"))?;
    let server = secure(MAINSTEM, &files.mutual())?;
    let url = server.endpoint();
    let address = url.trim_start_matches("https://");
    let shown = |name: &str| {
        let mut flags = files.shown(name);
        flags.push(files.flag("cacert", "ca.pem"));
        flags
    };
    let known = shown("client");
    printed(&mainstem(&url, &known, "partition split a")?)?;
    for endpoint in [&url, address] {
        let status = printed(&mainstem(endpoint, &known, "status")?)?;
        assert!(status.starts_with("healthy: 1 of 1 voter,") && status.contains(&url), "{status}");
        let partitions = printed(&mainstem(endpoint, &known, "partition list")?)?;
        assert_eq!(partitions.matches("  partition ").count(), 3, "{partitions}");
        let load = "bench put --total 10 --clients 2 --connections 2 --json";
        let load = printed(&mainstem(endpoint, &known, load)?)?;
        assert_eq!(serde_json::from_str::<serde_json::Value>(&load)?["operations"], 10, "{load}");
        let line = "member replace nobody --name new --peer-urls http://127.0.0.1:1";
        let refused = mainstem(endpoint, &known, line)?;
        let why = complaint(&refused);
        assert!(!refused.status.success() && why.contains("there is no member nobody"), "{why}");
    }
    for line in ["status", "partition list", "bench put --total 1"] {
        let careless = vec![files.flag("cacert", "ca.pem")];
        for (flags, who) in [(&careless, "nobody"), (&shown("foreign"), "a stranger")] {
            let refused = mainstem(&url, flags, line)?;
            assert!(!refused.status.success(), "{line} as {who}: {}", printed(&refused)?);
        }
        let wary = mainstem(&url, &files.shown("client"), line)?;
        let why = complaint(&wary);
        assert!(!wary.status.success() && why.contains("invalid peer certificate: UnknownIssuer"), "{why}");
    }
    Ok(())
}
