//! What clients see of tiers that die or freeze: three journals, two memstores and two frontends, as a table.
//!
//!     .ci/tools etcd && cargo build --release
//!     MAINSTEM_TOOLS_BIN=$(.ci/tools where) MAINSTEM_BIN=target/release/mainstem \
//!         cargo run --release -p tests --bin tier-rounds -- --rounds 50
//!
//!     --fault kill-leader,…        which faults, with commas; all of them, if nothing is said
//!     --rounds 10                  how often each
//!     --partitions 5
//!     --rate 2000                  writes a second
//!     --frozen 30                  seconds between SIGSTOP and SIGCONT
//!
//! An acknowledged write that is lost or happened twice ends the run. Errors and gaps are reported.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use harness::failover::{Seen, observed};
use harness::tiers::{Shape, Tier, Tiers};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    KillLeader,
    FreezeLeader,
    KillMinority,
    FreezeMinority,
    KillMemstore,
    FreezeMemstore,
    KillMemstores,
    KillFrontend,
    FreezeFrontend,
    PowerCut,
}

impl Fault {
    const ALL: [Fault; 10] = [
        Fault::KillLeader,
        Fault::FreezeLeader,
        Fault::KillMinority,
        Fault::FreezeMinority,
        Fault::KillMemstore,
        Fault::FreezeMemstore,
        Fault::KillMemstores,
        Fault::KillFrontend,
        Fault::FreezeFrontend,
        Fault::PowerCut,
    ];

    fn name(self) -> &'static str {
        match self {
            Fault::KillLeader => "kill-leader",
            Fault::FreezeLeader => "freeze-leader",
            Fault::KillMinority => "kill-minority",
            Fault::FreezeMinority => "freeze-minority",
            Fault::KillMemstore => "kill-memstore",
            Fault::FreezeMemstore => "freeze-memstore",
            Fault::KillMemstores => "kill-memstores",
            Fault::KillFrontend => "kill-frontend",
            Fault::FreezeFrontend => "freeze-frontend",
            Fault::PowerCut => "power-cut",
        }
    }

    fn freezes(self) -> bool {
        match self {
            Fault::FreezeLeader | Fault::FreezeMinority | Fault::FreezeMemstore | Fault::FreezeFrontend => {
                true
            }
            Fault::KillLeader | Fault::KillMinority | Fault::KillMemstore => false,
            Fault::KillMemstores | Fault::KillFrontend | Fault::PowerCut => false,
        }
    }

    /// Who suffers in this round.
    async fn victims(self, tiers: &Tiers, round: usize) -> Result<Vec<Tier>> {
        Ok(match self {
            Fault::KillLeader | Fault::FreezeLeader => vec![tiers.leader().await?],
            Fault::KillMinority | Fault::FreezeMinority => vec![Tier::Journal(round % 3)],
            Fault::KillMemstore | Fault::FreezeMemstore => vec![Tier::Memstore(round % 2)],
            Fault::KillMemstores => vec![Tier::Memstore(0), Tier::Memstore(1)],
            Fault::KillFrontend | Fault::FreezeFrontend => vec![Tier::Frontend(round % 2)],
            Fault::PowerCut => tiers.all(),
        })
    }
}

struct Options {
    faults: Vec<Fault>,
    rounds: u32,
    partitions: usize,
    rate: u32,
    frozen: Duration,
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options> {
    let (faults, frozen) = (Fault::ALL.to_vec(), Duration::from_secs(30));
    let mut options = Options { faults, rounds: 10, partitions: 5, rate: 2_000, frozen };
    while let Some(flag) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--fault" => options.faults = value.split(',').map(fault).collect::<Result<_>>()?,
            "--rounds" => options.rounds = value.parse()?,
            "--partitions" => options.partitions = value.parse()?,
            "--rate" => options.rate = value.parse()?,
            "--frozen" => options.frozen = Duration::from_secs(value.parse()?),
            _ => bail!("unknown flag {flag}: tests/bench/tier_rounds.rs begins with those there are"),
        }
    }
    Ok(options)
}

fn fault(name: &str) -> Result<Fault> {
    let known = Fault::ALL.map(Fault::name).join(", ");
    let fault = Fault::ALL.into_iter().find(|fault| fault.name() == name);
    fault.with_context(|| format!("unknown fault {name}: {known}"))
}

async fn suffer(tiers: &mut Tiers, fault: Fault, round: u32, options: &Options) -> Result<Seen> {
    let victims = fault.victims(tiers, round as usize).await?;
    let endpoints = tiers.endpoints();
    observed(&endpoints, round, options.rate, async || {
        for victim in &victims {
            let server = tiers.server_mut(*victim);
            if fault.freezes() { server.freeze()? } else { server.kill()? }
        }
        if fault.freezes() {
            // The length of it is the experiment: there is nothing to wait for.
            tokio::time::sleep(options.frozen).await;
        }
        for victim in &victims {
            let server = tiers.server_mut(*victim);
            if fault.freezes() { server.thaw()? } else { server.spawn()? }
        }
        victims.iter().try_for_each(|victim| tiers.server_mut(*victim).await_answer())
    })
    .await
}

#[expect(clippy::print_stdout, reason = "the table is what it is for")]
fn show(line: &str) {
    println!("{line}");
}

fn line(fault: Fault, mut seen: Vec<Seen>) -> String {
    seen.sort_unstable_by_key(|seen| seen.gap);
    let acknowledged: usize = seen.iter().map(|seen| seen.acknowledged).sum();
    let failed: usize = seen.iter().map(|seen| seen.failed).sum();
    let gap = |at: usize| seen.get(at).map_or(0, |seen| seen.gap.as_millis());
    let (median, longest) = (gap(seen.len() / 2), gap(seen.len().saturating_sub(1)));
    format!("| {} | {} | {acknowledged} | {median} ms | {longest} ms | {failed} |", fault.name(), seen.len())
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let options = options(std::env::args().skip(1))?;
    show("| fault | rounds | acknowledged | gap, median | gap, longest | failed in 5 s |");
    show("| --- | ---: | ---: | ---: | ---: | ---: |");
    for fault in &options.faults {
        let shape = Shape { journals: 3, memstores: 2, frontends: 2, partitions: options.partitions };
        let mut tiers = Tiers::start(shape)?;
        let mut all = Vec::new();
        for round in 1..=options.rounds {
            let seen = suffer(&mut tiers, *fault, round, &options).await;
            let story = || format!("round {round} of {}:\n{}", fault.name(), tiers.logs());
            let seen = seen.with_context(story)?;
            eprintln!("{seen:?}");
            all.push(seen);
        }
        show(&line(*fault, all));
    }
    Ok(())
}
