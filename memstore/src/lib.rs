//! The state: partitions of the keyspace in memory, built from the journal.

mod frontier;

pub use frontier::Applied;
