//! What a node is told: etcd's settings as far as they concern this release, and a few of our own.
//!
//!     flags ─┐
//!     env  ──┼─► one map of texts ─► judged ─► Config, typed        a file excludes the other two
//!     file ──┘
//!
//! Nothing is silently ignored: what has no effect here is a warning, and what asks for something that cannot be
//! done is refused.

mod address;
mod auth_token;
mod env;
mod feature_gates;
mod file;
mod flags;
mod help;
mod idle;
mod initial_cluster;
mod log_rotation;
mod names;
mod roles;
mod security;
mod setting;
mod settings;
mod table;
mod typed;
mod values;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;

pub use self::address::{Address, SocketAddress};
pub use self::feature_gates::{FeatureGate, FeatureGates};
use self::flags::Asked;
pub use self::initial_cluster::InitialCluster;
pub(crate) use self::initial_cluster::{member_id, peer_urls};
pub use self::roles::Roles;
pub use self::security::Tls;
pub use self::settings::{Refusal, Warning};
use crate::http::{Names, Origins};
pub use crate::logging::{Format, Level, LogConfig, LogRotation, Output};
use crate::version::Version;

/// Which name the program was started by: some defaults follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persona {
    Mainstem,
    /// In etcd's place: its defaults, its log.
    Etcd,
}

impl Persona {
    /// From the path that the program was started by.
    #[must_use]
    pub fn of(program: &str) -> Persona {
        match Path::new(program).file_name().is_some_and(|name| name == "etcd") {
            true => Persona::Etcd,
            false => Persona::Mainstem,
        }
    }
}

/// Where the data is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    Directory(PathBuf),
    /// Nowhere: it is gone with the process. For tests and caches.
    Memory,
}

/// When the store compacts itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoCompaction {
    Off,
    /// Keep what was current within this time.
    Periodic(Duration),
    /// Keep this many revisions.
    Revision(u64),
}

/// What clients may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    pub request_bytes_max: usize,
    pub txn_operations_max: usize,
    /// Calls that one connection may have open. `None`: any number.
    pub streams_max: Option<u32>,
    /// How large the store may become. `None`: no limit.
    pub quota_bytes: Option<u64>,
}

/// When a silent client is asked whether it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// `None`: never.
    pub interval: Option<Duration>,
    pub timeout: Duration,
}

/// A node's settings. `Config::ephemeral` has the defaults; change what differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub roles: Roles,
    pub name: String,
    pub storage: Storage,
    /// Directory of the journal. `None`: in the data directory.
    pub wal_dir: Option<PathBuf>,
    /// Where snapshots go. `None`: beside the journal.
    pub snapshot_dir: Option<PathBuf>,
    /// Where else they are left, and looked for: a URL. `None`: with members alone.
    pub snapshot_store: Option<String>,
    /// How much is written until the next snapshot, if that is more than the last one held.
    pub snapshot_after_bytes: u64,
    /// How much of the journal is kept although snapshots made it unnecessary.
    pub retention_bytes: u64,
    pub split_keys: Vec<Bytes>,
    pub listen_client: Vec<Address>,
    /// Not empty: plain HTTP is served here instead of on `listen_client`.
    pub listen_http: Vec<Address>,
    /// Plain HTTP as well.
    pub listen_metrics: Vec<Address>,
    pub advertise_client: Vec<String>,
    /// Of all addresses that are not for members. Needed where one is secure.
    pub client_tls: Option<Tls>,
    /// Where other members are served.
    pub listen_peer: Vec<Address>,
    /// Whether they are also where there are none yet.
    pub serve_peers: bool,
    pub advertise_peer: Vec<String>,
    /// Of `listen_peer`, and of what is dialed.
    pub peer_tls: Option<Tls>,
    /// What a node without data begins with. `None`: a cluster of its own, which it names by chance.
    pub initial_cluster: Option<InitialCluster>,
    /// How many members may follow without a vote.
    pub learners_max: usize,
    /// Whether a change of the members is refused that could leave the cluster without a majority.
    pub strict_reconfig: bool,
    /// Where a memstore of its own serves frontends, and where these are told to find it.
    pub listen_memstore: Vec<Address>,
    pub advertise_memstore: Vec<String>,
    /// What fails together with this process. Empty: nobody knows.
    pub zone: String,
    /// How many memstores of their own should hold each partition.
    pub replicas: usize,
    /// Partitions of memstores of their own that hold more are cut in two. 0: none is.
    pub split_after_bytes: u64,
    /// The same of those that are written to more often in a second.
    pub split_after_writes: u64,
    /// How often each partition of memstores of their own is compared. `None`: never.
    pub corrupt_check: Option<Duration>,
    /// Where the journal is, for a process that has none itself.
    pub journal_endpoints: Vec<String>,
    /// 0: one per core.
    pub frontend_threads: usize,
    pub share_port: bool,
    /// What this process may use. 0: as much as the system gives it.
    pub memory_limit_bytes: u64,
    pub limits: Limits,
    pub keep_alive: KeepAlive,
    pub heartbeat: Duration,
    pub election_timeout: Duration,
    pub auto_compaction: AutoCompaction,
    pub progress_interval: Duration,
    /// Calls that take longer are logged.
    pub warn_call: Duration,
    /// Acknowledge writes before they are on disk: a machine that dies takes them along.
    pub unsafe_no_sync: bool,
    /// Applies to the memstores that take longer are logged.
    pub warn_apply: Duration,
    pub cors: String,
    pub host_whitelist: String,
    /// Whether plain HTTP has etcd's API as JSON.
    pub gateway: bool,
    pub version: Version,
    pub feature_gates: FeatureGates,
}

impl Config {
    /// A node without disk and without sockets: a store inside a program.
    #[must_use]
    pub fn ephemeral() -> Config {
        let defaults = typed::typed(&settings::Settings::default(), Persona::Mainstem);
        let defaults = defaults.expect("the defaults are well formed");
        Config { storage: Storage::Memory, listen_client: Vec::new(), ..defaults }
    }

    /// As `ephemeral`, with the data in a directory.
    #[must_use]
    pub fn in_directory(directory: impl Into<PathBuf>) -> Config {
        Config { storage: Storage::Directory(directory.into()), ..Config::ephemeral() }
    }

    pub(crate) fn origins(&self) -> Origins {
        Origins { cors: Names::parse(&self.cors), hosts: Names::parse(&self.host_whitelist) }
    }
}

/// What the program was asked to do.
#[derive(Debug)]
pub enum Command {
    Start(Box<Start>),
    Version(Version),
    Help,
}

/// A node to start, and how to tell of it.
#[derive(Debug)]
pub struct Start {
    pub config: Config,
    pub log: LogConfig,
    pub warnings: Vec<Warning>,
}

/// Reads what the program was told.
///
/// # Errors
/// A `Refusal`: what is wrong with it.
pub fn read(
    persona: Persona,
    arguments: &[String],
    variables: impl Iterator<Item = (String, String)>,
) -> Result<Command, Refusal> {
    let mut settings = match flags::parse(&role_first(persona, arguments))? {
        Asked::Help => return Ok(Command::Help),
        Asked::Start(settings) => settings,
    };
    let asked_version = settings.flag("version");
    let variables: Vec<(String, String)> = variables.collect();
    let from_env =
        variables.iter().find(|(name, _)| name == "ETCD_CONFIG_FILE").map(|(_, path)| path.clone());
    let file = settings.is_set("config-file").then(|| settings.text("config-file").to_owned()).or(from_env);
    match file.filter(|file| !file.is_empty()) {
        Some(file) => {
            settings = file::read(Path::new(&file))?;
            settings
                .warn(format!("the settings are those of {file}; flags and variables are ignored beside it"));
        }
        None => env::merge(&mut settings, variables.into_iter())?,
    }
    if asked_version {
        return Ok(Command::Version(typed::version(&settings)?));
    }
    settings.judge()?;
    auth_token::check(&mut settings)?;
    let roles = roles::roles(&mut settings)?;
    let config = roles::suited(roles, &settings, typed::typed(&settings, persona)?);
    address::conflicts(&config)?;
    let feature_gates = FeatureGates::read(&mut settings, &config.version)?;
    let config = Config { feature_gates, ..config };
    let mut log = typed::log(&settings, persona)?;
    log.rotation = log_rotation::read(&mut settings, &log.outputs)?;
    security::warnings(&settings, &config).into_iter().for_each(|text| settings.warn(text));
    Ok(Command::Start(Box::new(Start { config, log, warnings: settings.warnings })))
}

/// `mainstem journal …` is `mainstem --role=journal …`.
fn role_first(persona: Persona, arguments: &[String]) -> Vec<String> {
    let mut arguments = arguments.to_vec();
    let first = arguments.first_mut().filter(|_| persona == Persona::Mainstem);
    if let Some(first) = first.filter(|first| Roles::named(first).is_some()) {
        *first = format!("--role={first}");
    }
    arguments
}

pub use self::help::usage;

#[cfg(test)]
mod tests;
