//! Whether each key for itself is a linearizable register, whatever the revisions say.
//!
//! Of an operation on several keys each key has its part: what was seen of it, and what it became. Keys that were ever
//! attached to a lease are left out, since leases end by themselves.
//!
//! Where nobody else writes the same value, whoever sees it has seen that operation: an unanswered one had happened by
//! then. One whose value nobody saw need not have happened, and is left out. So few stay open, and the search is short.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use maelstrom::check::Findings;
use maelstrom::check::linearize::{Effect, Linearizability, Span, linearize};

use crate::history::{Moment, Operation};

mod parts;
#[cfg(test)]
mod planted;

use self::parts::{Part, parts};

/// What a key holds, by number: all values that ever were, and 0 for none.
const ABSENT: i64 = 0;

/// Numbers for values.
#[derive(Default)]
struct Values(HashMap<Bytes, i64>);

impl Values {
    fn number(&mut self, value: &Bytes) -> i64 {
        let next = self.0.len() as i64 + 1;
        *self.0.entry(value.clone()).or_insert(next)
    }

    fn name(&self, number: i64) -> String {
        let value = self.0.iter().find(|(_, held)| **held == number);
        value.map_or_else(|| "absent".to_owned(), |(value, _)| String::from_utf8_lossy(value).into_owned())
    }
}

/// A history that begins with an empty store, judged key by key.
#[must_use]
pub fn check(history: &[Operation]) -> Findings {
    let mut values = Values::default();
    let mut findings = Findings::default();
    let keys = parts::keys(history);
    let mut by_key: BTreeMap<&Bytes, Vec<(usize, Part)>> = BTreeMap::new();
    for (index, operation) in history.iter().enumerate() {
        for (key, part) in parts(operation, &keys, &mut values) {
            by_key.entry(key).or_default().push((index, part));
        }
    }
    for (key, parts) in by_key {
        let told: Vec<(&Operation, Part)> =
            parts.into_iter().map(|(index, part)| (&history[index], part)).collect();
        check_key(key, &told, &values, &mut findings);
    }
    findings
}

fn check_key(key: &Bytes, parts: &[(&Operation, Part)], values: &Values, findings: &mut Findings) {
    let beginning =
        Span { effect: Effect::Write(ABSENT), invoked: Moment::ZERO, answered: Some(Moment::ZERO) };
    let (operations, spans) = spans(parts);
    let spans: Vec<Span> = std::iter::once(beginning).chain(spans).collect();
    let key = String::from_utf8_lossy(key);
    match linearize(&spans) {
        Linearizability::Yes => {}
        Linearizability::Unknown { why } => findings.undecided.push(format!("key {key}: {why}")),
        Linearizability::No { span, states, open } => {
            let states: Vec<String> = states.into_iter().flatten().map(|state| values.name(state)).collect();
            let name = |span: usize| {
                span.checked_sub(1)
                    .map_or_else(|| "the beginning".to_owned(), |at| operations[at].to_string())
            };
            let mut story = vec![name(span), format!("before that, key {key} was {}", states.join(" or "))];
            story.extend(open.into_iter().map(|span| format!("open at the time: {}", name(span))));
            findings.found("not linearizable", story);
        }
    }
}

/// When each part happened, as far as that is known; those that need not have happened are left out.
fn spans<'a>(parts: &[(&'a Operation, Part)]) -> (Vec<&'a Operation>, Vec<Span>) {
    let mut writers: HashMap<i64, u32> = HashMap::new();
    parts
        .iter()
        .filter_map(|(_, part)| part.wrote())
        .for_each(|value| *writers.entry(value).or_default() += 1);
    let own = |part: &Part| part.wrote().filter(|value| *value != ABSENT && writers[value] == 1);
    let happened = happened(parts, own);
    let named: HashSet<i64> = parts.iter().filter_map(|(_, part)| part.saw()).collect();
    // Who was refused because a key held something else has seen something, and nobody knows what.
    let all_seen = parts.iter().all(|(_, part)| !matches!(part.effect, Effect::ExistsNot(_)));
    let spans = parts.iter().zip(happened).filter_map(|((operation, part), answered)| {
        let unseen = own(part).is_some_and(|value| all_seen && !named.contains(&value));
        // It was seen before it was asked for: the walk will find that nothing explains it.
        let answered = answered.map(|at| at.max(operation.invoked));
        let span = Span { effect: part.effect, invoked: operation.invoked, answered };
        (answered.is_some() || !unseen).then_some((*operation, span))
    });
    spans.unzip()
}

/// By when each part had happened: it was answered, or its value was seen, at the latest by who is known to have happened.
fn happened(parts: &[(&Operation, Part)], own: impl Fn(&Part) -> Option<i64>) -> Vec<Option<Moment>> {
    let mut happened: Vec<Option<Moment>> = parts.iter().map(|(operation, _)| operation.answered()).collect();
    let mut seen: HashMap<i64, Moment> = HashMap::new();
    loop {
        let before = happened.clone();
        for ((_, part), at) in parts.iter().zip(&happened) {
            if let (Some(value), Some(at)) = (part.saw(), *at) {
                let first = seen.entry(value).or_insert(at);
                *first = at.min(*first);
            }
        }
        for ((_, part), at) in parts.iter().zip(&mut happened).filter(|(_, at)| at.is_none()) {
            *at = own(part).and_then(|value| seen.get(&value).copied());
        }
        if happened == before {
            return happened;
        }
    }
}

/// All keys that are named.
type Keys = BTreeSet<Bytes>;
