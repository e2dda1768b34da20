//! Worlds in processes of their own, where nothing else has been numbered or hashed before them: so a seed is the same world
//! wherever and beside whatever it runs.

use std::process::Command;

use crate::world::Outcome;

/// Makes the test of this name tell of one world, and do nothing else.
pub(crate) const TELLS: &str = "SIM_SEED";
const TELLER: &str = "the_same_seed_is_the_same_world";

/// What a process has told of its world: a line of figures, and one for each thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) seed: u64,
    pub(crate) line: String,
    pub(crate) wrong: Vec<String>,
}

/// Tells of a world that this process has run.
pub(crate) fn tell(outcome: &Outcome) {
    eprintln!("world {} {:016x} {}", outcome.seed, outcome.hash, outcome.figures);
    for wrong in &outcome.wrong {
        eprintln!("wrong {}", wrong.replace('\n', " "));
    }
}

/// Runs a world in a process of its own, with `bug` planted where there is one.
pub(crate) fn run(seed: u64, bug: Option<&str>) -> Told {
    let program = std::env::current_exe().expect("a test has a program");
    let mut other = Command::new(program);
    other.args(["--exact", TELLER, "--nocapture"]).env(TELLS, seed.to_string());
    other.envs(bug.map(|bug| ("MAINSTEM_PLANTED", bug)));
    let output = other.output().expect("it can be started");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = text.lines().find(|line| line.starts_with("world ")).map(str::to_owned);
    let mut wrong: Vec<String> =
        text.lines().filter_map(|line| line.strip_prefix("wrong ")).map(str::to_owned).collect();
    if line.is_none() {
        let last = text.lines().rev().find(|line| line.contains("seed ")).unwrap_or(&text);
        wrong.push(format!("it did not end well: {last}"));
    }
    Told { seed, line: line.unwrap_or_default(), wrong }
}
