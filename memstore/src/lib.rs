//! The state: partitions of the keyspace in memory, built from the journal.

mod error;
mod event;
mod frontier;
mod key_value;
mod partition_id;
mod query;
mod set_hash;
mod snapshot;
mod stats;

pub use error::Error;
pub use event::{Change, Event, EventKind};
pub use frontier::Applied;
pub use key_value::{KeyValue, Version};
pub use partition_id::{PartitionId, PartitionRange};
pub use query::{Answer, At, Bounds, Projection, Query};
pub use stats::{PartitionStats, Stats};
