//! What a journal node is told when it starts.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;

use crate::dial::Dialer;
use crate::lsn::Lsn;
use crate::member::Member;

/// Where a node keeps its journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In this directory, which one node at a time may use.
    Directory(PathBuf),
    /// Nowhere: what is written is gone with the process. For tests and caches.
    Memory,
}

/// A node's settings. `Config::single` has the defaults; change what differs.
#[derive(Clone, Debug)]
pub struct Config {
    /// The cluster's id. A directory of another cluster is refused.
    pub cluster: u64,
    /// This node's id, unique in its cluster.
    pub node: u64,
    /// Who votes. Every voter of a new cluster must be told the same. Read only where the journal is new; later
    /// the journal itself says.
    pub voters: Vec<Member>,
    /// Whether the cluster is there already, so that a new journal waits to be taken in instead of beginning with
    /// `voters`: etcd's `--initial-cluster-state existing`.
    pub join: bool,
    /// How other nodes are reached. Without it there are none.
    pub dialer: Option<Dialer>,
    /// How many may follow without a vote: etcd's `--max-learners`.
    pub learners_max: usize,
    /// Whether a change of the members is refused that could leave the cluster without a majority: etcd's
    /// `--strict-reconfig-check`.
    pub strict_reconfig: bool,
    /// True where the process serves clients. Nothing here depends on it; `Status` tells it to the others.
    pub serves_clients: bool,
    pub storage: Storage,
    /// Random number that a new data directory is marked with, so that another one is not taken for it.
    pub storage_id: u64,
    /// Acknowledge what the system has taken, without waiting for the disk. What was acknowledged survives the death
    /// of the process, and not that of the machine: a journal without this promise is for tests.
    pub unsafe_no_sync: bool,
    /// How often a leader shows that it is there: etcd's `--heartbeat-interval`.
    pub heartbeat: Duration,
    /// How long it may take until followers that miss the leader have another: etcd's `--election-timeout`. They ask
    /// each other after five eighths to three quarters of it, by chance, and sooner where the leader's process died.
    pub election_timeout: Duration,
    /// Batches proposed and not yet committed. Fewer wait for the disk more often; more delay each other.
    pub batches_in_flight_max: usize,
    /// What a batch holds before the next one begins. A larger record travels alone.
    pub batch_bytes_max: usize,
    /// The largest record.
    pub record_bytes_max: usize,
    /// How much of the newest entries the tails read from memory.
    pub recent_bytes_max: usize,
    /// How much of the journal is kept on disk although snapshots made it unnecessary: whoever lags by less
    /// catches up from the journal alone.
    pub retention_bytes: u64,
    /// How far the snapshots reach that a memstore of this process keeps to itself: the log here is trimmed no
    /// further, whatever others have marked. `None`: there is none, and marks alone count.
    pub own_snapshots: Option<watch::Receiver<Lsn>>,
    /// What the window of recent writes hashes keys with. Chance, so that nobody can choose keys that collide.
    pub seed: u64,
}

impl Config {
    /// A cluster of one, which nobody else reaches.
    #[must_use]
    pub fn single(cluster: u64, node: u64, storage: Storage) -> Config {
        Config {
            cluster,
            node,
            voters: vec![Member { id: node, ..Member::default() }],
            join: false,
            dialer: None,
            learners_max: 1,
            strict_reconfig: true,
            serves_clients: false,
            storage,
            storage_id: 1,
            unsafe_no_sync: false,
            heartbeat: Duration::from_millis(50),
            election_timeout: Duration::from_millis(800),
            batches_in_flight_max: 4,
            batch_bytes_max: 1 << 20,
            record_bytes_max: 128 << 20,
            recent_bytes_max: 32 << 20,
            retention_bytes: 128 << 20,
            own_snapshots: None,
            seed: 0,
        }
    }
}
