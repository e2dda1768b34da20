//! What a single read shows to be wrong, whatever the others saw.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Findings;
use super::index::Index;
use super::{Act, Operation};

pub(super) fn check(history: &[Operation], index: &Index, findings: &mut Findings) {
    for (reader, operation) in history.iter().enumerate() {
        let Some(answer) = operation.answer() else { continue };
        internal(operation, &answer.0, findings);
        for act in &answer.0 {
            if let Act::Read { key, list: Some(list) } = act {
                elements(history, index, reader, *key, list, findings);
            }
        }
    }
    intermediate(history, index, findings);
}

/// The lists of a key that transactions read before they appended to it themselves.
pub(super) fn external(history: &[Operation], key: i64) -> impl Iterator<Item = (usize, &Vec<i64>)> {
    history.iter().enumerate().filter_map(move |(at, operation)| {
        let first = operation.answer()?.0.iter().find(|act| match act {
            Act::Append { key: touched, .. } | Act::Read { key: touched, .. } => *touched == key,
        })?;
        match first {
            Act::Read { list: Some(list), .. } => Some((at, list)),
            Act::Read { list: None, .. } | Act::Append { .. } => None,
        }
    })
}

/// Within a transaction, a list is what was read before and what was appended since.
fn internal(operation: &Operation, acts: &[Act], findings: &mut Findings) {
    let mut known: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    let mut own: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for act in acts {
        match act {
            Act::Append { key, value } => {
                known.entry(*key).and_modify(|list| list.push(*value));
                own.entry(*key).or_default().push(*value);
            }
            Act::Read { key, list } => {
                let list = list.clone().unwrap_or_default();
                let ends = own.get(key).is_none_or(|own| list.ends_with(own));
                if !ends || known.get(key).is_some_and(|known| *known != list) {
                    let story = vec![
                        operation.to_string(),
                        format!("its reads of key {key} contradict what it did before"),
                    ];
                    findings.found("internal", story);
                }
                known.insert(*key, list);
            }
        }
    }
}

fn elements(
    history: &[Operation],
    index: &Index,
    reader: usize,
    key: i64,
    list: &[i64],
    findings: &mut Findings,
) {
    let mut seen = BTreeSet::new();
    for value in list {
        if !seen.insert(value) {
            let story =
                vec![format!("{value} is in the list of key {key} twice:"), history[reader].to_string()];
            findings.found("duplicate append", story);
        }
        match index.writer(key, *value).map(|write| write.operation) {
            None => {
                let story =
                    vec![format!("nobody appended {value} to key {key}:"), history[reader].to_string()];
                findings.found("garbage read", story);
            }
            Some(writer) if history[writer].failed() => {
                let story = vec![
                    format!("{value} of key {key} was read, though it was never appended:"),
                    history[writer].to_string(),
                    history[reader].to_string(),
                ];
                findings.found("G1a (aborted read)", story);
            }
            Some(writer) if history[reader].is_before(&history[writer]) => {
                let story = vec![
                    format!("{value} of key {key} was read before anybody asked to append it:"),
                    history[reader].to_string(),
                    history[writer].to_string(),
                ];
                findings.found("future read", story);
            }
            Some(_) => {}
        }
    }
}

/// A list that ends in the middle of what another transaction appended.
fn intermediate(history: &[Operation], index: &Index, findings: &mut Findings) {
    let keys: BTreeSet<i64> = history
        .iter()
        .filter_map(|operation| operation.answer())
        .flat_map(|answer| &answer.0)
        .map(|act| match act {
            Act::Append { key, .. } | Act::Read { key, .. } => *key,
        })
        .collect();
    for key in keys {
        for (reader, list) in external(history, key) {
            let Some((value, write)) =
                list.last().and_then(|value| Some((value, index.writer(key, *value)?)))
            else {
                continue;
            };
            if !write.last && write.operation != reader {
                let story = vec![
                    format!("{value} of key {key} is not the last that its transaction appended:"),
                    history[write.operation].to_string(),
                    history[reader].to_string(),
                ];
                findings.found("G1b (intermediate read)", story);
            }
        }
    }
}
