//! Mainstem's tiers as nodes of the runner: with messages lost, doubled and late, nodes cut off, killed and stopped, what
//! clients were told can be true.

use std::process::Command;

/// One after the other: six nodes want more than the two cores that a small machine has.
#[test]
fn what_clients_are_told_can_be_true() {
    let faults = ["--loss", "0.05", "--duplicate", "0.05", "--reorder", "--nemesis", "partition,kill,pause"];
    check("lin-kv", "6", &faults);
    check("txn-list-append", "6", &faults);
    for workload in ["txn-rw-register", "g-set", "kafka", "unique-ids", "echo"] {
        check(workload, "1", &[]);
    }
}

fn check(workload: &str, nodes: &str, faults: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_maelstrom-runner"));
    command.args(["--bin", env!("CARGO_BIN_EXE_mainstem-maelstrom"), "--workload", workload]);
    command
        .args(["--node-count", nodes, "--rate", "40", "--concurrency", "6", "--latency", "2"])
        .args(faults);
    // Nodes that are killed need some seconds until they answer again, and more where the machine is busy.
    let (time_limit, heal) = if faults.is_empty() { ("5", "0") } else { ("40", "5") };
    command.args(["--time-limit", time_limit, "--heal", heal, "--nemesis-interval", "8"]);
    command.arg("--").arg("--dir").arg(folder.path());
    let output = command.output().expect("the runner starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("\nVALID"), "{text}");
}
