//! Whole runs in no time: nodes are plain functions, and time goes from one event to the next.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::check::Verdict;
use crate::runner::faults::Kind;
use crate::runner::report::Report;
use crate::runner::settings::Links;
use crate::runner::workload::echo::Echo;
use crate::runner::workload::lin_kv::LinKv;

/// What a node answers to a request: none, one or more bodies.
type Answers = fn(&mut Registers, &Value) -> Vec<Value>;
type Registers = BTreeMap<i64, i64>;

/// Nodes that answer at once. The first keeps the registers for all; they forget nothing when they are killed.
struct Planted {
    answers: Answers,
    registers: Registers,
    running: Vec<bool>,
    paused: Vec<bool>,
    written: Vec<(usize, String)>,
    waiting: Vec<(usize, String)>,
}

impl Planted {
    fn new(count: usize, answers: Answers) -> Self {
        Self {
            answers,
            registers: Registers::new(),
            running: vec![false; count],
            paused: vec![false; count],
            written: Vec::new(),
            waiting: Vec::new(),
        }
    }
}

impl Nodes for Planted {
    fn start(&mut self, node: usize) -> Result<(), Trouble> {
        assert!(!std::mem::replace(&mut self.running[node], true), "it is started while it runs");
        self.paused[node] = false;
        Ok(())
    }

    fn send(&mut self, node: usize, line: String) -> bool {
        assert!(self.running[node], "a node that is down is sent nothing");
        if self.paused[node] {
            self.waiting.push((node, line));
            return true;
        }
        let message: Value = serde_json::from_str(&line).expect("the runner writes JSON");
        let body = &message["body"];
        let answers = match body["type"].as_str() {
            Some("init") => vec![json!({"type": "init_ok"})],
            _ => (self.answers)(&mut self.registers, body),
        };
        for mut answer in answers {
            if answer["in_reply_to"].is_null() {
                answer["in_reply_to"] = body["msg_id"].clone();
            }
            let line = json!({"src": message["dest"], "dest": message["src"], "body": answer});
            self.written.push((node, line.to_string()));
        }
        true
    }

    fn kill(&mut self, node: usize) {
        self.running[node] = false;
        self.waiting.retain(|(other, _)| *other != node);
    }

    fn pause(&mut self, node: usize) {
        self.paused[node] = true;
    }

    fn resume(&mut self, node: usize) {
        self.paused[node] = false;
        for (node, line) in std::mem::take(&mut self.waiting) {
            self.send(node, line);
        }
    }
}

fn settings() -> Settings {
    Settings {
        bin: "none".into(),
        arguments: Vec::new(),
        logs: None,
        node_count: 3,
        time_limit: Duration::from_secs(60),
        rate: 50.0,
        concurrency: 6,
        links: Links { latency: Duration::from_millis(10), ..Links::default() },
        nemesis: vec![Kind::Partition, Kind::Kill, Kind::Pause],
        nemesis_interval: Duration::from_secs(5),
        heal: Duration::from_secs(10),
        seed: 1,
    }
}

fn run<W: Workload>(workload: W, settings: Settings, answers: Answers) -> Result<Session<W>, Trouble> {
    let mut nodes = Planted::new(settings.node_count, answers);
    let mut session = Session::new(settings, workload);
    let mut now = Moment::ZERO;
    session.begin(now, &mut nodes)?;
    while !session.is_over() {
        for (node, line) in std::mem::take(&mut nodes.written) {
            session.line(now, node, line)?;
        }
        session.advance(now, &mut nodes)?;
        if nodes.written.is_empty() && !session.is_over() {
            now = session.wake().expect("something is due").max(now + Duration::from_micros(1));
        }
    }
    assert!(nodes.running.iter().all(|running| *running) && !nodes.paused.contains(&true), "it healed");
    Ok(session)
}

fn register(registers: &mut Registers, body: &Value) -> Vec<Value> {
    let key = body["key"].as_i64().expect("a key");
    let held = registers.get(&key).copied();
    let error = |code: u64| json!({"type": "error", "code": code, "text": "no"});
    vec![match (body["type"].as_str().expect("a type"), held) {
        ("read", Some(value)) => json!({"type": "read_ok", "value": value}),
        ("cas", Some(value)) if body["from"] == value => {
            registers.insert(key, body["to"].as_i64().expect("a value"));
            json!({"type": "cas_ok", "msg_id": 7})
        }
        ("cas", Some(_)) => error(22),
        ("write", _) => {
            registers.insert(key, body["value"].as_i64().expect("a value"));
            json!({"type": "write_ok"})
        }
        (_, _) => error(20),
    }]
}

fn echo(_: &mut Registers, body: &Value) -> Vec<Value> {
    vec![json!({"type": "echo_ok", "echo": body["echo"]})]
}

#[test]
fn a_right_node_is_valid_under_every_fault() {
    let session = run(LinKv::new(6), settings(), register).expect("no trouble");
    let report = Report::of(&session);
    assert_eq!(report.verdict(), Verdict::Valid, "{report}");
    let oks: u64 = report.operations.values().map(|tally| tally.ok).sum();
    assert!(oks > 500, "{report}");
    assert!(report.faults.iter().all(|(_, done)| *done >= 3), "{report}");
}

#[test]
fn nothing_is_lost_any_more_after_the_faults() {
    let links = Links { loss: 1.0, duplicate: 1.0, ..Links::default() };
    let mut session = run(Echo, Settings { links, ..settings() }, echo).expect("no trouble");
    let flight = Flight { from: End::Node(0), to: End::Node(1), line: String::new() };
    session.network.send(Moment::ZERO, flight.clone());
    let arrived: Vec<Flight> = std::iter::from_fn(|| session.network.arrive(Moment::MAX)).collect();
    assert_eq!(arrived, [flight]);
}

#[test]
fn a_right_node_that_often_does_not_answer_is_valid() {
    let shy: Answers = |registers, body| {
        let answers = register(registers, body);
        // Neither a key nor a value is as large.
        let count = registers.entry(i64::MAX).or_default();
        *count += 1;
        if *count % 3 == 0 { Vec::new() } else { answers }
    };
    let session = run(LinKv::new(6), settings(), shy).expect("no trouble");
    let report = Report::of(&session);
    assert_eq!(report.verdict(), Verdict::Valid, "{report}");
    assert!(report.operations["write"].info > 50, "{report}");
}

#[test]
fn a_node_that_forgets_is_invalid() {
    let forgets: Answers = |registers, body| {
        if registers.len() > 3 && body["type"] == "read" {
            registers.remove(&body["key"].as_i64().expect("a key"));
        }
        register(registers, body)
    };
    let session = run(LinKv::new(6), settings(), forgets).expect("no trouble");
    let report = Report::of(&session);
    assert_eq!(report.verdict(), Verdict::Invalid, "{report}");
    assert!(report.to_string().contains("not linearizable"), "{report}");
}

#[test]
fn nothing_succeeding_is_not_valid() {
    let silent = run(Echo, settings(), |_, _| Vec::new()).expect("no trouble");
    assert_eq!(Report::of(&silent).findings.names(), ["nothing succeeded"]);
    let refused =
        run(Echo, settings(), |_, _| vec![json!({"type": "error", "code": 11})]).expect("no trouble");
    assert_eq!(Report::of(&refused).findings.names(), ["nothing succeeded"]);
}

#[test]
fn errors_are_failures_or_unknown_and_a_client_that_does_not_know_is_replaced() {
    let codes: Answers = |registers, body| {
        let count = registers.entry(0).or_default();
        *count += 1;
        match *count % 3 {
            0 => vec![json!({"type": "error", "code": 11})],
            1 => vec![json!({"type": "error", "code": 13})],
            _ => echo(registers, body),
        }
    };
    let session = run(Echo, Settings { nemesis: Vec::new(), ..settings() }, codes).expect("no trouble");
    let tally = Report::of(&session).operations["echo"];
    assert!(tally.ok > 100 && tally.fail > 100 && tally.info > 100, "{tally:?}");
    let mut unknown: Vec<u32> = session
        .history
        .iter()
        .filter(|operation| operation.answered().is_none())
        .map(|it| it.client)
        .collect();
    let count = unknown.len();
    unknown.sort_unstable();
    unknown.dedup();
    assert_eq!(unknown.len(), count);
}

#[test]
fn a_seed_is_a_history() {
    let history = |seed| {
        let session = run(LinKv::new(6), Settings { seed, ..settings() }, register).expect("no trouble");
        session.history.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(history(4), history(4));
    assert_ne!(history(4), history(5));
}

#[track_caller]
fn trouble(answers: Answers, expected: &str) {
    let trouble = run(Echo, settings(), answers).err().expect("there is trouble").to_string();
    assert!(trouble.contains(expected) && trouble.starts_with("node n"), "{trouble}");
}

#[test]
fn whatever_the_protocol_does_not_allow_is_trouble() {
    trouble(
        |_, body| vec![json!({"type": "echo_ok", "echo": body["echo"], "trace": 1})],
        "not allowed: trace",
    );
    trouble(|_, _| vec![json!({"type": "echo_ok"})], "`echo` is missing");
    trouble(|_, _| vec![json!({"type": "echo_ok", "echo": 5})], "no text");
    trouble(|_, body| vec![json!({"type": "ok", "echo": body["echo"]})], "instead of `echo_ok`");
    trouble(
        |_, body| vec![json!({"type": "echo_ok", "echo": body["echo"], "in_reply_to": 999})],
        "in_reply_to",
    );
    trouble(|all, body| [echo(all, body), echo(all, body)].concat(), "c");
    trouble(|_, _| vec![json!({"type": "error", "text": "no code"})], "`code` is missing");
}

#[test]
fn a_line_that_is_no_message_is_trouble() {
    let mut session = Session::new(settings(), Echo);
    let mut line = |line: &str| session.line(Moment::ZERO, 0, line.to_owned()).map_err(|trouble| trouble.0);
    let to = |to: &str| format!(r#"{{"src":"n0","dest":"{to}","body":{{"type":"x"}}}}"#);
    for right in ["n0", "n2", "c5"] {
        assert_eq!(line(&to(right)), Ok(()));
    }
    for wrong in ["n3", "c6", "lin-kv", ""] {
        let why = line(&to(wrong)).expect_err("it is addressed to nobody");
        assert!(why.starts_with("node n0: `dest` is nobody"), "{why}");
    }
    assert!(line("starting up…").expect_err("it is no JSON").contains("starting up…"));
    let others = r#"{"src":"n1","dest":"n2","body":{"type":"x"}}"#;
    assert!(line(others).expect_err("it is another's").contains("`src` is not its own name"));
}

#[test]
fn a_node_that_does_not_answer_init_is_trouble() {
    struct Deaf;
    impl Nodes for Deaf {
        fn start(&mut self, _: usize) -> Result<(), Trouble> {
            Ok(())
        }
        fn send(&mut self, _: usize, _: String) -> bool {
            true
        }
        fn kill(&mut self, _: usize) {}
        fn pause(&mut self, _: usize) {}
        fn resume(&mut self, _: usize) {}
    }
    let mut session = Session::new(settings(), Echo);
    session.begin(Moment::ZERO, &mut Deaf).expect("it starts");
    assert_eq!(session.wake(), Some(Duration::from_secs(10)));
    session.advance(Duration::from_secs(9), &mut Deaf).expect("there is time");
    let late = session.advance(Duration::from_secs(10), &mut Deaf).expect_err("there is no more time");
    assert!(late.0.starts_with("node n0 did not answer `init`"), "{late}");
}
