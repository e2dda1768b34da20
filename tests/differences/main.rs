//! What `docs/differences.md` says: each row that no other test shows has one here, which fails on the day when the row
//! is no longer true. `tests/tidy` sees to it that every row names its test.

mod http;
mod store;

use std::sync::LazyLock;

use anyhow::{Context, Result};
use harness::clients::Clients;
use harness::server::{Kind, Server};

const OURS: Kind = Kind::Mainstem { partitions: 1 };

/// A store of ours, and clients of it.
async fn ours(arguments: &[&str]) -> Result<(Server, Clients)> {
    let server = Server::start_with(OURS, arguments)?;
    let clients = Clients::new(&server.endpoint())?;
    Ok((server, clients))
}

/// A page over HTTP.
fn page(server: &Server, path: &str) -> Result<String> {
    static AGENT: LazyLock<ureq::Agent> =
        LazyLock::new(|| ureq::Agent::config_builder().http_status_as_error(false).build().into());
    let mut response = AGENT.get(format!("{}{path}", server.endpoint())).call()?;
    response.body_mut().read_to_string().context("the page is text")
}

/// A sample of the metrics.
fn sample(server: &Server, name: &str) -> Result<f64> {
    let page = page(server, "/metrics")?;
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(line.with_context(|| format!("there is no {name}"))?.parse()?)
}
