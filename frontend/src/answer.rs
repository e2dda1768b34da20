//! What the store answers, in our own words.

use journal::{Barrier, Lsn, Revision};
use memstore::KeyValue;

/// Where in the store's history an answer stands: what an endpoint's headers tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    pub lsn: Lsn,
    pub revision: Revision,
    pub term: u64,
}

impl From<Barrier> for Position {
    fn from(barrier: Barrier) -> Position {
        Position { lsn: barrier.lsn, revision: barrier.revision, term: barrier.term }
    }
}

/// An answer and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered<T> {
    pub answer: T,
    pub at: Position,
}

/// The keys of a range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeAnswer {
    /// The store's revision when it was read; not the one that was asked for.
    pub revision: Revision,
    pub kvs: Vec<KeyValue>,
    /// The limit kept keys out.
    pub more: bool,
    /// Keys in the range, whatever the limit and the bounds say.
    pub count: u64,
}

/// What a put replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutAnswer {
    pub revision: Revision,
    /// Where it was asked for and there was one.
    pub prev_kv: Option<KeyValue>,
}

/// What a deletion removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteAnswer {
    pub revision: Revision,
    pub deleted: u64,
    /// Where they were asked for.
    pub prev_kvs: Vec<KeyValue>,
}

/// Which branch was taken, and the answer of each of its operations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TxnAnswer {
    pub revision: Revision,
    pub succeeded: bool,
    pub answers: Vec<OpAnswer>,
}

/// The answer of one operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpAnswer {
    Range(RangeAnswer),
    Put(PutAnswer),
    DeleteRange(DeleteAnswer),
    Txn(TxnAnswer),
}

impl TxnAnswer {
    /// The answer of the one operation there was.
    ///
    /// # Panics
    /// If there was none.
    #[must_use]
    pub fn only(mut self) -> OpAnswer {
        self.answers.pop().expect("a plan of one operation has one answer")
    }
}
