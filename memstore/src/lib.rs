//! The state: partitions of the keyspace in memory, built from the journal.

mod client;
mod compaction;
mod counting;
mod error;
mod event;
mod feed;
mod follower;
mod frontier;
mod hash_kv;
mod hash_over;
mod hashing;
mod here;
mod history;
mod keeper;
mod key_value;
mod lease_index;
mod metrics;
#[cfg(test)]
mod model;
#[cfg(test)]
mod model_tests;
mod node;
mod partition;
mod partition_id;
mod query;
mod reading;
mod remote;
mod replica;
mod replicas;
mod service;
mod set_hash;
mod snapshot;
mod stats;
mod store;
mod watch;
mod wire;
mod work;

pub use client::{Memstore, Serves};
pub use error::Error;
pub use event::{Change, Event, EventKind};
pub use frontier::Applied;
pub use hash_over::hash_over;
pub use hashing::Hash;
pub use key_value::{KeyValue, Version};
pub use metrics::ApplyMetrics;
pub use node::{Config, Node};
pub use partition_id::{PartitionId, PartitionRange};
pub use query::{Answer, At, Bounds, Projection, Query};
pub use remote::{Health, Remote};
pub use service::MemstoreService;
pub use snapshot::SnapshotService;
pub use stats::{PartitionStats, Stats};
pub use watch::{Update, WatchLimits, WatchSpec, WatchStream, WatcherKey};
pub use work::SnapshotDue;
