//! `mainstem-sim --seed 7`: tells the story of one simulated world. With `RUST_LOG=info` what its processes log is told, too.

mod check;
mod clients;
mod faults;
mod history;
mod host;
mod network;
mod operator;
mod state;
mod story;
mod system;
mod world;

use std::fmt;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

/// The time of the world.
struct WorldTime;

impl FormatTime for WorldTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(writer, "{:>9.3}", system::world_now().as_secs_f64())
    }
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let seed = match &arguments[..] {
        [flag, seed] if flag == "--seed" => seed.parse().context("a seed is a number")?,
        _ => anyhow::bail!("usage: mainstem-sim --seed N"),
    };
    tracing_subscriber::fmt().with_env_filter(EnvFilter::from_default_env()).with_timer(WorldTime).init();
    let directory = harness::scratch::in_memory();
    let outcome = world::run(seed, directory.path().to_owned(), story::Story::aloud());
    #[expect(clippy::print_stdout, reason = "that is what it is for")]
    {
        println!("world {} is {:016x}: {:?}", outcome.seed, outcome.hash, outcome.figures);
    }
    anyhow::ensure!(outcome.wrong.is_empty(), "{} things are wrong", outcome.wrong.len());
    Ok(())
}
