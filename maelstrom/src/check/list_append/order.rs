//! The order of each key's versions: the longest list that anybody read.

use std::collections::BTreeMap;

use super::super::Findings;
use super::{Act, Operation};

pub(super) struct Order(BTreeMap<i64, Vec<i64>>);

impl Order {
    /// Reports every read that is no prefix of the longest.
    pub(super) fn of(history: &[Operation], findings: &mut Findings) -> Self {
        let mut longest: BTreeMap<i64, (usize, &Vec<i64>)> = BTreeMap::new();
        for (operation, key, list) in all_reads(history) {
            let held = longest.entry(key).or_insert((operation, list));
            if list.len() > held.1.len() {
                *held = (operation, list);
            }
        }
        // A key that was never read has an order, too: nothing in front of what was appended.
        let mut order: BTreeMap<i64, Vec<i64>> = keys(history).map(|key| (key, Vec::new())).collect();
        order.extend(longest.iter().map(|(key, (_, list))| (*key, (*list).clone())));
        for (operation, key, list) in all_reads(history) {
            let (other, longest) = longest[&key];
            if !longest.starts_with(list) {
                let story = vec![
                    history[operation].to_string(),
                    format!("its list of key {key} is no prefix of {longest:?}, which was read by"),
                    history[other].to_string(),
                ];
                findings.found("incompatible order", story);
            }
        }
        Self(order)
    }

    pub(super) fn by_key(&self) -> impl Iterator<Item = (&i64, &Vec<i64>)> {
        self.0.iter()
    }

    pub(super) fn versions(&self) -> impl Iterator<Item = (i64, i64)> {
        self.0.iter().flat_map(|(key, list)| list.iter().map(|value| (*key, *value)))
    }

    /// What was acknowledged before a read began must be in it. The graph has the same as a cycle; this names it.
    pub(super) fn check_real_time(&self, history: &[Operation], findings: &mut Findings) {
        for (key, versions) in &self.0 {
            let place: BTreeMap<i64, usize> =
                versions.iter().enumerate().map(|(place, value)| (*value, place)).collect();
            let reads = shortest_from(history, *key);
            for append in history.iter().filter(|operation| operation.is_ok()) {
                for act in &append.call.0 {
                    let Act::Append { key: appended_to, value } = act else { continue };
                    let Some(at) = append.answered().filter(|_| appended_to == key) else { continue };
                    let later = reads.partition_point(|(invoked, ..)| *invoked <= at);
                    let Some((_, length, reader)) = reads.get(later) else { continue };
                    let seen = place.get(value);
                    if seen.is_none_or(|place| place >= length) {
                        let name = if seen.is_some() { "stale read" } else { "lost append" };
                        let story = vec![
                            format!("{value} was appended to key {key} by"),
                            append.to_string(),
                            "and is missing from the later".to_owned(),
                            history[*reader].to_string(),
                        ];
                        findings.found(name, story);
                    }
                }
            }
        }
    }
}

/// For each read of a key, by its call: the shortest list that it or any later one read, and who read that.
fn shortest_from(history: &[Operation], key: i64) -> Vec<(crate::check::history::Moment, usize, usize)> {
    let mut reads: Vec<_> = all_reads(history)
        .filter(|(_, read, _)| *read == key)
        .map(|(operation, _, list)| (history[operation].invoked, list.len(), operation))
        .collect();
    reads.sort_unstable();
    let mut shortest = (usize::MAX, 0);
    for (_, length, reader) in reads.iter_mut().rev() {
        shortest = shortest.min((*length, *reader));
        (*length, *reader) = shortest;
    }
    reads
}

fn all_reads(history: &[Operation]) -> impl Iterator<Item = (usize, i64, &Vec<i64>)> {
    let answers = history.iter().enumerate().filter_map(|(at, operation)| Some((at, operation.answer()?)));
    answers.flat_map(|(at, answer)| {
        answer.0.iter().filter_map(move |act| match act {
            Act::Read { key, list: Some(list) } => Some((at, *key, list)),
            Act::Read { list: None, .. } | Act::Append { .. } => None,
        })
    })
}

fn keys(history: &[Operation]) -> impl Iterator<Item = i64> {
    history.iter().flat_map(|operation| &operation.call.0).map(|act| match act {
        Act::Append { key, .. } | Act::Read { key, .. } => *key,
    })
}
