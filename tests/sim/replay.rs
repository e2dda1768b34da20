//! `mainstem-sim --seed 7`: tells the story of one simulated world.

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

use anyhow::Context as _;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let seed = match &arguments[..] {
        [flag, seed] if flag == "--seed" => seed.parse().context("a seed is a number")?,
        _ => anyhow::bail!("usage: mainstem-sim --seed N"),
    };
    let directory = harness::scratch::in_memory();
    let outcome = world::run(seed, directory.path().to_owned(), story::Story::aloud());
    anyhow::ensure!(outcome.wrong.is_empty(), "{} things are wrong", outcome.wrong.len());
    Ok(())
}
