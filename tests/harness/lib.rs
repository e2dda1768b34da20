//! What the suites stand on: servers as processes, clients of the raw protocol, models and judges.

pub mod by_key;
pub mod certificates;
pub mod clients;
pub mod cluster;
pub mod compat;
pub mod environment;
pub mod etcdctl;
pub mod failover;
pub mod held;
pub mod history;
pub mod kept;
pub mod kubernetes;
pub mod linearize;
pub mod matching;
pub mod model;
pub mod ports;
pub mod program;
pub mod reads;
pub mod recorder;
pub mod scratch;
pub mod seeds;
pub mod server;
pub mod tiers;
pub mod tools;
pub mod watched;
pub mod workload;
