//! Which branches a transaction takes, and what must be read to go on.

use journal::KeyRange;
use memstore::Projection;

use super::{Found, Part};
use crate::operation::{Compare, DeleteRange, Op, Put, Range, Subject, Txn};

/// Writes that a range is held against one by one; behind more of them it is read whole.
const WRITES_COMPARED_MAX: usize = 128;

/// Keys to be read as they are at the start of the transaction: all of them, to `projection`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) keys: KeyRange,
    pub(crate) projection: Projection,
}

/// The operations to run, in order, with the nested ones behind the transaction they are of.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) looks: Vec<Look>,
    /// To be read as they are asked for, as nothing this transaction does can change them.
    pub(crate) ranges: Vec<&'a Range>,
    pub(super) steps: Vec<Step<'a>>,
    /// Whether every compare of the outermost transaction holds.
    pub(super) succeeded: bool,
    /// What the choice of branches rests on.
    pub(super) rests_on: Vec<Part>,
    pub(super) writes_about: usize,
    /// Whether some operation looks after another has written.
    pub(super) reads_own_writes: bool,
    written: Vec<KeyRange>,
    /// etcd looks at a put's lease before its key where the put stands alone, and behind it in a transaction.
    pub(super) stands_alone: bool,
}

/// One operation.
#[derive(Debug)]
pub(super) enum Step<'a> {
    Range { range: &'a Range, source: Source },
    Put { put: &'a Put, look: Option<usize> },
    DeleteRange { delete: &'a DeleteRange, look: usize },
    Txn { succeeded: bool, operations: usize },
}

/// Where a range finds its keys.
#[derive(Debug)]
pub(super) enum Source {
    /// In `Plan::looks`, with what the transaction has done since.
    Look(usize),
    /// In `Plan::ranges`, and nowhere else.
    Range(usize),
    /// Nowhere: its revision is below all that there can be.
    Compacted,
}

/// What must be read to choose the branches: for the compares of all levels, each transaction's own first.
#[must_use]
pub(crate) fn looks_of_compares(txn: &Txn) -> Vec<Look> {
    let mut looks = Vec::with_capacity(txn.compares.len());
    collect_looks(txn, &mut looks);
    looks
}

fn collect_looks(txn: &Txn, looks: &mut Vec<Look>) {
    looks.extend(txn.compares.iter().map(look_of_compare));
    for op in txn.ops() {
        if let Op::Txn(nested) = op {
            collect_looks(nested, looks);
        }
    }
}

fn look_of_compare(compare: &Compare) -> Look {
    let by_value = matches!(compare.subject, Subject::Value(_));
    let projection = if by_value { Projection::Full } else { Projection::KeysOnly };
    Look { keys: compare.keys.clone(), projection }
}

fn compares_of(ops: &[Op]) -> usize {
    let nested = ops.iter().filter_map(|op| if let Op::Txn(txn) = op { Some(txn) } else { None });
    nested.map(|txn| txn.compares.len() + compares_of(&txn.success) + compares_of(&txn.failure)).sum()
}

/// Chooses the branches. `found` answers `looks_of_compares`. `never_compacted` as the store is.
#[must_use]
pub(crate) fn choose<'a>(txn: &'a Txn, found: &[Found], never_compacted: bool) -> Plan<'a> {
    let mut choice = Choice { plan: Plan::new(), found, next: 0, never_compacted };
    choice.plan.succeeded = choice.branch(txn);
    choice.plan
}

impl<'a> Plan<'a> {
    fn new() -> Plan<'a> {
        Plan {
            looks: Vec::new(),
            ranges: Vec::new(),
            steps: Vec::new(),
            succeeded: true,
            rests_on: Vec::new(),
            writes_about: 0,
            reads_own_writes: false,
            written: Vec::new(),
            stands_alone: false,
        }
    }

    /// A put on its own.
    #[must_use]
    pub(crate) fn of_put(put: &'a Put) -> Plan<'a> {
        let mut plan = Plan { stands_alone: true, ..Plan::new() };
        plan.put(put);
        plan
    }

    /// A deletion on its own.
    #[must_use]
    pub(crate) fn of_delete(delete: &'a DeleteRange) -> Plan<'a> {
        let mut plan = Plan::new();
        plan.delete(delete);
        plan
    }

    /// All that was or will be read as it is now.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &KeyRange> {
        let looks = self.looks.iter().map(|look| &look.keys);
        let ranges = self.ranges.iter().map(|range| &range.keys);
        self.rests_on.iter().map(|part| &part.keys).chain(looks).chain(ranges)
    }

    fn put(&mut self, put: &'a Put) {
        let key = KeyRange::Single(put.key.clone());
        let look = put.reads().then(|| self.look(&key, Projection::Full));
        self.steps.push(Step::Put { put, look });
        self.write(key);
    }

    fn delete(&mut self, delete: &'a DeleteRange) {
        let projection = if delete.prev_kv { Projection::Full } else { Projection::KeysOnly };
        let look = self.look(&delete.keys, projection);
        self.steps.push(Step::DeleteRange { delete, look });
        self.write(delete.keys.clone());
    }

    fn range(&mut self, range: &'a Range, never_compacted: bool) {
        let source = if range.revision < 0 && !(range.revision == -1 && never_compacted) {
            Source::Compacted
        } else if range.past().is_some() || !self.is_written(&range.keys) {
            self.ranges.push(range);
            Source::Range(self.ranges.len() - 1)
        } else {
            // Keys are told from one another also where only their number counts.
            let projection = match range.fetch().projection {
                Projection::CountOnly => Projection::KeysOnly,
                projection => projection,
            };
            Source::Look(self.look(&range.keys, projection))
        };
        self.steps.push(Step::Range { range, source });
    }

    fn look(&mut self, keys: &KeyRange, projection: Projection) -> usize {
        self.reads_own_writes |= self.writes_about > 0;
        self.looks.push(Look { keys: keys.clone(), projection });
        self.looks.len() - 1
    }

    fn write(&mut self, keys: KeyRange) {
        self.writes_about += 1;
        if self.written.len() <= WRITES_COMPARED_MAX {
            self.written.push(keys);
        }
    }

    fn is_written(&self, keys: &KeyRange) -> bool {
        self.written.len() > WRITES_COMPARED_MAX || self.written.iter().any(|written| meet(written, keys))
    }
}

/// Whether a key can be in both.
fn meet(one: &KeyRange, other: &KeyRange) -> bool {
    match other {
        KeyRange::Single(key) => one.contains(key),
        KeyRange::Range { start, end } => one.clip(start, Some(end)).is_some(),
        KeyRange::From(start) => one.clip(start, None).is_some(),
    }
}

/// A transaction whose branches are being chosen.
struct Choice<'a, 'f> {
    plan: Plan<'a>,
    found: &'f [Found],
    /// The first of `found` that belongs to what comes next.
    next: usize,
    never_compacted: bool,
}

impl<'a> Choice<'a, '_> {
    fn branch(&mut self, txn: &'a Txn) -> bool {
        let succeeded = self.compare(&txn.compares);
        if !succeeded {
            self.next += compares_of(&txn.success);
        }
        for op in txn.branch(succeeded) {
            match op {
                Op::Range(range) => self.plan.range(range, self.never_compacted),
                Op::Put(put) => self.plan.put(put),
                Op::DeleteRange(delete) => self.plan.delete(delete),
                Op::Txn(nested) => self.nested(nested),
            }
        }
        if succeeded {
            self.next += compares_of(&txn.failure);
        }
        succeeded
    }

    fn nested(&mut self, txn: &'a Txn) {
        let place = self.plan.steps.len();
        self.plan.steps.push(Step::Txn { succeeded: true, operations: 0 });
        let succeeded = self.branch(txn);
        let operations = txn.branch(succeeded).len();
        self.plan.steps[place] = Step::Txn { succeeded, operations };
    }

    /// One compare that does not hold decides, and then nothing rests on the others.
    fn compare(&mut self, compares: &[Compare]) -> bool {
        let found = &self.found[self.next..self.next + compares.len()];
        self.next += compares.len();
        let failed = compares.iter().zip(found).find(|(compare, found)| !compare.holds(&found.kvs));
        let rests_on = failed.as_ref().map_or(found, |(_, found)| std::slice::from_ref(*found));
        self.plan.rests_on.extend(rests_on.iter().flat_map(|found| found.parts.iter().cloned()));
        failed.is_none()
    }
}
