//! A journal for tests: entries in memory, appended and trimmed by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use journal::{Batch, Entry, Error, Lsn, Origin, Record, Revision, SysOp, Write};
use tokio::sync::watch;

/// The journal. It trims itself behind marks, as a real one does.
pub(crate) struct FedJournal {
    state: watch::Sender<State>,
    tails: AtomicUsize,
}

#[derive(Clone)]
struct State {
    entries: Vec<Entry>,
    first: Lsn,
    revision: Revision,
    marks: Vec<SysOp>,
    closed: bool,
}

impl FedJournal {
    pub(crate) fn new() -> Arc<FedJournal> {
        let (entries, marks) = (Vec::new(), Vec::new());
        let state = State { entries, first: Lsn(1), revision: Revision::EMPTY_STORE, marks, closed: false };
        Arc::new(FedJournal { state: watch::Sender::new(state), tails: AtomicUsize::new(0) })
    }

    /// One batch, of records that each write or do something else.
    pub(crate) fn append(&self, records: Vec<(Vec<Write>, Option<SysOp>)>) -> Lsn {
        let mut lsn = Lsn::ZERO;
        self.state.send_modify(|state| {
            let record = |(writes, sysop)| Record { origin: Origin::default(), writes, sysop };
            let records = records.into_iter().map(record).collect();
            let batch = Batch { term: 1, base_revision: state.revision.next(), wall_clock_ms: 0, records };
            state.revision = batch.last_revision();
            lsn = state.push(Some(Arc::new(batch)));
        });
        lsn
    }

    /// An entry without a batch.
    pub(crate) fn void(&self) {
        self.state.send_modify(|state| {
            state.push(None);
        });
    }

    /// A batch that rests on one that was refused: it leaves a revision out.
    pub(crate) fn rest_on_refused(&self, writes: Vec<Write>) {
        self.state.send_modify(|state| {
            let records = vec![Record { origin: Origin::default(), writes, sysop: None }];
            let base_revision = state.revision.next().next();
            state.push(Some(Arc::new(Batch { term: 1, base_revision, wall_clock_ms: 0, records })));
        });
    }

    pub(crate) fn mark(&self, mark: SysOp) {
        self.append(vec![(Vec::new(), Some(mark.clone()))]);
        self.state.send_modify(|state| state.marks.push(mark));
    }

    pub(crate) fn marks(&self) -> Vec<SysOp> {
        self.state.borrow().marks.clone()
    }

    pub(crate) fn trim(&self, first: Lsn) {
        self.state.send_modify(|state| state.first = first);
    }

    /// Becomes what `other` is, with the first position that it still has.
    pub(crate) fn replace_by(&self, other: &FedJournal, first: Lsn) {
        let other = other.state.borrow().clone();
        self.state.send_modify(|state| *state = State { first, ..other });
    }

    pub(crate) fn close(&self) {
        self.state.send_modify(|state| state.closed = true);
    }

    pub(crate) fn first(&self) -> Lsn {
        self.state.borrow().first
    }

    pub(crate) fn revision(&self) -> Revision {
        self.state.borrow().revision
    }

    pub(crate) fn last(&self) -> Lsn {
        self.state.borrow().last()
    }

    pub(crate) fn tail(&self, next: Lsn) -> FedTail {
        self.tails.fetch_add(1, SeqCst);
        FedTail { next, state: self.state.subscribe() }
    }

    /// How many there have been.
    pub(crate) fn tails(&self) -> usize {
        self.tails.load(SeqCst)
    }
}

impl State {
    fn last(&self) -> Lsn {
        Lsn(u64::try_from(self.entries.len()).expect("few"))
    }

    fn push(&mut self, batch: Option<Arc<Batch>>) -> Lsn {
        let lsn = self.last().next();
        self.entries.push(Entry { lsn, term: 1, batch });
        lsn
    }
}

/// Its tail.
pub(crate) struct FedTail {
    next: Lsn,
    state: watch::Receiver<State>,
}

impl FedTail {
    pub(crate) async fn next(&mut self) -> Result<Vec<Entry>, Error> {
        let next = self.next;
        let ready = |state: &State| state.closed || next < state.first || next <= state.last();
        let state = self.state.wait_for(|state| ready(state)).await.map_err(|_| Error::Closed)?;
        if state.closed {
            return Err(Error::Closed);
        }
        if next < state.first {
            return Err(Error::Trimmed { first: state.first });
        }
        let skip = usize::try_from(next.0 - 1).expect("few");
        // In parts, as a real one hands them out.
        let entries: Vec<_> = state.entries[skip..].iter().take(3).cloned().collect();
        self.next = entries.last().expect("there is one").lsn.next();
        Ok(entries)
    }
}
