//! txn-rw-register: transactions that write registers and read them, strictly serializable.
//!
//! A register forgets what it was, so the order of its versions is known in part only: nothing is before everything; what a
//! transaction read is before what it wrote; and of two writes of which one was answered before the other was invoked,
//! that one's is before the other's. All dependencies drawn hold in every order that explains the history, so a cycle is a proof;
//! that there is none is not.

mod reads;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};

use super::graph::{Edge, Graph, Relation};
use super::{Findings, cycles, txn};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Write {
        key: i64,
        value: i64,
    },
    /// In a call nothing is read yet. Of a key that is not there `Some(None)` is read.
    Read {
        key: i64,
        value: Option<Option<i64>>,
    },
}

pub type Txn = txn::Txn<Act>;

pub type Operation = txn::Operation<Act>;

/// Who wrote what: by key and value, with whether it is the last that the transaction wrote there.
type Writers = BTreeMap<(i64, i64), (usize, bool)>;

pub fn check(history: &[Operation]) -> Findings {
    let mut findings = Findings::default();
    let writers = writers(history);
    reads::check(history, &writers, &mut findings);
    let graph = dependencies(history, &writers);
    findings.anomalies.extend(cycles::anomalies(&graph, |node| history[node].to_string()));
    findings
}

fn writers(history: &[Operation]) -> Writers {
    let mut writers = Writers::new();
    for (at, operation) in history.iter().enumerate() {
        let mut newest = BTreeMap::new();
        for act in &operation.call.0 {
            let Act::Write { key, value } = act else { continue };
            if let Some(before) = newest.insert(*key, *value) {
                writers.insert((*key, before), (at, false));
            }
            let twice = writers.insert((*key, *value), (at, true));
            assert!(twice.is_none(), "the generator wrote {value} to key {key} twice");
        }
    }
    writers
}

/// What is known of one key, of transactions that took place.
#[derive(Default)]
struct Register {
    /// The version that each left behind.
    writes: Vec<(usize, i64)>,
    /// What each read before it wrote there itself.
    reads: Vec<(usize, Option<i64>)>,
}

fn dependencies(history: &[Operation], writers: &Writers) -> Graph {
    let committed = committed(history, writers);
    let mut graph = Graph::with_nodes(history.len());
    for (key, register) in registers(history, writers, &committed) {
        let edge =
            |to, relation, before, after| Edge { to, relation, key: Some(key), versions: (before, after) };
        for (reader, read) in &register.reads {
            let from =
                read.and_then(|value| writers.get(&(key, value))).filter(|(at, _)| committed.contains(at));
            if let Some((writer, _)) = from {
                graph.add(*writer, edge(*reader, Relation::WriteRead, *read, None));
            }
            for (next, value) in register.following(history, writers, key, *read) {
                graph.add(*reader, edge(next, Relation::ReadWrite, *read, Some(value)));
            }
        }
        for (writer, written) in &register.writes {
            for (next, value) in register.following(history, writers, key, Some(*written)) {
                graph.add(*writer, edge(next, Relation::WriteWrite, Some(*written), Some(value)));
            }
        }
    }
    txn::draw_real_time(&mut graph, history, committed);
    graph
}

fn committed(history: &[Operation], writers: &Writers) -> BTreeSet<usize> {
    let mut committed = BTreeSet::new();
    for (at, operation) in history.iter().enumerate() {
        let Some(answer) = operation.answer() else { continue };
        committed.insert(at);
        for act in &answer.0 {
            if let Act::Read { key, value: Some(Some(value)) } = act
                && let Some((writer, _)) = writers.get(&(*key, *value))
                && !history[*writer].failed()
            {
                committed.insert(*writer);
            }
        }
    }
    committed
}

fn registers(
    history: &[Operation],
    writers: &Writers,
    committed: &BTreeSet<usize>,
) -> BTreeMap<i64, Register> {
    let mut registers: BTreeMap<i64, Register> = BTreeMap::new();
    for ((key, value), (writer, last)) in writers {
        if *last && committed.contains(writer) {
            registers.entry(*key).or_default().writes.push((*writer, *value));
        }
    }
    for (at, operation) in history.iter().enumerate() {
        let Some(answer) = operation.answer() else { continue };
        for (key, value) in reads::external(&answer.0) {
            registers.entry(key).or_default().reads.push((at, value));
        }
    }
    registers
}

impl Register {
    /// Versions that certainly come after this one, with who wrote them.
    fn following(
        &self,
        history: &[Operation],
        writers: &Writers,
        key: i64,
        version: Option<i64>,
    ) -> Vec<(usize, i64)> {
        let writer = version.and_then(|value| writers.get(&(key, value))).map(|(at, _)| &history[*at]);
        let mut after = Vec::new();
        for (next, value) in self.writes.iter().filter(|(_, value)| Some(*value) != version) {
            let read_it = || self.reads.iter().any(|(at, read)| at == next && *read == version);
            let later = || writer.is_some_and(|writer| writer.is_ok() && writer.is_before(&history[*next]));
            if version.is_none() || later() || read_it() {
                after.push((*next, *value));
            }
        }
        after
    }
}

impl txn::Act for Act {
    fn read(key: i64) -> Act {
        Act::Read { key, value: None }
    }

    fn write(key: i64, value: i64) -> Act {
        Act::Write { key, value }
    }

    fn key(&self) -> i64 {
        match self {
            Act::Write { key, .. } | Act::Read { key, .. } => *key,
        }
    }

    fn written(&self) -> Option<i64> {
        match self {
            Act::Write { value, .. } => Some(*value),
            Act::Read { .. } => None,
        }
    }
}

impl Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Act::Write { key, value } => write!(f, "write {key} := {value}"),
            Act::Read { key, value: None } => write!(f, "read {key}"),
            Act::Read { key, value: Some(None) } => write!(f, "read {key} = nothing"),
            Act::Read { key, value: Some(Some(value)) } => write!(f, "read {key} = {value}"),
        }
    }
}

#[cfg(test)]
mod tests;
