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

use parking_lot::{Mutex, RwLock};

use story::Story;
use world::Outcome;

/// How many worlds there are, where nobody asks for another number.
const SEEDS: u64 = 500;

/// What is planted is planted in all of this process: then nothing else runs.
static PLANTED: RwLock<()> = RwLock::new(());

fn run(seed: u64) -> Outcome {
    let directory = harness::scratch::in_memory();
    world::run(seed, directory.path().to_owned(), Story::default())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Runs the seeds on all cores, and answers those worlds in which something was wrong.
fn run_all(seeds: std::ops::Range<u64>) -> Vec<Outcome> {
    let (next, wrong, done) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..cores() {
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

/// Worlds that have found something: a closing journal that was asked again without a pause (2, 3), and one that closed
/// without a quorum and never ended (27).
const KEPT: [u64; 3] = [2, 3, 27];

#[test]
fn worlds_that_went_wrong_once_are_right() {
    let _healthy = PLANTED.read();
    for seed in KEPT {
        assert_eq!(run(seed).wrong, Vec::<String>::new(), "seed {seed}");
    }
}

/// Makes this program tell of one world, and do nothing else.
const TELLS: &str = "SIM_SEED";

/// In processes of their own: replicas are numbered through each process. This test starts itself there.
#[test]
fn the_same_seed_is_the_same_world() {
    if let Some(seed) = std::env::var(TELLS).ok().and_then(|text| text.parse().ok()) {
        let outcome = run(seed);
        eprintln!("world {seed} is {:016x}: {:?} {:?}", outcome.hash, outcome.figures, outcome.wrong);
        return;
    }
    for seed in 0..5 {
        assert_eq!(told_by_another_process(seed), told_by_another_process(seed), "seed {seed}");
    }
}

fn told_by_another_process(seed: u64) -> String {
    let program = std::env::current_exe().expect("a test has a program");
    let mut other = std::process::Command::new(program);
    other.args(["--exact", "the_same_seed_is_the_same_world", "--nocapture"]);
    let output = other.env(TELLS, seed.to_string()).output().expect("it can be started");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let told = text.lines().find(|line| line.starts_with("world ")).map(str::to_owned);
    told.unwrap_or_else(|| panic!("it tells nothing: {text}"))
}

#[test]
fn nothing_is_wrong_in_any_world() {
    let _healthy = PLANTED.read();
    let seeds = std::env::var("SIM_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS);
    let began = Instant::now();
    let wrong = run_all(0..seeds);
    eprintln!("it took {:?}", Duration::from_secs(began.elapsed().as_secs()));
    let seeds: Vec<u64> = wrong.iter().map(|outcome| outcome.seed).collect();
    assert!(wrong.is_empty(), "of {seeds:?}, the first: {:#?}", wrong[0].wrong);
}

/// Each bug is found by some world, and this tells how many it took.
#[cfg(feature = "planted")]
#[test]
fn every_planted_bug_is_found() {
    let _alone = PLANTED.write();
    let mut missed = Vec::new();
    for bug in journal::Bug::ALL {
        journal::Bug::plant(Some(bug));
        let found = first_wrong(0..planted_seeds());
        journal::Bug::plant(None);
        match found {
            Some((seed, what)) => {
                let what: String = what.chars().take(160).collect();
                eprintln!("{:24} found by world {seed}: {what}", bug.name());
            }
            None => missed.push(bug.name()),
        }
    }
    eprintln!("not found: {missed:?}");
    assert!(missed.is_empty(), "{missed:?} were found by none of {} worlds", planted_seeds());
}

#[cfg(feature = "planted")]
fn planted_seeds() -> u64 {
    std::env::var("SIM_PLANTED_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS)
}

/// The smallest seed of a world in which something is wrong, and what.
#[cfg(feature = "planted")]
fn first_wrong(seeds: std::ops::Range<u64>) -> Option<(u64, String)> {
    let (next, found) = (AtomicU64::new(seeds.start), Mutex::new(None::<(u64, String)>));
    std::thread::scope(|scope| {
        for _ in 0..cores() {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Relaxed);
                    let is_beyond = found.lock().as_ref().is_some_and(|(first, _)| *first < seed);
                    if seeds.end <= seed || is_beyond {
                        return;
                    }
                    if let Some(what) = run(seed).wrong.into_iter().next() {
                        let mut found = found.lock();
                        if found.as_ref().is_none_or(|(first, _)| seed < *first) {
                            *found = Some((seed, what));
                        }
                    }
                }
            });
        }
    });
    found.into_inner()
}
