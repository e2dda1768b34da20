//! The API: etcd in front, the three tiers behind, in one process or in many.

#![allow(dead_code, unused_imports, reason = "the node does not serve the KV calls yet")]

pub mod answer;
mod arrange;
mod barriers;
pub mod bench;
mod compare;
pub mod config;
pub mod error;
pub mod etcd;
mod evaluate;
mod grpc;
mod http;
mod listener;
pub mod logging;
mod metrics;
mod node;
pub mod operation;
mod quota;
mod seen;
pub mod version;

pub use node::{Node, StartError, Summary};

pub use quota::{Effect, Quota};

#[cfg(test)]
#[path = "../../tests/harness/model.rs"]
#[expect(unreachable_pub, reason = "the suites use it too, from outside")]
mod model;
#[cfg(test)]
mod requests;
