//! g-set: a set that only grows. It may be slow to agree, but after the faults every read has every acknowledged element.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};

use super::history::{self, Phase};
use super::{Anomaly, Findings};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Add { element: i64 },
    Read,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Done,
    Elements(Vec<i64>),
}

pub type Operation = history::Operation<Call, Answer>;

pub fn check(history: &[Operation]) -> Findings {
    let adds: BTreeMap<i64, &Operation> = history
        .iter()
        .filter_map(|operation| match operation.call {
            Call::Add { element } => Some((element, operation)),
            Call::Read => None,
        })
        .collect();
    let mut findings = Findings::default();
    let mut final_reads = 0;
    for read in history {
        let Some(Answer::Elements(elements)) = read.answer() else { continue };
        let brief = Brief(read, elements.len());
        findings.anomalies.extend(strange(&adds, &brief, elements));
        if read.phase == Phase::Final {
            final_reads += 1;
            findings.anomalies.extend(lost(&adds, &brief, elements));
        }
    }
    if final_reads == 0 {
        findings.undecided.push("no read was answered after the faults".to_owned());
    }
    findings
}

/// A read without its thousand elements.
struct Brief<'a>(&'a Operation, usize);

impl Display for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let read = self.0;
        write!(f, "c{} [{:.4} …] read → {} elements", read.client, read.invoked.as_secs_f64(), self.1)
    }
}

fn strange(adds: &BTreeMap<i64, &Operation>, read: &Brief<'_>, elements: &[i64]) -> Vec<Anomaly> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for element in elements {
        let added = adds.get(element);
        let name = if !seen.insert(element) {
            "duplicate element"
        } else if added.is_none_or(|add| read.0.is_before(add)) {
            "element that nobody added"
        } else if added.is_some_and(|add| add.failed()) {
            "element whose add failed"
        } else {
            continue;
        };
        let mut story = vec![format!("{element} is in the read"), read.to_string()];
        story.extend(added.map(ToString::to_string));
        found.push(Anomaly { name: name.to_owned(), story });
    }
    found
}

fn lost(adds: &BTreeMap<i64, &Operation>, read: &Brief<'_>, elements: &[i64]) -> Vec<Anomaly> {
    let held: BTreeSet<&i64> = elements.iter().collect();
    let acknowledged = adds.iter().filter(|(_, add)| add.is_ok() && add.is_before(read.0));
    acknowledged
        .filter(|(element, _)| !held.contains(element))
        .map(|(_, add)| Anomaly {
            name: "lost element".to_owned(),
            story: vec![add.to_string(), "is missing from the final".to_owned(), read.to_string()],
        })
        .collect()
}

impl Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add { element } => write!(f, "add {element}"),
            Self::Read => f.write_str("read"),
        }
    }
}

impl Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("ok"),
            Self::Elements(elements) => write!(f, "{elements:?}"),
        }
    }
}

#[cfg(test)]
mod planted {
    use super::*;
    use crate::check::Verdict;
    use crate::check::history::planted::{fail, info, last, ok};

    fn add(element: i64) -> Operation {
        ok(1, 0, 1, Call::Add { element }, Answer::Done)
    }

    fn read(elements: &[i64]) -> Operation {
        ok(2, 2, 3, Call::Read, Answer::Elements(elements.to_vec()))
    }

    #[test]
    fn a_late_element_is_fine_and_a_lost_one_is_not() {
        let history = [add(1), add(2), read(&[1]), last(read(&[2, 1]))];
        assert_eq!(check(&history).verdict(), Verdict::Valid);
        let history = [add(1), add(2), last(read(&[2, 1])), last(read(&[2]))];
        assert_eq!(check(&history).names(), ["lost element"]);
    }

    #[test]
    fn what_is_strange_is_found_in_any_read() {
        let failed = fail(1, 0, 1, Call::Add { element: 8 }, 11);
        let unknown = info(1, 0, Call::Add { element: 9 });
        let history = [add(1), failed, unknown, read(&[1, 1, 7, 8, 9]), last(read(&[1]))];
        let expected = ["duplicate element", "element that nobody added", "element whose add failed"];
        assert_eq!(check(&history).names(), expected);
    }

    #[test]
    fn without_a_final_read_nothing_is_shown() {
        assert_eq!(check(&[add(1), read(&[1])]).verdict(), Verdict::Unknown);
    }
}
