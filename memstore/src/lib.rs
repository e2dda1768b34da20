//! The state: partitions of the keyspace in memory, built from the journal.

mod event;
mod frontier;
mod key_value;

pub use event::{Change, Event, EventKind};
pub use frontier::Applied;
pub use key_value::KeyValue;
