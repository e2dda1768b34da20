//! pn-counter and g-counter: a number that deltas are added to. After the faults every read is the sum of all deltas that
//! were acknowledged before it, and of any of those that were under way or whose outcome is unknown.

use std::collections::BTreeSet;
use std::fmt::{self, Display};

use super::Findings;
use super::history::{self, Phase};

/// Sums that are kept apart. With more, nothing is decided.
const SUMS_MAX: usize = 1 << 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Add { delta: i64 },
    Read,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Done,
    Value(i64),
}

pub type Operation = history::Operation<Call, Answer>;

pub fn check(history: &[Operation]) -> Findings {
    let mut findings = Findings::default();
    let last = history.iter().filter(|operation| operation.phase == Phase::Final);
    let mut reads = 0;
    for read in last {
        let Some(Answer::Value(value)) = read.answer() else { continue };
        reads += 1;
        let Some(sums) = sums(history, read) else {
            findings.undecided.push("too many additions have an unknown outcome".to_owned());
            return findings;
        };
        if !sums.contains(value) {
            let (least, most) = (sums.first().copied(), sums.last().copied());
            let story = vec![read.to_string(), format!("the sum is from {least:?} to {most:?}")];
            findings.found("wrong sum", story);
        }
    }
    if reads == 0 {
        findings.undecided.push("no read was answered after the faults".to_owned());
    }
    findings
}

/// Sums that a read may see: with all additions that were acknowledged before it was sent, and with any of those that
/// were under way meanwhile or whose outcome is unknown. `None`: there are too many.
fn sums(history: &[Operation], read: &Operation) -> Option<BTreeSet<i64>> {
    let mut sums = BTreeSet::from([0]);
    for operation in history {
        let Call::Add { delta } = operation.call else { continue };
        if operation.failed() || read.is_before(operation) {
            continue;
        }
        let with = sums.iter().map(|sum| sum + delta);
        sums = if operation.is_ok() && operation.is_before(read) {
            with.collect()
        } else {
            with.chain(sums.iter().copied()).collect()
        };
        if SUMS_MAX < sums.len() {
            return None;
        }
    }
    Some(sums)
}

impl Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add { delta } => write!(f, "add {delta}"),
            Self::Read => f.write_str("read"),
        }
    }
}

impl Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("ok"),
            Self::Value(value) => write!(f, "{value}"),
        }
    }
}

#[cfg(test)]
mod planted {
    use super::*;
    use crate::check::Verdict;
    use crate::check::history::planted::{fail, info, last, ok};

    fn read(value: i64) -> Operation {
        last(ok(2, 2, 3, Call::Read, Answer::Value(value)))
    }

    #[test]
    fn a_sum_has_all_that_was_acknowledged_and_nothing_that_failed() {
        let add = |delta| ok(1, 0, 1, Call::Add { delta }, Answer::Done);
        let history = |value| {
            let failed = fail(1, 0, 1, Call::Add { delta: 50 }, 11);
            [add(3), add(-1), info(1, 0, Call::Add { delta: 10 }), failed, read(value)]
        };
        for value in [2, 12] {
            assert_eq!(check(&history(value)).verdict(), Verdict::Valid);
        }
        for value in [3, 13, 52] {
            assert_eq!(check(&history(value)).names(), ["wrong sum"]);
        }
        assert_eq!(check(&history(2)[..4]).verdict(), Verdict::Unknown);
    }

    #[test]
    fn a_read_may_miss_what_is_added_meanwhile() {
        let add = |from, to, delta| ok(1, from, to, Call::Add { delta }, Answer::Done);
        let history = |value| [add(0, 1, 3), add(1, 4, 10), add(4, 5, 70), read(value)];
        for value in [3, 13] {
            assert_eq!(check(&history(value)).verdict(), Verdict::Valid, "{value}");
        }
        for value in [0, 10, 73, 83] {
            assert_eq!(check(&history(value)).names(), ["wrong sum"], "{value}");
        }
    }
}
