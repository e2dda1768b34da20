//! What a run is made of.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::faults::Kind;

#[derive(Clone, Debug)]
pub struct Settings {
    pub bin: PathBuf,
    pub arguments: Vec<OsString>,
    /// Where nodes' standard errors and the history go.
    pub logs: Option<PathBuf>,
    pub node_count: usize,
    pub time_limit: Duration,
    /// Operations a second, of all clients together.
    pub rate: f64,
    pub concurrency: usize,
    pub links: Links,
    pub nemesis: Vec<Kind>,
    /// How long a fault lasts, and how long there is none, on average.
    pub nemesis_interval: Duration,
    /// Between the last fault and the final reads.
    pub heal: Duration,
    pub seed: u64,
}

/// What becomes of messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Links {
    pub latency: Duration,
    pub loss: f64,
    pub duplicate: f64,
    pub reorder: bool,
}
