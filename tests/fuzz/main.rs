//! Any bytes, into everything that reads bytes from outside.
//!
//!     corpus/TARGET/seed-*      made by the encoders: UPDATE_CORPUS=1 cargo test -p tests --test fuzz seeds
//!     corpus/TARGET/found-*     what once broke a promise
//!       │ change a little, again and again
//!       ▼
//!     target(bytes)             panics, or allocates more than the bytes warrant: the input is told
//!
//! `cargo test` tries the corpus and a bounded number of changes, the same ones each time. Longer, and with others each
//! time: `MAINSTEM_FUZZ_SECONDS=600 MAINSTEM_FUZZ_TARGETS=batch,raft cargo test -p tests --test fuzz changed`.

mod allocation;
mod corpus;
mod mutation;
mod run;
mod targets;

use harness::environment;
use targets::{TARGETS, Target};

/// Changes that are tried of each target by default.
const RUNS: u64 = 50_000;

fn each(mut look: impl FnMut(&Target)) {
    let chosen = std::env::var("MAINSTEM_FUZZ_TARGETS").unwrap_or_default();
    let is_chosen = |target: &&Target| chosen.is_empty() || chosen.split(',').any(|name| name == target.name);
    let chosen: Vec<&Target> = TARGETS.iter().filter(is_chosen).collect();
    assert!(!chosen.is_empty(), "no target is named so");
    chosen.into_iter().for_each(&mut look);
}

#[test]
fn the_corpus_breaks_no_promise() {
    each(|target| {
        let inputs = corpus::inputs(target.name);
        assert!(inputs.len() >= (target.seeds)().len(), "{}: the corpus is not whole", target.name);
        inputs.iter().for_each(|(name, bytes)| run::once(target, bytes, name));
    });
}

/// A seed that changes tells that what is read and written has changed.
#[test]
fn seeds_are_what_is_encoded_today() {
    each(|target| {
        for (name, bytes) in (target.seeds)() {
            corpus::check(target.name, name, &bytes);
        }
        corpus::within_bounds(target.name);
    });
}

#[test]
fn changed_inputs_break_no_promise() {
    let seconds = environment::number("MAINSTEM_FUZZ_SECONDS");
    each(|target| {
        let told = run::many(target, RUNS, seconds);
        assert!(told.runs >= RUNS || seconds.is_some(), "{}: {told:?}", target.name);
        eprintln!(
            "{}: {} runs, at most {} bytes allocated",
            target.name, told.runs, told.most_bytes_allocated
        );
    });
}

/// The checker can fail: a target that trusts a length, and one that breaks at one byte in the right place.
#[test]
fn planted_bugs_are_found() {
    fn trusts_a_length(data: &[u8]) {
        let Some(length) = data.first_chunk::<4>() else { return };
        drop(Vec::<u8>::with_capacity(u32::from_le_bytes(*length) as usize));
    }
    fn breaks_behind_a_marker(data: &[u8]) {
        assert!(!data.ends_with(&[1, 0xff]), "planted");
    }
    let seeds = || vec![("some", vec![1, 0, 0, 0, 9, 8, 7, 1, 1])];
    for (name, run) in
        [("length", trusts_a_length as fn(&[u8])), ("marker", breaks_behind_a_marker as fn(&[u8]))]
    {
        let target = Target { name, run, seeds, allocation: |length| 64 * length + 4_096 };
        let found = run::search(&target, &(seeds)().remove(0).1, 100_000);
        let found = found.unwrap_or_else(|| panic!("{name}: not found"));
        eprintln!("{name}: found after {} runs", found.runs);
    }
}
