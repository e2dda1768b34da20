//! Whole clusters in simulated worlds: the real crates, in one thread of virtual time, from a seed.
//!
//!     SIM_SEEDS=20000 cargo test --release -p tests --features judges --test sim
//!     cargo run --release -p tests --example mainstem-sim -- --seed 7        tells the story of one

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

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use story::Story;
use world::Outcome;

/// How many worlds there are, where nobody asks for another number.
const SEEDS: u64 = 500;

fn run(seed: u64) -> Outcome {
    let directory = harness::scratch::in_memory();
    world::run(seed, directory.path().to_owned(), Story::default())
}

/// Runs the seeds on all cores, and answers those worlds in which something was wrong.
fn run_all(seeds: std::ops::Range<u64>) -> Vec<Outcome> {
    let (next, wrong, done) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Relaxed);
                    if seeds.end <= seed {
                        return;
                    }
                    let outcome = run(seed);
                    if !outcome.wrong.is_empty() {
                        eprintln!("seed {seed}: {}", outcome.wrong[0]);
                        wrong.lock().push(outcome.clone());
                    }
                    done.lock().push(outcome.figures);
                }
            });
        }
    });
    let done = done.into_inner();
    let sum = |figure: fn(&world::Figures) -> usize| done.iter().map(figure).sum::<usize>();
    eprintln!(
        "{} worlds, {} s of theirs: {} requests answered, {} refused, {} with an unknown outcome; {} faults, {} starts",
        done.len(),
        sum(|figures| usize::try_from(figures.virtual_ms / 1_000).unwrap_or(0)),
        sum(|figures| figures.answered),
        sum(|figures| figures.refused),
        sum(|figures| figures.unknown),
        sum(|figures| figures.faults),
        sum(|figures| figures.starts as usize),
    );
    wrong.into_inner()
}

#[test]
fn the_same_seed_is_the_same_world() {
    for seed in 0..3 {
        let (one, other) = (run(seed), run(seed));
        assert_eq!(one.hash, other.hash, "seed {seed}");
        assert_eq!(one.wrong, other.wrong, "seed {seed}");
    }
}

#[test]
fn nothing_is_wrong_in_any_world() {
    let seeds = std::env::var("SIM_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS);
    let began = Instant::now();
    let wrong = run_all(0..seeds);
    eprintln!("it took {:?}", Duration::from_secs(began.elapsed().as_secs()));
    let seeds: Vec<u64> = wrong.iter().map(|outcome| outcome.seed).collect();
    assert!(wrong.is_empty(), "of {seeds:?}, the first: {:#?}", wrong[0].wrong);
}
