//! The API: etcd in front, the three tiers behind, in one process or in many.

pub mod answer;
mod arrange;
mod auto_compaction;
mod barriers;
pub mod bench;
mod compare;
pub mod config;
pub mod error;
pub mod etcd;
mod evaluate;
mod grpc;
mod http;
pub mod leases;
mod listener;
pub mod logging;
mod metrics;
mod node;
pub mod operation;
mod quota;
mod quota_keeper;
mod read;
mod routes;
mod seen;
mod store;
pub mod version;
pub mod watch;
mod write;

pub use node::{Node, StartError, Summary};

pub use quota::{Effect, Quota};
pub use store::Store;

#[cfg(test)]
#[path = "../../tests/harness/model.rs"]
#[expect(unreachable_pub, reason = "the suites use it too, from outside")]
mod model;
#[cfg(test)]
mod requests;
