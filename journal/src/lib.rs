//! The order: an ordered, durable journal of facts, and the sequencer that gives each its revision.

mod client;
mod clock;
mod codec;
mod config;
mod confirmation;
mod conflicts;
mod error;
mod key_range;
mod lessor;

mod lsn;
mod memory_log;
mod node;
mod origin;
mod raft;
mod record;
mod revision;
mod sequencer;
mod sequencer_task;
mod state;
mod tail;
mod trim;
mod verdict;

pub use client::{Expired, Journal, LeaseStatus, Status};
pub use clock::{Clock, ManualClock, SystemClock, Wait};
pub use config::{Config, Storage};
pub use error::Error;
pub use key_range::KeyRange;
pub use lsn::Lsn;
pub use node::Node;
pub use origin::Origin;
pub use record::{Alarm, Append, Batch, Entry, LeaseId, Read, Record, SysOp, Write};
pub use revision::Revision;
pub use tail::Tail;
pub use verdict::{Barrier, Fate, Verdict};
