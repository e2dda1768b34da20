//! Many runs, each from its seed, on as many threads as there are cores.
//!
//! `MODEL_SEED=N` repeats one and tells its story, with `MODEL_BROKEN=Rule` one in which a rule is switched off.
//! `MODEL_RUNS=N` says how many there are.

use std::env;
use std::fmt::Write as _;

use harness::environment;
use harness::seeds;

use super::broken::Broken;
use super::checker::Violation;
use super::world::{Tally, World};

/// What came of many runs.
#[derive(Debug)]
pub(crate) struct Runs {
    pub(crate) runs: u64,
    /// The first seed in which something was violated.
    pub(crate) found: Option<(u64, Violation)>,
    pub(crate) tally: Tally,
}

/// Whole runs, until one fails.
pub(crate) fn run(seeds: u64, broken: Option<Broken>) -> Runs {
    let one = |seed| {
        let mut world = World::new(seed, broken, false);
        world.run();
        (world.tally, world.violation().cloned())
    };
    let done = seeds::run(0..seeds, one, |(_, violation)| violation.is_some());
    let (runs, mut tally, mut found) = (done.len() as u64, Tally::default(), None);
    for (seed, (mine, violation)) in (0..).zip(done) {
        tally += mine;
        found = violation.map(|violation| (seed, violation));
    }
    Runs { runs, found, tally }
}

/// What happened in one run, with its last steps.
pub(crate) fn tell(seed: u64, broken: Option<Broken>) -> String {
    let mut world = World::new(seed, broken, true);
    world.run();
    let mut told = String::new();
    let end = match world.violation() {
        Some(violation) => format!("violated: {}\n  {}", violation.rule, violation.how),
        None => "nothing was violated".to_owned(),
    };
    let story = world.story.as_ref().map(ToString::to_string).unwrap_or_default();
    write!(told, "seed {seed}, broken: {broken:?}\n{story}{end}").expect("a string takes everything");
    told
}

fn named(name: &str) -> Option<Broken> {
    let text = env::var(name).ok()?;
    let broken = Broken::ALL.into_iter().find(|broken| format!("{broken:?}") == text);
    Some(broken.unwrap_or_else(|| panic!("{name} is {text:?}, and no rule has that name")))
}

/// Good runs, in none of which may anything be violated. So many, unless the environment says otherwise. Answers
/// what they came to.
pub(crate) fn nothing_is_violated(seeds: u64) -> String {
    if let Some(seed) = environment::number("MODEL_SEED") {
        return tell(seed, named("MODEL_BROKEN"));
    }
    let runs = run(environment::number("MODEL_RUNS").unwrap_or(seeds), None);
    if let Some((seed, _)) = runs.found {
        panic!("{}\nMODEL_SEED={seed} tells this again", tell(seed, None));
    }
    let Tally { operations, unknown, .. } = runs.tally;
    assert!(unknown * 3 < operations, "most operations are answered: {unknown} of {operations} were not");
    format!("{} runs: {:#?}", runs.runs, runs.tally)
}

/// Each rule, switched off, is missed within so many runs. Answers which run that was.
pub(crate) fn every_rule_is_missed(seeds: u64) -> String {
    let mut table = "runs    rule switched off      what was violated\n".to_owned();
    let mut unnoticed = Vec::new();
    for broken in Broken::ALL {
        let (name, what) = (format!("{broken:?}"), broken.what());
        let runs = run(seeds, Some(broken));
        let rule = match &runs.found {
            Some((_, violation)) => violation.rule,
            None => "NOTHING",
        };
        let count = runs.runs;
        writeln!(table, "{count:>6}  {name:<22} {rule:<45} {what}").expect("a string takes everything");
        if runs.found.is_none() {
            unnoticed.push(broken);
        }
    }
    assert!(unnoticed.is_empty(), "the checker does not notice {unnoticed:?} within {seeds} runs\n{table}");
    table
}
