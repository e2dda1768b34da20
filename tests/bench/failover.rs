//! What clients see of members that die or freeze, ours and etcd's one after the other, as a table.
//!
//!     .ci/tools etcd && cargo build --release
//!     MAINSTEM_TOOLS_BIN=$(.ci/tools where) MAINSTEM_BIN=target/release/mainstem \
//!         cargo run --release -p tests --bin failover-rounds -- --rounds 50
//!
//!     --store mainstem,etcd-3.7    which stores, with commas
//!     --fault kill-leader,…        which faults, with commas; all of them, if nothing is said
//!     --rounds 10                  how often each
//!     --members 3
//!     --heartbeat 100              milliseconds, as in --heartbeat-interval
//!     --election 1000              milliseconds, as in --election-timeout
//!     --rate 2000                  writes a second
//!     --frozen 30                  seconds between SIGSTOP and SIGCONT
//!
//! What acknowledged writes a store loses or doubles ends the run. Errors and gaps are reported.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use harness::failover::{Fault, Report, Settings, rounds};
use harness::server::Kind;

struct Options {
    stores: Vec<Kind>,
    faults: Vec<Fault>,
    rounds: u32,
    settings: Settings,
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options> {
    let ours = Kind::Mainstem { partitions: 1 };
    let mut options = Options {
        stores: vec![Kind::Etcd37, ours],
        faults: Fault::ALL.to_vec(),
        rounds: 10,
        settings: Settings::new(ours),
    };
    while let Some(flag) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{flag} needs a value"))?;
        let settings = &mut options.settings;
        match flag.as_str() {
            "--store" => options.stores = value.split(',').map(store).collect::<Result<_>>()?,
            "--fault" => options.faults = value.split(',').map(fault).collect::<Result<_>>()?,
            "--rounds" => options.rounds = value.parse()?,
            "--members" => settings.members = value.parse()?,
            "--heartbeat" => settings.heartbeat_ms = value.parse()?,
            "--election" => settings.election_ms = value.parse()?,
            "--rate" => settings.writes_per_second = value.parse()?,
            "--frozen" => settings.frozen = Duration::from_secs(value.parse()?),
            _ => bail!("unknown flag {flag}: tests/bench/failover.rs begins with those there are"),
        }
    }
    Ok(options)
}

fn store(name: &str) -> Result<Kind> {
    match name {
        "mainstem" => Ok(Kind::Mainstem { partitions: 1 }),
        "etcd-3.6" => Ok(Kind::Etcd36),
        "etcd-3.7" => Ok(Kind::Etcd37),
        _ => bail!("unknown store {name}: mainstem, etcd-3.6 or etcd-3.7"),
    }
}

fn fault(name: &str) -> Result<Fault> {
    let known = Fault::ALL.map(Fault::name).join(", ");
    let fault = Fault::ALL.into_iter().find(|fault| fault.name() == name);
    fault.with_context(|| format!("unknown fault {name}: {known}"))
}

#[expect(clippy::print_stdout, reason = "the table is what it is for")]
fn show(line: &str) {
    println!("{line}");
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let Options { stores, faults, rounds: count, settings } = options(std::env::args().skip(1))?;
    show(Report::head());
    for fault in faults {
        for kind in &stores {
            let report = rounds(Settings { kind: *kind, ..settings }, fault, count).await?;
            show(&report.to_string());
        }
    }
    Ok(())
}
