//! The state: partitions of the keyspace in memory, built from the journal.

mod agreement;
mod aside;
mod building;
mod client;
mod compaction;
mod comparing;
mod counting;
mod doubt;
mod error;
mod event;
mod farewell;
mod feed;
mod follower;
mod frontier;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod hash_kv;
mod hash_over;
mod hashing;
mod here;
mod history;
mod holding;
mod keeper;
mod key_value;
mod lease_index;
mod memory;
mod metrics;
mod middle;
#[cfg(test)]
mod model;
#[cfg(test)]
mod model_tests;
mod node;
mod partition;
mod partition_id;
mod pause;
mod query;
mod reading;
mod remote;
mod replica;
mod replicas;
mod service;
mod set_hash;
mod snapshot;
#[cfg(test)]
mod staging_tests;
mod stats;
mod store;
mod wanted;
mod watch;
mod wire;
mod work;

pub use agreement::{Agreement, compare};
pub use client::{Memstore, Serves};
pub use doubt::{Doubt, HashedAt, ReplicaHash, ReplicaName};
pub use error::Error;
pub use event::{Change, Event, EventKind};
pub use frontier::Applied;
pub use hash_over::hash_over;
pub use hashing::Hash;
pub use key_value::{KeyValue, Version};
pub use memory::{Memory, MemoryReservation};
pub use metrics::ApplyMetrics;
pub use middle::MiddleOf;
pub use node::{Config, Node};
pub use partition_id::{PartitionId, PartitionRange};
pub use query::{Answer, At, Bounds, Projection, Query};
pub use remote::{Health, Remote};
pub use service::MemstoreService;
pub use snapshot::{SnapshotService, SnapshotStore};
pub use stats::{PartitionStats, Stats};
pub use wanted::Wanted;
pub use watch::{Update, WatchLimits, WatchSpec, WatchStream, WatcherKey};
pub use work::SnapshotDue;
