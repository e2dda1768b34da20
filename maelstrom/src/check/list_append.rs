//! txn-list-append: transactions that append to lists and read them, strictly serializable.
//!
//! Lists only grow and no value is appended twice, so each read tells its whole past: the longest read of a key is the
//! order of its versions, and every other must be a prefix of it. From that follow all dependencies (Adya), and a cycle
//! among them and real time is a proof that no order explains the history.

mod index;
mod order;
mod reads;

use std::collections::BTreeSet;
use std::fmt::{self, Display};

use self::index::Index;
use self::order::Order;
use super::graph::{Edge, Graph, Relation};
use super::{Findings, cycles, txn};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    Append {
        key: i64,
        value: i64,
    },
    /// In a call nothing is read yet. A key that is not there is an empty list.
    Read {
        key: i64,
        list: Option<Vec<i64>>,
    },
}

pub type Txn = txn::Txn<Act>;

pub type Operation = txn::Operation<Act>;

pub fn check(history: &[Operation]) -> Findings {
    let mut findings = Findings::default();
    let index = Index::of(history);
    reads::check(history, &index, &mut findings);
    let order = Order::of(history, &mut findings);
    order.check_real_time(history, &mut findings);
    let graph = dependencies(history, &index, &order);
    findings.anomalies.extend(cycles::anomalies(&graph, |node| history[node].to_string()));
    findings
}

/// Transactions that took place: those that were answered so, and those of which something was read.
fn committed(history: &[Operation], index: &Index, order: &Order) -> BTreeSet<usize> {
    let answered = history.iter().enumerate().filter(|(_, operation)| operation.is_ok()).map(|(at, _)| at);
    let seen = order.versions().filter_map(|(key, value)| Some(index.writer(key, value)?.operation));
    answered.chain(seen.filter(|at| !history[*at].failed())).collect()
}

fn dependencies(history: &[Operation], index: &Index, order: &Order) -> Graph {
    let committed = committed(history, index, order);
    let mut graph = Graph::with_nodes(history.len());
    for (key, versions) in order.by_key() {
        let writer = |value: i64| {
            index.writer(*key, value).map(|write| write.operation).filter(|at| committed.contains(at))
        };
        let edge =
            |to, relation, before, after| Edge { to, relation, key: Some(*key), versions: (before, after) };
        // Appended by those that took place, but in no read: all of that is behind the longest.
        let unread: Vec<(i64, usize)> = index
            .appended(*key)
            .filter(|(value, write)| committed.contains(&write.operation) && !versions.contains(value))
            .map(|(value, write)| (value, write.operation))
            .collect();
        for pair in versions.windows(2) {
            if let (Some(first), Some(second)) = (writer(pair[0]), writer(pair[1])) {
                graph.add(first, edge(second, Relation::WriteWrite, Some(pair[0]), Some(pair[1])));
            }
        }
        if let Some((newest, first)) = versions.last().and_then(|value| Some((*value, writer(*value)?))) {
            for (value, second) in &unread {
                graph.add(first, edge(*second, Relation::WriteWrite, Some(newest), Some(*value)));
            }
        }
        for (reader, list) in reads::external(history, *key) {
            let read = list.last().copied();
            if let Some(first) = read.and_then(writer) {
                graph.add(first, edge(reader, Relation::WriteRead, read, None));
            }
            // A list that is no prefix was reported; its length says nothing about the order.
            if !versions.starts_with(list) {
                continue;
            }
            match versions.get(list.len()) {
                Some(next) => {
                    if let Some(second) = writer(*next) {
                        graph.add(reader, edge(second, Relation::ReadWrite, read, Some(*next)));
                    }
                }
                None => {
                    for (value, second) in &unread {
                        graph.add(reader, edge(*second, Relation::ReadWrite, read, Some(*value)));
                    }
                }
            }
        }
    }
    txn::draw_real_time(&mut graph, history, committed);
    graph
}

impl txn::Act for Act {
    fn read(key: i64) -> Act {
        Act::Read { key, list: None }
    }

    fn write(key: i64, value: i64) -> Act {
        Act::Append { key, value }
    }

    fn key(&self) -> i64 {
        match self {
            Act::Append { key, .. } | Act::Read { key, .. } => *key,
        }
    }

    fn written(&self) -> Option<i64> {
        match self {
            Act::Append { value, .. } => Some(*value),
            Act::Read { .. } => None,
        }
    }
}

impl Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Act::Append { key, value } => write!(f, "append {key} {value}"),
            Act::Read { key, list: None } => write!(f, "read {key}"),
            Act::Read { key, list: Some(list) } => write!(f, "read {key} = {list:?}"),
        }
    }
}

#[cfg(test)]
mod tests;
