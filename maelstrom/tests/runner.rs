//! The runner as a program, with real processes: each verdict, by a node that deserves it.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// Runs less than a second of operations at a node by itself.
fn run(workload: &str, wrong: Option<&str>, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_maelstrom-runner"));
    command.args(["--bin", env!("CARGO_BIN_EXE_maelstrom-single"), "--workload", workload, "--seed", "1"]);
    command.args(["--time-limit", "0.7", "--heal", "0", "--rate", "1000", "--concurrency", "6"]).args(more);
    if let Some(wrong) = wrong {
        command.args(["--", "--wrong", wrong]);
    }
    command.output().expect("the runner starts")
}

#[track_caller]
fn check(output: &Output, exit: i32, says: &str) {
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(exit), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains(says), "{says} is not in {text}");
}

#[test]
fn a_right_node_is_valid_in_every_workload() {
    for workload in ["lin-kv", "txn-list-append", "txn-rw-register", "g-set", "kafka", "unique-ids", "echo"] {
        check(&run(workload, None, &["--latency", "2"]), 0, "\nVALID");
    }
}

#[test]
fn a_wrong_node_is_invalid() {
    check(&run("lin-kv", Some("lose"), &[]), 1, "not linearizable");
    check(&run("txn-list-append", Some("lose"), &[]), 1, "lost append");
    check(&run("txn-list-append", Some("stale"), &[]), 1, "G-single-realtime");
    check(&run("txn-list-append", Some("twice"), &[]), 1, "duplicate append");
    check(&run("txn-rw-register", Some("stale"), &[]), 1, "G-single");
    check(&run("g-set", Some("lose"), &[]), 1, "lost element");
    check(&run("kafka", Some("lose"), &[]), 1, "lost message");
    check(&run("unique-ids", Some("twice"), &[]), 1, "duplicate id");
}

#[test]
fn nodes_that_know_nothing_of_each_other_are_invalid() {
    check(&run("lin-kv", None, &["--node-count", "3"]), 1, "INVALID");
}

#[test]
fn a_node_that_breaks_the_protocol_is_trouble() {
    check(&run("lin-kv", Some("chatter"), &[]), 2, "node n0: no JSON");
    check(&run("lin-kv", Some("extra"), &[]), 2, "fields that are not allowed: trace");
    check(&run("lin-kv", Some("end"), &[]), 2, "node n0 ended by itself (exit status: 1)");
}

#[test]
fn a_kill_is_seen_by_a_node_that_forgets_and_a_pause_is_survived() {
    let faults = ["--nemesis-interval", "0.3"];
    check(&run("txn-list-append", None, &[&faults[..], &["--nemesis", "kill"]].concat()), 1, "lost append");
    check(&run("txn-list-append", None, &[&faults[..], &["--nemesis", "pause"]].concat()), 0, "\nVALID");
}

#[test]
fn logs_hold_the_history_and_what_nodes_say() {
    let folder = tempfile::tempdir().expect("a folder");
    let logs = folder.path().to_str().expect("a plain name");
    check(&run("echo", Some("end"), &["--logs", logs]), 2, "n0.log");
    let log = std::fs::read_to_string(folder.path().join("n0.log")).expect("a log");
    assert!(log.contains("planted"), "{log}");
    assert!(std::fs::read_to_string(folder.path().join("history.txt")).expect("a history").contains("echo"));
}

#[test]
fn nodes_do_not_outlive_a_runner_that_is_stopped() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut runner = Command::new(env!("CARGO_BIN_EXE_maelstrom-runner"))
        .args(["--bin", env!("CARGO_BIN_EXE_maelstrom-single"), "--workload", "echo", "--time-limit", "600"])
        .arg("--logs")
        .arg(folder.path())
        .stdout(Stdio::null())
        .spawn()
        .expect("the runner starts");
    let node = pid_in(&folder.path().join("n0.log"));
    assert!(test_kill_process(node).is_ok());
    kill_process(Pid::from_child(&runner), Signal::TERM).expect("it runs");
    assert_eq!(runner.wait().expect("it ends").code(), Some(2));
    assert!(test_kill_process(node).is_err());
}

/// Waits for a node to have written who it is.
fn pid_in(log: &Path) -> Pid {
    loop {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let pid = text.strip_prefix("process ").and_then(|rest| rest.strip_suffix('\n')?.parse().ok());
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            return pid;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
