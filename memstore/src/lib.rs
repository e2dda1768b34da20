//! The state: partitions of the keyspace in memory, built from the journal.

mod frontier;
mod key_value;

pub use frontier::Applied;
pub use key_value::KeyValue;
