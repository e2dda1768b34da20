//! Mainstem's tiers as nodes of the runner, with messages lost, doubled and late: what clients were told can be true. With
//! a bug that is put in on purpose (`--features planted`) it cannot.
//!
//! `MAELSTROM_SECONDS=60` runs registers and lists for so long each, with nodes cut off, killed and stopped besides.

use std::process::Command;

/// A cluster under load, and what goes wrong with it.
struct Run<'a> {
    workload: &'a str,
    nodes: &'a str,
    /// Requests a second, and clients that make them.
    load: [&'a str; 2],
    /// In milliseconds.
    latency: &'a str,
    seconds: &'a str,
    /// Flags of the runner.
    faults: &'a [&'a str],
}

impl Run<'_> {
    /// Whether what clients were told can be true, and what the runner says to that.
    fn judged(&self, bug: Option<&str>) -> (bool, String) {
        let Run { workload, nodes, load: [rate, clients], latency, seconds, faults } = self;
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Command::new(env!("CARGO_BIN_EXE_maelstrom-runner"));
        command.envs(bug.map(|bug| ("MAINSTEM_PLANTED", bug)));
        command.args(["--bin", env!("CARGO_BIN_EXE_mainstem-maelstrom"), "--workload", workload]);
        command.args(["--node-count", nodes, "--rate", rate, "--concurrency", clients, "--latency", latency]);
        command.args(["--time-limit", seconds]).args(*faults).arg("--").arg("--dir").arg(folder.path());
        // A counter's `read` has nothing that tells it from that of a set.
        command.args(workload.ends_with("-counter").then_some("--counter"));
        let output = command.output().expect("the runner starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let text = text + &String::from_utf8_lossy(&output.stderr);
        let (valid, invalid) = (text.contains("\nVALID"), text.contains("\nINVALID"));
        assert!(valid != invalid && valid == output.status.success(), "{text}");
        (valid, text)
    }
}

/// One after the other: six nodes want more than the two cores that a small machine has.
#[test]
fn what_clients_are_told_can_be_true() {
    let messages = ["--loss", "0.05", "--duplicate", "0.05", "--reorder"];
    let both = ["lin-kv", "txn-list-append"];
    if let Ok(seconds) = std::env::var("MAELSTROM_SECONDS") {
        let nodes = ["--nemesis", "partition,kill,pause", "--nemesis-interval", "8", "--heal", "5"];
        let faults = [&messages[..], &nodes].concat();
        return both.into_iter().for_each(|workload| check(workload, "6", &seconds, &faults));
    }
    let faults = [&messages[..], &["--heal", "0"]].concat();
    both.into_iter().for_each(|workload| check(workload, "6", "20", &faults));
    let others =
        ["txn-rw-register", "g-set", "pn-counter", "g-counter", "broadcast", "kafka", "unique-ids", "echo"];
    for workload in others {
        check(workload, "1", "5", &["--heal", "0"]);
    }
}

fn check(workload: &str, nodes: &str, seconds: &str, faults: &[&str]) {
    let (valid, text) =
        Run { workload, nodes, load: ["40", "6"], latency: "2", seconds, faults }.judged(None);
    assert!(valid, "{text}");
    eprintln!("{text}");
}

/// With each of three bugs, what clients were told cannot be true.
#[cfg(feature = "planted")]
#[test]
fn every_planted_bug_is_found() {
    const ALL_FAULTS: &str = "partition,kill,pause";
    let planted = [
        ("overlook-keys", "txn-list-append", "6", ALL_FAULTS),
        // Seven nodes have two frontends, of which one may lag behind the other.
        ("read-without-barrier", "lin-kv", "7", "partition"),
        // Leaders are cut off while writes are on their way: those are tried again at the next one, and had happened.
        ("forget-dedup", "txn-list-append", "3", "partition"),
    ];
    // How often a run may end before the bug has shown itself: what happens is up to chance.
    let runs_max = 8;
    let seconds = std::env::var("MAELSTROM_SECONDS").unwrap_or_else(|_| "30".to_owned());
    for (bug, workload, nodes, nemesis) in planted {
        let messages = ["--loss", "0.02", "--duplicate", "0.05", "--reorder"];
        let suffers = ["--nemesis", nemesis, "--nemesis-interval", "3", "--heal", "5"];
        let faults = [&messages[..], &suffers].concat();
        let load = ["100", "12"];
        let run = Run { workload, nodes, load, latency: "5", seconds: &seconds, faults: &faults };
        let found = (1..=runs_max).find(|_| !run.judged(Some(bug)).0);
        let nth = found.unwrap_or_else(|| panic!("{bug}: {runs_max} runs of {workload} were valid"));
        eprintln!("{bug}: found by {workload} in run {nth}");
    }
}
