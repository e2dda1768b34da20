//! What a run was and what came of it, for a person to read.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use super::faults::Kind;
use super::network;
use super::session::Session;
use super::workload::Workload;
use crate::check::history::Outcome;
use crate::check::{Findings, Verdict};

/// Anomalies that are told in full.
const TOLD_MAX: usize = 5;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub ok: u64,
    pub fail: u64,
    pub info: u64,
}

#[derive(Clone, Debug)]
pub struct Report {
    pub operations: BTreeMap<&'static str, Tally>,
    /// Operations that succeeded, or were refused for what the store holds: no such key, another value.
    pub answered: u64,
    pub messages: network::Counts,
    pub faults: Vec<(Kind, u64)>,
    pub findings: Findings,
}

impl Report {
    pub fn of<W: Workload>(session: &Session<W>) -> Self {
        let mut operations: BTreeMap<&'static str, Tally> = BTreeMap::new();
        let mut answered = 0;
        for operation in &session.history {
            let refused = matches!(operation.outcome, Outcome::Fail { code: 20..=22, .. });
            answered += u64::from(refused || operation.is_ok());
            let tally = operations.entry(W::kind(&operation.call)).or_default();
            match operation.outcome {
                Outcome::Ok { .. } => tally.ok += 1,
                Outcome::Fail { .. } => tally.fail += 1,
                Outcome::Info { .. } => tally.info += 1,
            }
        }
        let mut findings = W::check(&session.history);
        if operations.values().all(|tally| tally.ok == 0) {
            findings.found("nothing succeeded", vec!["a run without a success shows nothing".to_owned()]);
        }
        if session.gave_up {
            findings.undecided.push("the final reads did not end in time".to_owned());
        }
        let (messages, faults) = (session.network.counts, session.faults.done());
        Self { operations, answered, messages, faults, findings }
    }

    pub fn verdict(&self) -> Verdict {
        self.findings.verdict()
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<24} {:>8} {:>8} {:>8}", "operations", "ok", "fail", "info")?;
        for (kind, tally) in &self.operations {
            writeln!(f, "  {kind:<22} {:>8} {:>8} {:>8}", tally.ok, tally.fail, tally.info)?;
        }
        let all: u64 = self.operations.values().map(|tally| tally.ok + tally.fail + tally.info).sum();
        let per_mille = self.answered * 1_000 / all.max(1);
        writeln!(
            f,
            "answered  {}.{} %, refusals for what the store holds among them",
            per_mille / 10,
            per_mille % 10
        )?;
        let counts = &self.messages;
        writeln!(
            f,
            "messages  {} with clients, {} between nodes ({} lost, {} doubled, {} cut off, {} dropped)",
            counts.with_clients,
            counts.between_nodes,
            counts.lost,
            counts.doubled,
            counts.cut_off,
            counts.dropped
        )?;
        let faults: Vec<_> = self.faults.iter().map(|(kind, done)| format!("{kind} {done}")).collect();
        writeln!(f, "faults    {}", if faults.is_empty() { "none".to_owned() } else { faults.join(", ") })?;
        for undecided in &self.findings.undecided {
            writeln!(f, "undecided {undecided}")?;
        }
        let anomalies = &self.findings.anomalies;
        for (number, anomaly) in anomalies.iter().take(TOLD_MAX).enumerate() {
            writeln!(f, "\n{}. {anomaly}", number + 1)?;
        }
        if anomalies.len() > TOLD_MAX {
            writeln!(f, "\n… and {} more: {}", anomalies.len() - TOLD_MAX, more(&self.findings))?;
        }
        match self.verdict() {
            Verdict::Valid => write!(f, "\nVALID"),
            Verdict::Unknown => {
                write!(f, "\nUNKNOWN: nothing wrong was found, and not everything could be checked")
            }
            Verdict::Invalid => write!(f, "\nINVALID: {} anomalies", anomalies.len()),
        }
    }
}

fn more(findings: &Findings) -> String {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for anomaly in &findings.anomalies[TOLD_MAX..] {
        *counts.entry(&anomaly.name).or_default() += 1;
    }
    let counts: Vec<_> = counts.into_iter().map(|(name, count)| format!("{count} × {name}")).collect();
    counts.join(", ")
}
