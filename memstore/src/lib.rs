//! The state: partitions of the keyspace in memory, built from the journal.

mod compaction;
mod counting;
mod error;
mod event;
mod frontier;
mod hash_kv;
mod history;
mod key_value;
mod lease_index;
#[cfg(test)]
mod model;
#[cfg(test)]
mod model_tests;
mod partition;
mod partition_id;
mod query;
mod reading;
mod set_hash;
mod snapshot;
mod stats;
mod store;
mod watch;

pub use error::Error;
pub use event::{Change, Event, EventKind};
pub use frontier::Applied;
pub use hash_kv::{HashKv, Hashed};
pub use key_value::{KeyValue, Version};
pub use partition_id::{PartitionId, PartitionRange};
pub use query::{Answer, At, Bounds, Projection, Query};
pub use stats::{PartitionStats, Stats};
pub use watch::{Update, WatchLimits, WatchSpec, WatchStream, WatcherKey};
