//! The API: etcd in front, the three tiers behind, in one process or in many.

#![allow(dead_code, unused_imports, reason = "the node that starts these comes next")]

pub mod config;
mod grpc;
mod http;
mod listener;
pub mod logging;
mod metrics;
pub mod version;
