//! Consensus: the only place that knows openraft. Everything above speaks of positions, terms and batches.
//!
//!     Sequencer ── propose ──► Raft ──► LogStore ──► segments
//!         ▲                      │
//!         └──── applied ◄── StateMachine ──► tails
//!
//! openraft counts entries from 0 and we count positions from 1, so `position = index + 1`, here and nowhere else.

pub(crate) mod cluster;
pub(crate) mod contact;
mod entry;
mod fence;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
pub(crate) mod introduction;
mod leader_check;
pub(crate) mod log_store;
pub(crate) mod lookout;
mod members;
mod membership;
mod message;
pub(crate) mod network;
pub(crate) mod outcast;
mod peer;
mod peer_activity;
pub(crate) mod promise;
mod reconfigure;
mod runtime;
pub(crate) mod snapshot;
pub(crate) mod state_machine;
mod timers;
mod types;
pub(crate) mod voter_registry;

pub(crate) use cluster::{Cluster, Landing, Leadership};
pub(crate) use fence::Fence;
pub(crate) use timers::Timers;
