//! What a single read shows to be wrong, whatever the others saw.

use std::collections::BTreeMap;

use super::super::Findings;
use super::{Act, Operation, Writers};

/// What a transaction read of each key before it touched it in another way.
pub(super) fn external(acts: &[Act]) -> Vec<(i64, Option<i64>)> {
    let mut touched = BTreeMap::new();
    for act in acts {
        match act {
            Act::Write { key, .. } => touched.entry(*key).or_insert(None),
            Act::Read { key, value } => touched.entry(*key).or_insert(*value),
        };
    }
    touched.into_iter().filter_map(|(key, read)| Some((key, read?))).collect()
}

pub(super) fn check(history: &[Operation], writers: &Writers, findings: &mut Findings) {
    for (reader, operation) in history.iter().enumerate() {
        let Some(answer) = operation.answer() else { continue };
        let mut known: BTreeMap<i64, Option<i64>> = BTreeMap::new();
        for act in &answer.0 {
            match act {
                Act::Write { key, value } => {
                    known.insert(*key, Some(*value));
                }
                Act::Read { key, value } => {
                    let read = value.unwrap_or_default();
                    if known.insert(*key, read).is_some_and(|known| known != read) {
                        let story = vec![
                            operation.to_string(),
                            format!("its read of key {key} contradicts what it did before"),
                        ];
                        findings.found("internal", story);
                    }
                }
            }
        }
        for (key, value) in external(&answer.0) {
            if let Some(value) = value {
                origin(history, writers, reader, (key, value), findings);
            }
        }
    }
}

fn origin(
    history: &[Operation],
    writers: &Writers,
    reader: usize,
    version: (i64, i64),
    findings: &mut Findings,
) {
    let (key, value) = version;
    let read = &history[reader];
    let Some((writer, last)) = writers.get(&version) else {
        findings.found("garbage read", vec![format!("nobody wrote {value} to key {key}:"), read.to_string()]);
        return;
    };
    let write = &history[*writer];
    let name = if write.failed() {
        "G1a (aborted read)"
    } else if !last && *writer != reader {
        "G1b (intermediate read)"
    } else if read.is_before(write) || *writer == reader {
        "future read"
    } else {
        return;
    };
    findings
        .found(name, vec![format!("{value} of key {key} was read:"), write.to_string(), read.to_string()]);
}
