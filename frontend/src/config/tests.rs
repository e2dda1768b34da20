//! Whole command lines.

mod addresses;
mod gates;

use super::*;

fn started(persona: Persona, line: &str) -> Result<Start, Refusal> {
    let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    match read(persona, &arguments, std::iter::empty())? {
        Command::Start(start) => Ok(*start),
        other => panic!("{line} asks for {other:?}"),
    }
}

fn config(line: &str) -> Config {
    started(Persona::Mainstem, line).expect(line).config
}

fn refusal(line: &str) -> String {
    started(Persona::Mainstem, line).expect_err(line).to_string()
}

#[test]
fn each_name_has_its_own_defaults() {
    let ours = started(Persona::of("/usr/bin/mainstem"), "").expect("it needs nothing");
    assert_eq!(ours.config.storage, Storage::Directory("mainstem.data".into()));
    assert_eq!(ours.log.format, Format::Console);
    let etcds = started(Persona::of("/usr/local/bin/etcd"), "--name a").expect("it needs no more");
    assert_eq!(etcds.config.storage, Storage::Directory("a.etcd".into()));
    assert_eq!(etcds.log.format, Format::Json);
    assert_eq!(etcds.config.listen_client[0].socket.to_string(), "127.0.0.1:2379");
}

#[test]
fn listening_elsewhere_needs_an_address_to_advertise() {
    let expected = "--advertise-client-urls is required when --listen-client-urls is set explicitly: give it the \
                    addresses at which clients reach this one";
    assert_eq!(refusal("--listen-client-urls http://127.0.0.1:1"), expected);
    let config =
        config("--listen-client-urls http://127.0.0.1:1,http://0.0.0.0:2 --advertise-client-urls http://a:1");
    assert_eq!(config.listen_client.len(), 2);
    assert_eq!(config.advertise_client, ["http://a:1"]);
}

#[test]
fn what_this_release_cannot_do_is_refused_with_the_reason() {
    let check = |line: &str, part: &str| assert!(refusal(line).contains(part), "{line}: {}", refusal(line));
    check("--force-new-cluster", "has lost its quorum");
    check("--discovery https://discovery.example/1", "name the members by --initial-cluster");
}

/// etcd's sample file sets these, without any certificate.
#[test]
fn how_tls_would_be_spoken_does_not_switch_it_on() {
    let config = config(
        "--tls-min-version TLS1.2 --tls-max-version TLS1.3 --cipher-suites TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    );
    assert_eq!((config.client_tls, config.peer_tls), (None, None));
}

#[test]
fn what_would_change_nothing_is_accepted() {
    config(
        "--auto-tls=false --auth-token simple --socket-reuse-address --initial-cluster default=http://localhost:2380",
    );
    let start = started(
        Persona::Etcd,
        "--enable-v2 --logger zap --log-outputs stderr --snapshot-count 100 \
        --experimental-initial-corrupt-check --experimental-corrupt-check-time 1m --unsafe-no-fsync",
    );
    let start = start.expect("it is how test suites start etcd");
    let warnings: Vec<&str> = start.warnings.iter().map(|warning| warning.0.as_str()).collect();
    assert_eq!(
        warnings,
        [
            "--unsafe-no-fsync: writes are acknowledged before they are on disk, and a power failure or a crash of the \
             machine LOSES them, or the whole store; never use it for data that matters",
            "--enable-v2 has no effect here: there is no v2 store",
            "--initial-corrupt-check has no effect here: replicas are compared while they serve (--corrupt-check-time), and \
             one that differs is built again",
            "--logger has no effect here: there is one logger",
            "--snapshot-count has no effect here: memstores take snapshots by what was written (--snapshot-after-bytes)",
            "--corrupt-check-time has no effect here: it is for processes with the role frontend, without memstore",
        ]
    );
    assert!(start.config.unsafe_no_sync && !config("").unsafe_no_sync);
}

/// k0s sets one, and turns authentication on nowhere.
#[test]
fn tokens_are_read_as_by_etcd_and_not_used_yet() {
    let line = "--auth-token=jwt,pub-key=a.pem,priv-key=a.key,sign-method=RS512,ttl=10m";
    let start = started(Persona::Etcd, line).expect("there are no users");
    let expected = "--auth-token=jwt has no effect yet: users and their tokens come in a later release";
    assert_eq!(start.warnings, [Warning(expected.to_owned())]);
    for (line, why) in [
        ("--auth-token=nope", "auth: invalid auth options"),
        ("--auth-token=jwt", "auth: invalid auth signature method"),
        ("--auth-token=jwt,sign-method=none", "auth: invalid auth signature method"),
        ("--auth-token=jwt,pub-key", "auth: invalid auth options"),
        ("--auth-token=jwt,ttl=1s,ttl=2s", "auth: invalid auth options"),
    ] {
        assert!(refusal(line).contains(why), "{line}: {}", refusal(line));
    }
}

#[test]
fn a_level_of_the_log_is_written_either_way() {
    for (text, level) in [("INFO", Level::Info), ("Warning", Level::Warn), ("dpanic", Level::Error)] {
        let start = started(Persona::Etcd, &format!("--log-level={text}")).expect(text);
        assert_eq!(start.log.level, level);
    }
}

#[test]
fn log_files_are_rotated_as_it_is_said() {
    let rotation =
        |line: &str| started(Persona::Etcd, line).map(|start| (start.log.rotation, start.warnings));
    assert_eq!(rotation("--log-outputs a.log").expect("it is well formed"), (None, Vec::new()));
    let default = LogRotation {
        file_bytes_max: 100 << 20,
        files_max: None,
        age_max: None,
        is_local: false,
        compresses: false,
    };
    let line = "--enable-log-rotation --log-outputs stderr,a.log";
    assert_eq!(rotation(line).expect("it is well formed"), (Some(default), Vec::new()));
    let json = r#"--log-rotation-config-json={"maxsize":1,"maxage":2,"maxbackups":3,"compress":true,"localtime":true}"#;
    let (found, warnings) = rotation(&format!("{line} {json}")).expect("it is well formed");
    let age_max = Some(Duration::from_secs(172_800));
    let expected = LogRotation {
        file_bytes_max: 1 << 20,
        files_max: Some(3),
        age_max,
        is_local: true,
        compresses: true,
    };
    assert_eq!((found, warnings), (Some(expected), Vec::new()));
    for (line, why) in [
        ("--enable-log-rotation", "--log-outputs requires a single file path when"),
        ("--enable-log-rotation --log-outputs a,b", "--log-outputs requires a single file path when"),
        (&format!("{line} --log-rotation-config-json={{"), "improperly formatted log rotation config: "),
        (
            &format!("{line} --log-rotation-config-json={{\"maxsize\":\"a\"}}"),
            "invalid log rotation config: maxsize is \"a\"",
        ),
    ] {
        assert!(refusal(line).contains(why), "{line}: {}", refusal(line));
    }
}

#[test]
fn compaction_by_time_is_in_hours_unless_it_says_otherwise() {
    let check = |line: &str, expected| assert_eq!(config(line).auto_compaction, expected, "{line}");
    check("", AutoCompaction::Off);
    check("--auto-compaction-retention 2", AutoCompaction::Periodic(Duration::from_secs(7_200)));
    check("--auto-compaction-retention 30m", AutoCompaction::Periodic(Duration::from_secs(1_800)));
    check(
        "--auto-compaction-mode revision --auto-compaction-retention 1000",
        AutoCompaction::Revision(1_000),
    );
    let unknown = "unknown auto-compaction-mode \"nope\"; it is periodic or revision";
    assert_eq!(refusal("--auto-compaction-mode nope"), unknown);
    assert!(refusal("--auto-compaction-retention abc").contains("CompactionRetention"));
}

#[test]
fn limits_are_etcds() {
    let limits = config("").limits;
    let expected = Limits {
        request_bytes_max: 1_572_864,
        txn_operations_max: 128,
        streams_max: None,
        quota_bytes: Some(2_147_483_648),
    };
    assert_eq!(limits, expected);
    assert_eq!(config("--quota-backend-bytes=-1").limits.quota_bytes, None);
    assert_eq!(config("--max-concurrent-streams 7").limits.streams_max, Some(7));
    assert!(refusal("--max-request-bytes 999999999999").contains("the most there may be"));
}

#[test]
fn an_election_takes_several_heartbeats() {
    assert!(refusal("--heartbeat-interval 300").contains("should be at least as 5 times as"));
    assert!(refusal("--election-timeout 60000").contains("is too long"));
}

#[test]
fn the_keyspace_is_split_at_the_keys_given() {
    assert_eq!(config("--split-keys b,m").split_keys, ["b", "m"]);
}

#[test]
fn a_file_excludes_flags_and_variables() {
    let directory = tempfile::tempdir().expect("there is room");
    let path = directory.path().join("etcd.yaml");
    std::fs::write(&path, "name: from-file\nlisten-client-urls: http://127.0.0.1:1\n")
        .expect("there is room");
    let line = format!("--name flag --config-file {}", path.display());
    let start = started(Persona::Etcd, &line).expect("both are well formed");
    assert_eq!(start.config.name, "from-file");
    // A flag would have to be told it; in a file the default stands.
    assert_eq!(start.config.advertise_client, ["http://localhost:2379"]);
    assert_eq!(start.warnings.len(), 1);
}

#[test]
fn the_version_can_be_asked_for_and_chosen() {
    let arguments = ["--version".to_owned(), "--emulated-etcd-version=3.7.3".to_owned()];
    match read(Persona::Etcd, &arguments, std::iter::empty()) {
        Ok(Command::Version(version)) => assert_eq!(version.server(), "3.7.3"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn help_tells_every_setting_that_has_an_effect() {
    let usage = usage(Persona::Mainstem);
    assert!(usage.contains("--split-keys ''") && usage.contains("--max-txn-ops '128'"), "{usage}");
    assert!(usage.contains("--cert-file") && !usage.contains("--client-cert-file"));
}

#[test]
fn other_members_are_served_where_it_was_asked_for() {
    assert!(!config("").serve_peers);
    for line in
        ["--listen-peer-urls http://127.0.0.1:2380", "--initial-cluster default=http://localhost:2380"]
    {
        let config = config(line);
        assert!(config.serve_peers && config.listen_peer[0].socket.to_string() == "127.0.0.1:2380", "{line}");
    }
}

#[test]
fn a_cluster_is_named_by_its_first_members() {
    assert_eq!(config("").initial_cluster, None);
    let line = "--initial-cluster b=http://b:2380,a=http://a:2380,b=http://b:2381 --initial-cluster-token t";
    let cluster = config(line).initial_cluster.expect("it is named");
    assert_eq!((cluster.token.as_str(), cluster.exists), ("t", false));
    assert_eq!(cluster.members["b"], ["http://b:2380", "http://b:2381"]);
    let joined = config("--initial-cluster-state existing --name a").initial_cluster.expect("it is meant");
    assert!(joined.exists && joined.members["a"] == ["http://localhost:2380"]);
}

#[test]
fn a_cluster_that_cannot_be_is_refused_in_etcds_words() {
    let check = |line: &str, text: &str| assert_eq!(refusal(line), text, "{line}");
    check(
        "--initial-cluster a=127.0.0.1:2380",
        "error setting up initial cluster: URL scheme must be http, https, unix, or unixs: 127.0.0.1:2380",
    );
    check(
        "--initial-cluster a",
        "error setting up initial cluster: URL scheme must be http, https, unix, or unixs: ",
    );
    check(
        "--initial-cluster a=http://a",
        "error setting up initial cluster: URL address does not have the form \"host:port\": http://a",
    );
    check(
        "--initial-cluster-state nope",
        "invalid value \"nope\" for --initial-cluster-state: new or existing",
    );
}

#[test]
fn a_process_has_the_roles_that_it_is_told() {
    assert_eq!(config("").roles, Roles::ALL);
    assert_eq!(config("--role all").roles, Roles::ALL);
    assert_eq!(config("journal --name a").roles.to_string(), "journal");
    let there = config("--role memstore,frontend --journal-endpoints http://a:2380,http://b:2380");
    assert_eq!(there.roles.to_string(), "memstore,frontend");
    assert_eq!(there.journal_endpoints, ["http://a:2380", "http://b:2380"]);
}

#[test]
fn a_journal_serves_others_and_no_clients() {
    let config = config("journal");
    assert!(config.serve_peers && config.advertise_client.is_empty());
    let line = "journal --listen-client-urls http://127.0.0.1:1 --advertise-client-urls http://a:1";
    let started = started(Persona::Mainstem, line).expect("it is well formed");
    assert_eq!(started.config.advertise_client, ["http://a:1"]);
    let expected = "--listen-client-urls has no effect here: it is for processes with the role frontend";
    assert_eq!(started.warnings, [Warning(expected.to_owned())]);
}

#[test]
fn roles_that_lack_something_are_refused_with_what_to_do() {
    let check = |line: &str, part: &str| assert!(refusal(line).contains(part), "{line}: {}", refusal(line));
    check("--role voter", "\"voter\" is none of journal, memstore, frontend and all");
    check(
        "--role memstore,frontend",
        "needs a journal: give the peer URLs of some of its nodes by --journal-endpoints",
    );
    check("--journal-endpoints http://a:2380", "cannot be used with --role=journal,memstore,frontend");
    check(
        "memstore --journal-endpoints http://a:2380 --listen-memstore-urls http://0.0.0.0:2390",
        "--advertise-memstore-urls is required with --listen-memstore-urls=http://0.0.0.0:2390",
    );
    check(
        "--role memstore,frontend --journal-endpoints https://a:2380",
        "--journal-endpoints=https://a:2380 needs to know whom to believe",
    );
}
