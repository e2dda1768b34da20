//! Who asked for a record, so that one request never happens twice.

/// Names one attempt of one request of one frontend process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// Random at each process start.
    pub frontend: u64,
    /// Counts the frontend's requests from 1.
    pub seq: u64,
    /// Counts the evaluations of one request: the answer depends on which of them committed.
    pub attempt: u32,
}
