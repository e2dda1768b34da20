//! From texts to types, and the rules between settings.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use super::address::addresses;
use super::security;
use super::settings::{Refusal, Settings};
use super::values::{self, Url};
use super::{
    Address, AutoCompaction, Config, FeatureGates, Format, InitialCluster, KeepAlive, Level, Limits,
    LogConfig, Output, Persona, Roles, Storage, roles,
};
use crate::version::Version;

/// etcd's quota where none is given.
const QUOTA_DEFAULT_BYTES: u64 = 2 << 30;
/// More would be a mistake: each holds everything in memory.
const REPLICAS_MAX: usize = 16;
const HOUR: Duration = Duration::from_secs(60 * 60);

fn refused(text: impl Into<String>) -> Refusal {
    Refusal::Configuration(text.into())
}

pub(super) fn typed(settings: &Settings, persona: Persona) -> Result<Config, Refusal> {
    let urls = Urls::of(settings)?;
    let storage = storage(settings, persona);
    let initial_cluster = initial_cluster(settings, &urls.peers)?;
    let client_tls = security::client(settings, &[&urls.client, &urls.http], &urls.metrics)?;
    let peer_tls = security::peer(settings, &[&urls.listen_peer, &urls.listen_memstore])?;
    let journal_endpoints = roles::journal_endpoints(settings, peer_tls.as_ref())?;
    Ok(Config {
        roles: Roles::ALL,
        name: settings.text("name").to_owned(),
        storage,
        wal_dir: Some(settings.text("wal-dir")).filter(|text| !text.is_empty()).map(PathBuf::from),
        snapshot_dir: Some(settings.text("snapshot-dir")).filter(|text| !text.is_empty()).map(PathBuf::from),
        snapshot_store: Some(settings.text("snapshot-store").to_owned()).filter(|text| !text.is_empty()),
        snapshot_after_bytes: settings.count("snapshot-after-bytes"),
        retention_bytes: settings.count("journal-retention-bytes"),
        split_keys: split_keys(settings.text("split-keys")),
        listen_client: urls.client,
        listen_http: urls.http,
        listen_metrics: urls.metrics,
        advertise_client: urls.advertise,
        client_tls,
        listen_peer: urls.listen_peer,
        // A store of its own opens one port and no more, unless it is told to.
        serve_peers: ["listen-peer-urls", "initial-cluster"].into_iter().any(|name| settings.is_set(name)),
        advertise_peer: urls.peers,
        peer_tls,
        initial_cluster,
        learners_max: small(settings, "max-learners", 1024)?,
        strict_reconfig: settings.flag("strict-reconfig-check"),
        listen_memstore: urls.listen_memstore,
        advertise_memstore: urls.memstores,
        zone: settings.text("zone").to_owned(),
        replicas: small(settings, "replicas", REPLICAS_MAX)?.max(1),
        split_after_bytes: settings.count("split-after-bytes"),
        split_after_writes: settings.count("split-after-writes"),
        corrupt_check: Some(settings.duration("corrupt-check-time")).filter(|every| !every.is_zero()),
        journal_endpoints,
        frontend_threads: small(settings, "frontend-threads", 1024)?,
        memory_limit_bytes: settings.count("memory-limit-bytes"),
        share_port: settings.flag("socket-reuse-port"),
        limits: limits(settings)?,
        keep_alive: KeepAlive {
            // As in etcd, neither can be 0.
            interval: Some(settings.duration("grpc-keepalive-interval")).filter(|interval| {
                !interval.is_zero() && !settings.duration("grpc-keepalive-timeout").is_zero()
            }),
            timeout: settings.duration("grpc-keepalive-timeout"),
        },
        heartbeat: Duration::from_millis(settings.count("heartbeat-interval")),
        election_timeout: election_timeout(settings)?,
        auto_compaction: auto_compaction(settings)?,
        progress_interval: settings.duration("watch-progress-notify-interval"),
        warn_call: settings.duration("warning-unary-request-duration"),
        unsafe_no_sync: settings.flag("unsafe-no-fsync"),
        warn_apply: settings.duration("warning-apply-duration"),
        cors: settings.text("cors").to_owned(),
        host_whitelist: settings.text("host-whitelist").to_owned(),
        gateway: settings.flag("enable-grpc-gateway"),
        version: version(settings)?,
        feature_gates: FeatureGates::default(),
    })
}

pub(super) fn version(settings: &Settings) -> Result<Version, Refusal> {
    let text = settings.text("emulated-etcd-version");
    let refusal = || refused(format!("--emulated-etcd-version={text} is not of the form 3.6.16"));
    Version::parse(text).ok_or_else(refusal)
}

pub(super) fn log(settings: &Settings, persona: Persona) -> Result<LogConfig, Refusal> {
    let level = match &settings.text("log-level").to_lowercase()[..] {
        "debug" => Level::Debug,
        "info" => Level::Info,
        "warn" | "warning" => Level::Warn,
        "error" | "dpanic" | "panic" | "fatal" => Level::Error,
        _ => {
            let other = settings.text("log-level");
            return Err(refused(format!(
                "unrecognized level: {other:?}; --log-level takes debug, info, warn or error"
            )));
        }
    };
    let format = match (settings.text("log-format"), persona) {
        ("json", Persona::Mainstem) if !settings.is_set("log-format") => Format::Console,
        ("json", _) => Format::Json,
        ("console", _) => Format::Console,
        (other, _) => {
            return Err(refused(format!("unknown log format: {other}, supported values json, console")));
        }
    };
    let outputs = settings.text("log-outputs").split(',').filter(|output| !output.is_empty()).map(output);
    Ok(LogConfig { level, format, outputs: outputs.collect(), rotation: None })
}

fn output(text: &str) -> Output {
    match text {
        // Under a service manager, stderr is its journal.
        "default" | "stderr" | "systemd/journal" => Output::Stderr,
        "stdout" => Output::Stdout,
        path => Output::File(PathBuf::from(path)),
    }
}

/// The addresses of all kinds.
struct Urls {
    client: Vec<Address>,
    http: Vec<Address>,
    metrics: Vec<Address>,
    advertise: Vec<String>,
    listen_peer: Vec<Address>,
    peers: Vec<String>,
    listen_memstore: Vec<Address>,
    memstores: Vec<String>,
}

impl Urls {
    fn of(settings: &Settings) -> Result<Urls, Refusal> {
        // In a file the default stands, as in etcd.
        let is_told = settings.is_set("advertise-client-urls") || settings.is_file;
        if settings.is_set("listen-client-urls") && !is_told {
            let text = "--advertise-client-urls is required when --listen-client-urls is set explicitly: give it \
                        the addresses at which clients reach this one";
            return Err(refused(text));
        }
        let texts =
            |name| -> Vec<String> { settings.urls(name).into_iter().map(|url: Url| url.text).collect() };
        Ok(Urls {
            client: addresses(settings, "listen-client-urls")?,
            http: addresses(settings, "listen-client-http-urls")?,
            metrics: addresses(settings, "listen-metrics-urls")?,
            advertise: texts("advertise-client-urls"),
            listen_peer: addresses(settings, "listen-peer-urls")?,
            peers: texts("initial-advertise-peer-urls"),
            listen_memstore: addresses(settings, "listen-memstore-urls")?,
            memstores: advertised_memstore(settings)?,
        })
    }
}

/// Where frontends find a memstore: where it listens, unless nobody could go there.
fn advertised_memstore(settings: &Settings) -> Result<Vec<String>, Refusal> {
    if settings.is_set("advertise-memstore-urls") || !settings.is_set("listen-memstore-urls") {
        return Ok(settings.urls("advertise-memstore-urls").into_iter().map(|url| url.text).collect());
    }
    let listens = addresses(settings, "listen-memstore-urls")?;
    let is_nowhere = |address: &&Address| {
        address.socket.tcp().is_some_and(|socket| socket.ip().is_unspecified() || socket.port() == 0)
    };
    match listens.iter().find(is_nowhere) {
        None => Ok(listens.into_iter().map(|address| address.url).collect()),
        Some(address) => Err(refused(format!(
            "--advertise-memstore-urls is required with --listen-memstore-urls={}: give it the address at which \
             frontends reach this memstore",
            address.url
        ))),
    }
}

fn storage(settings: &Settings, persona: Persona) -> Storage {
    let directory = match (settings.text("data-dir"), persona) {
        ("", Persona::Mainstem) => "mainstem.data".to_owned(),
        ("", Persona::Etcd) => format!("{}.etcd", settings.text("name")),
        (directory, _) => directory.to_owned(),
    };
    Storage::Directory(PathBuf::from(directory))
}

/// `None` where the member is on its own and nothing says that anybody should find it.
fn initial_cluster(settings: &Settings, peers: &[String]) -> Result<Option<InitialCluster>, Refusal> {
    let exists = match settings.text("initial-cluster-state") {
        "new" => false,
        "existing" => true,
        other => {
            let text = format!("invalid value {other:?} for --initial-cluster-state: new or existing");
            return Err(refused(text));
        }
    };
    let token = settings.text("initial-cluster-token").to_owned();
    let own =
        || format!("{0}={1}", settings.text("name"), peers.join(&format!(",{}=", settings.text("name"))));
    let text = match settings.text("initial-cluster") {
        "" if !exists => return Ok(None),
        "" => own(),
        text => text.to_owned(),
    };
    InitialCluster::parse(&text, token, exists)
        .map(Some)
        .map_err(|error| refused(format!("error setting up initial cluster: {error}")))
}

fn split_keys(text: &str) -> Vec<Bytes> {
    text.split(',').filter(|key| !key.is_empty()).map(|key| Bytes::copy_from_slice(key.as_bytes())).collect()
}

fn limits(settings: &Settings) -> Result<Limits, Refusal> {
    let streams = u32::try_from(settings.count("max-concurrent-streams")).unwrap_or(u32::MAX);
    let quota = settings.number("quota-backend-bytes");
    Ok(Limits {
        // What a record of the journal can carry is the end of it.
        request_bytes_max: small(settings, "max-request-bytes", 100 << 20)?,
        txn_operations_max: small(settings, "max-txn-ops", 1 << 20)?,
        streams_max: Some(streams).filter(|streams| *streams != u32::MAX),
        quota_bytes: match quota {
            0 => Some(QUOTA_DEFAULT_BYTES),
            quota => u64::try_from(quota).ok(),
        },
    })
}

/// A number that must not be absurd.
fn small(settings: &Settings, name: &'static str, most: usize) -> Result<usize, Refusal> {
    let count = usize::try_from(settings.count(name)).ok().filter(|count| *count <= most);
    count.ok_or_else(|| {
        refused(format!(
            "--{name}={} is above {most}, the most there may be; choose less",
            settings.text(name)
        ))
    })
}

fn election_timeout(settings: &Settings) -> Result<Duration, Refusal> {
    let (heartbeat, election) = (settings.count("heartbeat-interval"), settings.count("election-timeout"));
    if heartbeat == 0 || election == 0 {
        return Err(refused(
            "--heartbeat-interval and --election-timeout must be above 0; leave them out for 100 and 1000 ms",
        ));
    }
    if heartbeat.saturating_mul(5) > election {
        return Err(refused(format!(
            "--election-timeout[{election}ms] should be at least as 5 times as --heartbeat-interval[{heartbeat}ms]"
        )));
    }
    if election > 50_000 {
        return Err(refused(format!(
            "--election-timeout[{election}ms] is too long, and should be set less than 50000ms"
        )));
    }
    Ok(Duration::from_millis(election))
}

fn auto_compaction(settings: &Settings) -> Result<AutoCompaction, Refusal> {
    let text = settings.text("auto-compaction-retention");
    let mode = settings.text("auto-compaction-mode");
    let wrong = || {
        refused(format!(
            "error parsing CompactionRetention: {text:?} is neither hours, nor a time such as 30m"
        ))
    };
    match (mode, text) {
        ("periodic" | "revision", "" | "0") => Ok(AutoCompaction::Off),
        ("periodic", text) => {
            let hours = text.parse::<u32>().ok().map(|hours| HOUR * hours);
            let retention = hours.or_else(|| values::duration(text)).ok_or_else(wrong)?;
            Ok(if retention.is_zero() { AutoCompaction::Off } else { AutoCompaction::Periodic(retention) })
        }
        ("revision", text) => {
            let wrong =
                || refused(format!("error parsing CompactionRetention: {text:?} is no number of revisions"));
            Ok(AutoCompaction::Revision(text.parse().map_err(|_| wrong())?))
        }
        _ => Err(refused(format!("unknown auto-compaction-mode {mode:?}; it is periodic or revision"))),
    }
}
