//! The API: etcd in front, the three tiers behind, in one process or in many.

pub mod admin;
pub mod answer;
mod arrange;
mod auto_compaction;
mod barriers;
pub mod bench;
pub mod client;
mod compare;
pub mod config;
pub mod error;
pub mod etcd;
mod evaluate;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod gateway;
mod grpc;
mod http;
mod interregnum;
pub mod leases;
mod listener;
pub mod logging;
mod members;
mod memory_keeper;
mod metrics;
mod node;
pub mod operation;
mod plan;
mod planner;
mod quota;
mod quota_keeper;
mod read;
mod route_change;
mod routes;
mod seen;
pub mod status;
mod store;
pub mod version;
pub mod watch;
mod write;

pub use client::Client;
pub use config::Config;
pub use error::Error;
pub use node::{Node, StartError, Summary};

/// The words of the tiers below that operations and answers are made of.
pub use journal::{KeyRange, LeaseId, Revision};
pub use memstore::{Event, EventKind, KeyValue};

pub use quota::{Effect, Quota};
pub use routes::{Holder, Routes};
pub use store::Store;

#[cfg(any(test, feature = "fuzzing"))]
#[path = "../../tests/harness/model.rs"]
#[allow(dead_code, unreachable_pub, reason = "the suites use it too, from outside")]
mod model;
#[cfg(test)]
mod mover;
#[cfg(test)]
mod requests;
