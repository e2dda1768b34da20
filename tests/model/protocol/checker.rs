//! What must be true whatever happens, looked at whenever something commits, is applied, or is told to a client.
//!
//!     committed   record 1, record 2, …          each is executed by the serial store, whose states are all kept
//!     answered    invocation [ p … q ] response   some state between is one in which this is the answer
//!
//! A record has its moment when it commits, so real time is kept if it commits between invocation and response,
//! and if whatever has no record finds its moment between them too.

use std::rc::Rc;

use super::node::Clock;
use super::operation::{Operation, Outcome};
use super::record::{Entry, KEYS, LeaseId, Lsn, Read, Record, Revision, SysOp, Time, Write};
use super::request::{Answer, Request};
use super::serial::{Serial, fits};

/// A rule that did not hold, and how.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) rule: &'static str,
    pub(crate) how: String,
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    lease: LeaseId,
    ttl: Time,
    /// When it was last kept alive, or granted.
    at: Time,
}

#[derive(Debug)]
pub(crate) struct Checker {
    pub(crate) entries: Vec<Rc<Entry>>,
    /// The store before each record, and after the last.
    states: Vec<Serial>,
    /// How many records each number of entries has.
    records: Vec<usize>,
    /// The first state of each revision, from 0 on.
    of_revision: Vec<usize>,
    /// The revisions at which each key changed, and which leases something was attached to.
    changes: [Vec<Revision>; KEYS],
    attached: Vec<(LeaseId, Revision)>,
    kept: Vec<Kept>,
    pub(crate) violation: Option<Violation>,
}

impl Checker {
    pub(crate) fn new() -> Checker {
        Checker {
            entries: Vec::new(),
            states: vec![Serial::new()],
            records: vec![0],
            of_revision: vec![0, 0],
            changes: std::array::from_fn(|_| Vec::new()),
            attached: Vec::new(),
            kept: Vec::new(),
            violation: None,
        }
    }

    /// The first one counts: what comes after it may be its consequence.
    pub(crate) fn violated(&mut self, rule: &'static str, how: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(Violation { rule, how: how() });
        }
    }

    /// How many records have committed: a moment.
    pub(crate) fn position(&self) -> usize {
        self.states.len() - 1
    }

    /// Leases that exist, or did.
    pub(crate) fn granted(&self) -> impl Iterator<Item = LeaseId> {
        self.kept.iter().map(|kept| kept.lease)
    }

    pub(crate) fn now(&self) -> &Serial {
        self.states.last().expect("there is the first")
    }

    pub(crate) fn state_at(&self, lsn: Lsn) -> &Serial {
        &self.states[self.records[lsn]]
    }

    /// A node holds this entry for committed at `lsn`.
    pub(crate) fn committed(
        &mut self,
        lsn: Lsn,
        entry: &Rc<Entry>,
        now: Time,
        operations: &mut [Operation],
        by_seq: &[usize],
    ) {
        if lsn <= self.entries.len() {
            if !Rc::ptr_eq(&self.entries[lsn - 1], entry) {
                self.violated("what is committed stays", || format!("there are two entries at {lsn}"));
            }
            return;
        }
        assert_eq!(lsn, self.entries.len() + 1, "a commit tells of all before it");
        self.entries.push(Rc::clone(entry));
        if let Some(batch) = &entry.batch {
            if batch.base_revision != self.now().revision + 1 {
                let (base, last) = (batch.base_revision, self.now().revision);
                self.violated("I1 revisions are dense", || format!("{base} follows {last} at {lsn}"));
            }
            if batch.term != entry.term {
                let (made, came) = (batch.term, entry.term);
                self.violated("I5 a leader's own first entry comes first", || {
                    format!("a batch sequenced in term {made} came into the log in term {came} at {lsn}")
                });
            }
            for record in &batch.records {
                self.execute(record, now, &mut operations[by_seq[record.origin.seq]]);
            }
        }
        self.records.push(self.position());
    }

    fn execute(&mut self, record: &Record, now: Time, operation: &mut Operation) {
        let (origin, request) = (record.origin, &operation.request);
        if operation.landed.is_some() {
            self.violated("a request happens once", || format!("{origin:?} happened twice: {request:?}"));
        }
        if matches!(operation.outcome, Some(Outcome::Nothing)) {
            self.violated("what is answered as nothing does not happen", || {
                format!("{origin:?}: {request:?}")
            });
        }
        if record.is_fence() {
            return self.states.push(*self.now());
        }
        self.check_footprint(record);
        self.check_lease_end(record);
        let mut after = *self.now();
        let mut effects = Vec::new();
        let answer = after.execute(request, operation.is_guest, None, &mut effects);
        if !fits(request, record.sysop.as_ref()) || !matches!(answer, Answer::Done { .. }) {
            self.violated("effects are those of serial execution", || {
                format!("{request:?} is {answer:?} there, and not {record:?}")
            });
        }
        if effects != record.writes {
            let writes = &record.writes;
            self.violated("effects are those of serial execution", || {
                format!("{request:?} writes {effects:?} there, and not {writes:?}")
            });
        }
        if let Some(SysOp::Grant { lease, ttl, .. }) = record.sysop {
            self.kept.push(Kept { lease, ttl, at: now });
        }
        self.note(&record.writes, after.revision);
        operation.landed = Some(answer);
        self.states.push(after);
    }

    fn note(&mut self, writes: &[Write], revision: Revision) {
        if revision == self.of_revision.len() {
            self.of_revision.push(self.states.len());
        }
        for write in writes {
            self.changes[write.key()].push(revision);
            self.attached.extend(write.lease().map(|lease| (lease, revision)));
        }
    }

    fn check_footprint(&mut self, record: &Record) {
        for read in &record.reads {
            let changed = match read {
                Read::Keys { keys, at } => {
                    keys.keys().any(|key| self.changes[key].last().is_some_and(|last| at < last))
                }
                Read::Lease { lease, at } => self.attached.iter().any(|(other, r)| other == lease && at < r),
            };
            if changed {
                self.violated("I3 what was read has not changed", || format!("{read:?} of {record:?}"));
            }
        }
    }

    /// A leader has acknowledged a keep-alive that had arrived at `at`.
    pub(crate) fn kept_alive(&mut self, lease: LeaseId, at: Time) {
        for kept in self.kept.iter_mut().filter(|kept| kept.lease == lease) {
            kept.at = kept.at.max(at);
        }
    }

    fn check_lease_end(&mut self, record: &Record) {
        let Some(SysOp::Revoke { lease, expired_in: Some(_) }) = record.sysop else { return };
        // A name may be granted again: the last lease of that name is meant.
        let Some(kept) = self.kept.iter().rfind(|kept| kept.lease == lease).copied() else { return };
        let sequenced_at = record.sequenced_at;
        let elapsed = sequenced_at.saturating_sub(kept.at);
        if sequenced_at < kept.at || !Clock::may_have_passed(kept.ttl, elapsed) {
            self.violated("I8 no lease ends early", || format!("{kept:?} ended at {sequenced_at}"));
        }
    }

    /// A client is told that its request happened.
    pub(crate) fn answered(&mut self, operation: &Operation, answer: &Answer) {
        self.check_revision(operation, answer);
        let request = &operation.request;
        match &operation.landed {
            None => self.violated("what is acknowledged is committed", || format!("{request:?}: {answer:?}")),
            Some(landed) if landed != answer => {
                let landed = landed.clone();
                self.violated("answers are those of serial execution", || {
                    format!("{request:?} answers {landed:?}, and not {answer:?}")
                });
            }
            Some(_) => {}
        }
    }

    /// A client is told something that did not change anything.
    pub(crate) fn answered_as_nothing(&mut self, operation: &Operation, answer: &Answer) {
        self.check_revision(operation, answer);
        let request = &operation.request;
        if let Some(landed) = &operation.landed {
            let landed = landed.clone();
            self.violated("what is answered as nothing does not happen", || {
                format!("{request:?} happened and answers {landed:?}, and not {answer:?}")
            });
        }
        let from = match request {
            Request::Serializable(_) => 0,
            _ => operation.invoked_position,
        };
        let is_answer_of = |state: &Serial| {
            if matches!(answer, Answer::Done { revision, .. } if *revision != state.revision) {
                return false;
            }
            let past = match request {
                Request::Past { revision, .. } => self.of_revision.get(*revision),
                _ => None,
            };
            let past = past.map(|position| &self.states[*position].kvs);
            let (mut work, mut effects) = (*state, Vec::new());
            work.execute(request, operation.is_guest, past, &mut effects) == *answer && effects.is_empty()
        };
        if !self.states[from..].iter().any(is_answer_of) {
            let to = self.position();
            self.violated("answers are those of serial execution", || {
                format!("{request:?} is not {answer:?} at any moment of {from}..={to}")
            });
        }
    }

    /// A client is told that its lease is kept alive.
    pub(crate) fn answered_as_kept(&mut self, operation: &Operation, lease: LeaseId) {
        let moments = &self.states[operation.invoked_position..];
        if !moments.iter().any(|state| state.has_lease(lease)) {
            self.violated("answers are those of serial execution", || {
                format!("lease {lease} was gone when it was kept alive")
            });
        }
    }

    fn check_revision(&mut self, operation: &Operation, answer: &Answer) {
        let Answer::Done { revision, .. } = answer else { return };
        let shown = operation.shown_before;
        if *revision < shown {
            let request = &operation.request;
            self.violated("I10 an endpoint's revision never goes back", || {
                format!("{request:?} answers at {revision}, and {shown} was told before it began")
            });
        }
    }
}
