//! The runner finds bugs that are put in on purpose: with each of three, what clients were told cannot be true.
//!
//! The good twin of this is `mainstem.rs`, the same runs without a bug. `MAELSTROM_SECONDS=60` makes each as long.

use std::process::Command;

/// A bug, and where it shows.
struct Planted {
    bug: &'static str,
    workload: &'static str,
    nodes: &'static str,
    nemesis: &'static str,
}

const ALL_FAULTS: &str = "partition,kill,pause";

const PLANTED: [Planted; 3] = [
    Planted { bug: "overlook-keys", workload: "txn-list-append", nodes: "6", nemesis: ALL_FAULTS },
    // Seven nodes have two frontends, of which one may lag behind the other.
    Planted { bug: "read-without-barrier", workload: "lin-kv", nodes: "7", nemesis: "partition" },
    // Leaders are cut off while writes are on their way: those are tried again at the next one, and had happened.
    Planted { bug: "forget-dedup", workload: "txn-list-append", nodes: "3", nemesis: "partition" },
];

/// How often a run may end before the bug has shown itself: what happens is up to chance.
const RUNS_MAX: usize = 8;

#[test]
fn every_planted_bug_is_found() {
    for planted in &PLANTED {
        let Planted { bug, workload, .. } = planted;
        let found = (1..=RUNS_MAX).find(|_| is_found(planted));
        let run = found.unwrap_or_else(|| panic!("{bug}: {RUNS_MAX} runs of {workload} were valid"));
        eprintln!("{bug}: found by {workload} in run {run}");
    }
}

fn is_found(planted: &Planted) -> bool {
    let Planted { bug, workload, nodes, nemesis } = planted;
    let seconds = std::env::var("MAELSTROM_SECONDS").unwrap_or_else(|_| "30".to_owned());
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_maelstrom-runner"));
    command.env("MAINSTEM_PLANTED", bug);
    command.args(["--bin", env!("CARGO_BIN_EXE_mainstem-maelstrom"), "--workload", workload]);
    command.args(["--node-count", nodes, "--rate", "100", "--concurrency", "12", "--latency", "5"]);
    command.args(["--loss", "0.02", "--duplicate", "0.05", "--reorder", "--time-limit", &seconds]);
    command.args(["--nemesis", nemesis, "--nemesis-interval", "3", "--heal", "5"]);
    let output = command.arg("--").arg("--dir").arg(folder.path()).output().expect("the runner starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let (valid, invalid) = (text.contains("\nVALID"), text.contains("\nINVALID"));
    assert!(valid != invalid, "{bug}: {text}{}", String::from_utf8_lossy(&output.stderr));
    invalid
}
