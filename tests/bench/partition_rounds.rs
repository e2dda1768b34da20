//! What clients see of partitions that are cut, joined and moved, as a table: three journals, three memstores, two
//! frontends, and a client of each frontend that watches everything.
//!
//!     cargo build --release
//!     MAINSTEM_BIN=target/release/mainstem cargo run --release -p tests --bin partition-rounds -- --times 100
//!
//!     --times 100                  how often each
//!     --rate 2000                  writes a second
//!
//! An acknowledged write that is lost or happened twice ends the run, and so does an event that is missed, told twice
//! or out of order. Errors, times and gaps are reported; the first line is how it is when nothing changes.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use harness::failover::{Seen, observed};
use harness::held::{Held, all_serve};
use harness::tiers::{Shape, Tiers};

/// Who may hold partitions.
const MEMSTORES: [&str; 3] = ["m0", "m1", "m2"];
/// How long nothing changes.
const QUIET: Duration = Duration::from_secs(20);

struct Options {
    times: usize,
    rate: u32,
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options> {
    let mut options = Options { times: 100, rate: 2_000 };
    while let Some(flag) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--times" => options.times = value.parse()?,
            "--rate" => options.rate = value.parse()?,
            _ => bail!("unknown flag {flag}: tests/bench/partition_rounds.rs begins with those there are"),
        }
    }
    Ok(options)
}

/// Cuts where the load writes, and joins again: each time two changes.
fn cut_and_join(tiers: &Tiers, times: usize, key: &str) -> Result<()> {
    for time in 0..times {
        let partitions = Held::of(tiers, 0)?.len();
        tiers.partition(time % 2, &["split", key])?;
        let split = Held::of(tiers, 1 - time % 2)?;
        ensure!(split.len() == partitions + 1, "{split:?}");
        tiers.partition(time % 2, &["merge", &split[0].number])?;
    }
    Ok(())
}

async fn moved(tiers: &Tiers, times: usize) -> Result<()> {
    for time in 0..times {
        all_serve(tiers, &MEMSTORES).await?;
        let partitions = Held::of(tiers, time % 2)?;
        partitions[time % partitions.len()].relocate(tiers, time % 2, &MEMSTORES)?;
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the table is what it is for")]
fn show(line: &str) {
    println!("{line}");
}

fn line(what: &str, times: usize, seen: Seen) -> String {
    let Seen { acknowledged, failed, gap, p99, .. } = seen;
    let (gap, p99) = (gap.as_millis(), p99.as_secs_f64() * 1e3);
    format!("| {what} | {times} | {acknowledged} | {p99:.1} ms | {gap} ms | {failed} |")
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let Options { times, rate } = options(std::env::args().skip(1))?;
    show("| change | times | acknowledged | p99 of writes | longest gap | failed in 5 s |");
    show("| --- | ---: | ---: | ---: | ---: | ---: |");
    let tiers = Tiers::start(Shape { journals: 3, memstores: 3, frontends: 2, partitions: 1 })?;
    let endpoints = tiers.endpoints();
    all_serve(&tiers, &MEMSTORES).await?;
    let story = || tiers.logs();
    let quiet = observed(&endpoints, 1, rate, async || {
        // The length of it is the experiment: there is nothing to wait for.
        tokio::time::sleep(QUIET).await;
        Ok(())
    });
    show(&line("none", 0, quiet.await.with_context(story)?));
    let key = "failover/0002/000000500";
    let cut = observed(&endpoints, 2, rate, async || cut_and_join(&tiers, times, key));
    show(&line("split and merge", times, cut.await.with_context(story)?));
    let moved = observed(&endpoints, 3, rate, async || moved(&tiers, times).await);
    show(&line("move", times, moved.await.with_context(story)?));
    Ok(())
}
