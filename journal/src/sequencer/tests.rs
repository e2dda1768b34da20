//! What the sequencer answers, one rule a test.

use super::*;
use crate::key_range::KeyRange;
use crate::record::{Read, Write};
use crate::state::Applied;
use bytes::Bytes;

/// A leader, its journal and its state: batches commit when told to.
struct World {
    state: State,
    sequencer: Sequencer<u64>,
    taken: Vec<Batch>,
    now: Duration,
    waiters: u64,
}

const TERM: u64 = 3;

fn limits() -> Limits {
    Limits { slots: 1 << 10, ring_keys_max: 8, batches_max: 2, ..Limits::default() }
}

impl World {
    fn new() -> World {
        World::with(limits())
    }

    fn with(limits: Limits) -> World {
        let mut state = State::default();
        state.skip(Lsn(1), TERM);
        let sequencer = Sequencer::start(TERM, &state, limits, Duration::ZERO);
        World { state, sequencer, taken: Vec::new(), now: Duration::ZERO, waiters: 0 }
    }

    fn append(&mut self, append: Append) -> Answer<u64> {
        self.waiters += 1;
        self.sequencer.append(append, self.waiters, &self.state, self.now)
    }

    fn take(&mut self) -> bool {
        let taken = self.sequencer.take_batch(0);
        let any = taken.is_some();
        self.taken.extend(taken);
        any
    }

    fn commit_one(&mut self) -> Vec<Verdict> {
        let batch = self.taken.remove(0);
        let lsn = self.state.applied().next();
        assert!(matches!(self.state.apply(lsn, TERM, &batch), Applied::Records(_)));
        self.sequencer.committed(lsn, self.now).into_iter().map(|(_, verdict)| verdict).collect()
    }

    fn commit_all(&mut self) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        while self.take() || !self.taken.is_empty() {
            verdicts.extend(self.commit_one());
        }
        verdicts
    }

    /// Puts without reading anything, and commits.
    fn put(&mut self, seq: u64, key: &'static str) -> Revision {
        assert_eq!(self.append(put(seq, key)), Answer::Later);
        self.commit_all();
        self.state.revision()
    }
}

fn origin(seq: u64) -> Origin {
    Origin { frontend: 9, seq, attempt: 1 }
}

fn put(seq: u64, key: &'static str) -> Append {
    put_with_lease(seq, key, LeaseId::NONE)
}

fn put_with_lease(seq: u64, key: &'static str, lease: LeaseId) -> Append {
    let write = Write::Put { key: key.into(), value: Bytes::new(), lease };
    Append { origin: origin(seq), reads: vec![], writes: vec![write], sysop: None, reserve: false }
}

fn reading(mut append: Append, keys: KeyRange, at: Revision) -> Append {
    append.reads.push(Read::Keys { keys, at });
    append
}

fn single(key: &'static str) -> KeyRange {
    KeyRange::Single(key.into())
}

#[test]
fn a_put_that_read_nothing_gets_the_next_revision() {
    let mut world = World::new();
    assert_eq!(world.append(put(1, "a")), Answer::Later);
    assert_eq!(world.append(put(2, "a")), Answer::Later);
    let committed = |revision, attempt| Verdict::Committed {
        lsn: Lsn(2),
        revision: Revision(revision),
        term: TERM,
        attempt,
    };
    assert_eq!(world.commit_all(), [committed(2, 1), committed(3, 1)]);
}

#[test]
fn a_read_that_changed_since_conflicts_also_before_the_change_commits() {
    let mut world = World::new();
    let at = world.put(1, "a");
    assert_eq!(world.append(put(2, "a")), Answer::Later);
    let stale = reading(put(3, "b"), single("a"), at);
    assert_eq!(world.append(stale), Answer::Now(3, Verdict::Conflict { wait: at.next() }));
}
