//! Every setting there is, once: its flag, its kind, its default, and what becomes of it here.
//!
//! The flag `--foo-bar`, the variable `ETCD_FOO_BAR` and the line `foo-bar:` of a file are the same setting. Our own
//! settings take `MAINSTEM_FOO_BAR`, so that no Kubernetes service named "etcd" can set one by accident.

use super::setting::{Effect, Kind, Owner, Setting};

/// The setting that was meant by `name`, where one slip in four letters explains it.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let names = SETTINGS.iter().map(|setting| (distance(name, setting.name), setting.name));
    names.min().filter(|(slips, _)| *slips <= name.len() / 4).map(|(_, name)| name)
}

/// How many characters must be added, left out or exchanged to make the one into the other.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (line, left) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], line + 1);
        for (column, right) in other.chars().enumerate() {
            let exchanged = diagonal + usize::from(left != right);
            diagonal = row[column + 1];
            row[column + 1] = exchanged.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[row.len() - 1]
}

const fn honoured(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Setting {
    Setting { name, kind, default, effect: Effect::Honoured, owner: Owner::Etcd, help }
}

const fn ours(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Setting {
    Setting { name, kind, default, effect: Effect::Honoured, owner: Owner::Mainstem, help }
}

const fn idle(name: &'static str, kind: Kind) -> Setting {
    Setting { name, kind, default: "", effect: Effect::None, owner: Owner::Etcd, help: "" }
}

const fn always(name: &'static str, kind: Kind) -> Setting {
    Setting { name, kind, default: "", effect: Effect::Always, owner: Owner::Etcd, help: "" }
}

const fn later(name: &'static str, kind: Kind, default: &'static str, why: &'static str) -> Setting {
    Setting { name, kind, default, effect: Effect::Later(why), owner: Owner::Etcd, help: "" }
}

const DISCOVERY: &str = "name the members by --initial-cluster";
const FORCE: &str =
    "a cluster that has lost its quorum for good cannot be cut down to one member in this release";
const TRACING: &str = "tracing comes in a later release; leave it out";

use Kind::{Bool, Count, Duration, FeatureGates, Number, PeerUrls, Text, Urls};

pub(super) static SETTINGS: &[Setting] = &[
    // Ours.
    ours("role", Text, "all", "What this process is: journal, memstore, frontend, several of them, or all."),
    ours(
        "journal-endpoints",
        PeerUrls,
        "",
        "Peer URLs of some journal nodes, where the process is none itself.",
    ),
    ours(
        "listen-memstore-urls",
        PeerUrls,
        "http://localhost:2390",
        "Where a memstore of its own listens for frontends.",
    ),
    ours(
        "advertise-memstore-urls",
        PeerUrls,
        "http://localhost:2390",
        "Where frontends are told to find it; by default where it listens.",
    ),
    ours(
        "zone",
        Text,
        "",
        "What fails together, such as a rack; frontends ask memstores of their own zone first.",
    ),
    ours(
        "replicas",
        Count,
        "2",
        "Memstores of their own that should hold each partition, where there are as many.",
    ),
    ours(
        "split-after-bytes",
        Count,
        "268435456",
        "A partition that holds more in memstores of their own is cut in two; 0 is never.",
    ),
    ours(
        "split-after-writes",
        Count,
        "5000",
        "The same of a partition that is written to more often in a second; 0 is never.",
    ),
    ours("split-keys", Text, "", "Keys at which the keyspace is cut into partitions, separated by commas."),
    ours("emulated-etcd-version", Text, crate::version::EMULATED_DEFAULT, "The etcd version to report."),
    ours("frontend-threads", Count, "0", "Threads that serve clients; 0 is one per core."),
    ours(
        "memory-limit-bytes",
        Count,
        "0",
        "What this process may use; 0 is what its control group or the machine allows.",
    ),
    ours("snapshot-dir", Text, "", "Where snapshots go; by default into the data directory."),
    ours(
        "snapshot-store",
        Text,
        "",
        "Where snapshots are left for all: s3://bucket/prefix or file:///folder.",
    ),
    ours(
        "snapshot-after-bytes",
        Count,
        "67108864",
        "How much is written until the next snapshot, if that is more than the last one held.",
    ),
    ours(
        "journal-retention-bytes",
        Count,
        "134217728",
        "How much of the journal is kept although snapshots made it unnecessary, for members that lag.",
    ),
    // Member.
    honoured("name", Text, "default", "A name for people to know this member by."),
    honoured("data-dir", Text, "", "Where the data is."),
    honoured("wal-dir", Text, "", "Where the journal is; by default in the data directory."),
    honoured("config-file", Text, "", "A file with settings; flags and variables are ignored beside it."),
    honoured("version", Bool, "false", "Show the version, and stop."),
    honoured(
        "listen-client-urls",
        Urls,
        "http://localhost:2379",
        "Where to listen for clients: http://, https://, or unix:// and unixs:// with the path of a file.",
    ),
    honoured(
        "listen-client-http-urls",
        Urls,
        "",
        "Where to listen for plain HTTP, which then leaves the others.",
    ),
    honoured("listen-metrics-urls", Urls, "", "Where else to serve /metrics, /health, /livez and /readyz."),
    honoured(
        "advertise-client-urls",
        Urls,
        "http://localhost:2379",
        "Where clients are told to find this member.",
    ),
    honoured(
        "listen-peer-urls",
        PeerUrls,
        "http://localhost:2380",
        "Where to listen for other members; not done where neither this nor --initial-cluster is given.",
    ),
    honoured(
        "initial-advertise-peer-urls",
        PeerUrls,
        "http://localhost:2380",
        "Where other members are told to find this one.",
    ),
    honoured(
        "initial-cluster",
        Text,
        "",
        "The members of a new cluster, or of the one to join: NAME=PEER-URL, separated by commas.",
    ),
    honoured("initial-cluster-state", Text, "new", "new, or existing to join a cluster that is there."),
    honoured("initial-cluster-token", Text, "etcd-cluster", "Tells clusters apart that look the same."),
    honoured("max-learners", Count, "1", "How many members may follow without a vote."),
    honoured(
        "strict-reconfig-check",
        Bool,
        "true",
        "Refuse a change of the members that could leave the cluster without a majority.",
    ),
    honoured(
        "quota-backend-bytes",
        Number,
        "0",
        "How large the store may become; 0 is 2 GiB, negative is no limit.",
    ),
    honoured("max-txn-ops", Count, "128", "Operations that a transaction may have."),
    honoured("max-request-bytes", Count, "1572864", "How large a request may be."),
    honoured("max-concurrent-streams", Count, "4294967295", "Calls that one connection may have open."),
    honoured(
        "grpc-keepalive-interval",
        Duration,
        "2h",
        "When to ask a silent client whether it is there; 0 is never.",
    ),
    honoured("grpc-keepalive-timeout", Duration, "20s", "How long to wait for its answer."),
    honoured("heartbeat-interval", Count, "100", "Milliseconds between the leader's heartbeats."),
    honoured("election-timeout", Count, "1000", "Milliseconds without heartbeat before another leads."),
    honoured("socket-reuse-port", Bool, "false", "Share the port with other processes."),
    honoured("auto-compaction-mode", Text, "periodic", "periodic or revision."),
    honoured(
        "auto-compaction-retention",
        Text,
        "0",
        "How much history to keep: a time, or revisions. 0 is all.",
    ),
    honoured(
        "watch-progress-notify-interval",
        Duration,
        "10m",
        "How often idle watches that ask for it are told.",
    ),
    honoured("warning-unary-request-duration", Duration, "300ms", "Calls that take longer are logged."),
    honoured("cors", Text, "*", "Origins whose pages may ask, separated by commas."),
    honoured("host-whitelist", Text, "*", "Names that this server may be called by, separated by commas."),
    honoured("enable-grpc-gateway", Bool, "true", "Serve etcd's API as JSON over plain HTTP, too."),
    honoured("log-level", Text, "info", "debug, info, warn or error."),
    honoured("log-format", Text, "json", "json or console."),
    honoured("log-outputs", Text, "default", "stderr, stdout, or files, separated by commas."),
    honoured("enable-log-rotation", Bool, "false", "Begin a new log file when the one is full."),
    honoured(
        "log-rotation-config-json",
        Text,
        super::log_rotation::DEFAULT,
        "When a log file is full (maxsize, MB), and how many older ones stay (maxbackups) and how long (maxage, days), \
         0 being no limit of both; localtime names them by the local time and not by UTC, compress compresses them with gzip.",
    ),
    honoured(
        "auth-token",
        Text,
        "simple",
        "simple, or jwt with its options; it counts once there are users.",
    ),
    honoured(
        "feature-gates",
        FeatureGates,
        "",
        "etcd's features to turn on or off: NAME=true, separated by commas.",
    ),
    honoured("metrics", Text, "basic", "basic or extensive: here both tell everything."),
    honoured(
        "unsafe-no-fsync",
        Bool,
        "false",
        "Don't wait for the disk: a power failure loses acknowledged writes.",
    ),
    honoured(
        "corrupt-check-time",
        Duration,
        "1h",
        "How often what memstores of their own hold is compared; 0 is never.",
    ),
    honoured(
        "warning-apply-duration",
        Duration,
        "100ms",
        "Applying what was committed is logged above this.",
    ),
    // TLS. What is changed in a file counts from the next connection on.
    honoured("cert-file", Text, "", "The certificate that clients are shown at https:// URLs."),
    honoured("key-file", Text, "", "Its key."),
    honoured("client-cert-auth", Bool, "false", "Clients need a certificate."),
    honoured("trusted-ca-file", Text, "", "The authorities whose certificates clients need."),
    honoured("client-crl-file", Text, "", "Clients' certificates that count no more."),
    honoured("client-cert-allowed-hostname", Text, "", "Names of which a client's certificate needs one."),
    honoured("auto-tls", Bool, "false", "Make a certificate where none is given: clients cannot check it."),
    honoured("peer-cert-file", Text, "", "The certificate that other members are shown."),
    honoured("peer-key-file", Text, "", "Its key."),
    honoured("peer-client-cert-auth", Bool, "false", "Other members need a certificate."),
    honoured("peer-trusted-ca-file", Text, "", "The authorities whose certificates other members need."),
    honoured(
        "peer-client-cert-file",
        Text,
        "",
        "Shown to members that are dialed, instead of --peer-cert-file.",
    ),
    honoured("peer-client-key-file", Text, "", "Its key."),
    honoured("peer-crl-file", Text, "", "Other members' certificates that count no more."),
    honoured("peer-cert-allowed-cn", Text, "", "Common names of which another member's certificate has one."),
    honoured(
        "peer-cert-allowed-hostname",
        Text,
        "",
        "Names of which another member's certificate needs one.",
    ),
    honoured("peer-auto-tls", Bool, "false", "Encrypt between members, without knowing whom one speaks to."),
    honoured("self-signed-cert-validity", Count, "1", "Years for which a certificate is made."),
    honoured("tls-min-version", Text, "TLS1.2", "TLS1.2 or TLS1.3."),
    honoured("tls-max-version", Text, "", "TLS1.2 or TLS1.3."),
    honoured("cipher-suites", Text, "", "Ciphers of TLS 1.2 by Go's names, separated by commas."),
    // Asked for something that cannot be done yet.
    later("discovery", Text, "", DISCOVERY),
    later("discovery-token", Text, "", DISCOVERY),
    later("discovery-endpoints", Text, "", DISCOVERY),
    later("discovery-srv", Text, "", DISCOVERY),
    later("discovery-srv-name", Text, "", DISCOVERY),
    later("force-new-cluster", Bool, "false", FORCE),
    later("enable-distributed-tracing", Bool, "false", TRACING),
    // Without a meaning here.
    idle("snapshot-count", Count),
    idle("auth-token-ttl", Count),
    idle("bcrypt-cost", Count),
    idle("distributed-tracing-address", Text),
    idle("distributed-tracing-service-name", Text),
    idle("distributed-tracing-instance-id", Text),
    idle("distributed-tracing-sampling-rate", Number),
    idle("discovery-dial-timeout", Duration),
    idle("discovery-request-timeout", Duration),
    idle("discovery-keepalive-time", Duration),
    idle("discovery-keepalive-timeout", Duration),
    idle("discovery-insecure-transport", Bool),
    idle("discovery-insecure-skip-tls-verify", Bool),
    idle("discovery-cert", Text),
    idle("discovery-key", Text),
    idle("discovery-cacert", Text),
    idle("discovery-user", Text),
    idle("discovery-password", Text),
    idle("discovery-fallback", Text),
    idle("discovery-proxy", Text),
    idle("grpc-keepalive-min-time", Duration),
    // Whom other members are connected from is not compared with their certificates' addresses.
    idle("peer-skip-client-san-verification", Bool),
    // The JSON gateway calls the services in this process.
    idle("client-cert-file", Text),
    idle("client-key-file", Text),
    idle("enable-pprof", Bool),
    always("socket-reuse-address", Bool),
    idle("logger", Text),
    idle("max-wals", Count),
    idle("max-snapshots", Count),
    idle("memory-mlock", Bool),
    idle("backend-bbolt-freelist-type", Text),
    idle("backend-batch-interval", Duration),
    idle("backend-batch-limit", Count),
    idle("compaction-batch-limit", Count),
    idle("compaction-sleep-interval", Duration),
    idle("bootstrap-defrag-threshold-megabytes", Count),
    idle("snapshot-catchup-entries", Count),
    idle("pre-vote", Bool),
    idle("initial-election-tick-advance", Bool),
    idle("raft-read-timeout", Duration),
    idle("raft-write-timeout", Duration),
    idle("downgrade-check-time", Duration),
    idle("v2-deprecation", Text),
    idle("enable-v2", Bool),
    idle("compact-hash-check-time", Duration),
    idle("initial-corrupt-check", Bool),
    idle("compact-hash-check-enabled", Bool),
    // What remains of a lease is journaled, and outlives leaders and restarts.
    always("enable-lease-checkpoint", Bool),
    always("enable-lease-checkpoint-persist", Bool),
    idle("stop-grpc-service-on-defrag", Bool),
    idle("txn-mode-write-with-shared-buffer", Bool),
    idle("set-member-localaddr", Bool),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_setting_is_listed_once() {
        let names: BTreeSet<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
        assert_eq!(names.len(), SETTINGS.len());
    }

    #[test]
    fn a_slip_finds_the_setting() {
        assert_eq!(nearest("data-dri"), Some("data-dir"));
        assert_eq!(nearest("listen-client-url"), Some("listen-client-urls"));
        assert_eq!(nearest("nope"), None);
    }

    #[test]
    fn no_setting_collides_with_the_variables_of_a_kubernetes_service() {
        for setting in SETTINGS {
            assert!(!["ETCD_PORT", "ETCD_SERVICE_HOST"].contains(&setting.variable().as_str()));
        }
    }
}
