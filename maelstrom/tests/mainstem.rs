//! Mainstem's tiers as nodes of the runner, with messages lost, doubled and late: what clients were told can be true.
//!
//! `MAELSTROM_SECONDS=60` runs registers and lists for so long each, with nodes cut off, killed and stopped besides.

use std::process::Command;

const MESSAGES: [&str; 5] = ["--loss", "0.05", "--duplicate", "0.05", "--reorder"];

/// One after the other: six nodes want more than the two cores that a small machine has.
#[test]
fn what_clients_are_told_can_be_true() {
    if let Ok(seconds) = std::env::var("MAELSTROM_SECONDS") {
        let faults = ["--nemesis", "partition,kill,pause", "--nemesis-interval", "8", "--heal", "5"];
        let faults = [&MESSAGES[..], &faults, &["--time-limit", &seconds]].concat();
        return ["lin-kv", "txn-list-append"].into_iter().for_each(|workload| check(workload, "6", &faults));
    }
    let lossy = [&MESSAGES[..], &["--time-limit", "20", "--heal", "0"]].concat();
    check("lin-kv", "6", &lossy);
    check("txn-list-append", "6", &lossy);
    for workload in ["txn-rw-register", "g-set", "kafka", "unique-ids", "echo"] {
        check(workload, "1", &["--time-limit", "5", "--heal", "0"]);
    }
}

fn check(workload: &str, nodes: &str, more: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_maelstrom-runner"));
    command.args(["--bin", env!("CARGO_BIN_EXE_mainstem-maelstrom"), "--workload", workload]);
    command.args(["--node-count", nodes, "--rate", "40", "--concurrency", "6", "--latency", "2"]).args(more);
    command.arg("--").arg("--dir").arg(folder.path());
    let output = command.output().expect("the runner starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("\nVALID"), "{text}");
}
