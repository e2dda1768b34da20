//! The same tiers under Jepsen's checkers: a node of Maelstrom, whose every hop is one of its messages.

mod asked;
mod carrier;
pub mod check;
mod ids;
mod lines;
mod message;
mod network;
pub mod node;
mod roles;
pub mod runner;
mod stream;
mod workloads;
