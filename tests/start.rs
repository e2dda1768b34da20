//! A program that cannot be started as it was told: it says in one sentence what is wrong and what to do, and nothing
//! that was acknowledged before is lost.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use harness::kept::{has_kept, put, with_a_key};
use harness::ports::free_port;
use harness::program::{Refusal, arguments, refused, refused_on_a_full_disk};
use harness::server::{Kind, Server};
use harness::tools::judge;

/// The sentence has all of these, and the program ended as one that was refused.
fn says(refusal: &Refusal, parts: &[&str]) -> Result<()> {
    ensure!(refusal.code == Some(1), "{refusal:?}");
    for part in parts {
        ensure!(refusal.sentence().contains(part), "{part:?} is not in {:?}", refusal.sentence());
    }
    Ok(())
}

fn refused_at(data: &Path) -> Result<Refusal> {
    let arguments = arguments(data, free_port()?);
    refused(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), &[])
}

#[test]
fn a_command_line_that_cannot_be_meant_is_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data").display().to_string();
    let check = |more: &[&str], variables: &[(&str, &str)], code: i32, part: &str| {
        let refusal = refused(&[&["--data-dir", &data], more].concat(), variables)?;
        ensure!(refusal.code == Some(code) && refusal.complaint.contains(part), "{more:?}: {refusal:?}");
        ensure!(!Path::new(&data).exists(), "{more:?}: nothing is touched");
        Ok(())
    };
    check(
        &["--no-such-flag"],
        &[],
        2,
        "flag provided but not defined: -no-such-flag; \"mainstem --help\" lists",
    )?;
    check(&["--data-dri=x"], &[], 2, "flag provided but not defined: -data-dri; did you mean --data-dir?")?;
    check(&["--name"], &[], 2, "flag needs an argument: -name")?;
    let number = "parse error; it takes a whole number";
    check(&["--quota-backend-bytes=much"], &[], 2, "invalid value \"much\" for flag -quota-backend-bytes: ")?;
    check(&["--quota-backend-bytes=much"], &[], 2, number)?;
    check(
        &[],
        &[("ETCD_MAX_TXN_OPS", "many")],
        1,
        "invalid value \"many\" for ETCD_MAX_TXN_OPS: parse error",
    )?;
    let both = "either unset environment variable or disable flag): ETCD_NAME";
    check(&["--name=a"], &[("ETCD_NAME", "b")], 1, both)?;
    check(&["leftover"], &[], 1, "\"leftover\" is not a valid flag: flags begin with --")?;
    let listen = "--listen-client-urls=http://127.0.0.1:1";
    check(&[listen], &[], 1, "--advertise-client-urls is required when --listen-client-urls is set")?;
    check(&["--cert-file=x"], &[], 1, "KeyFile and CertFile must both be present[key: , cert: x]")?;
    check(&["--log-level=loud"], &[], 1, "unrecognized level: \"loud\"; --log-level takes debug, info")?;
    let named = "--listen-client-urls=http://nobody:1";
    check(
        &[named, "--advertise-client-urls=http://a:1"],
        &[],
        1,
        "--listen-client-urls: expected IP in URL",
    )?;
    check(&["--auto-compaction-mode=daily"], &[], 1, "it is periodic or revision")?;
    check(
        &["--initial-cluster-state=existing"],
        &[],
        1,
        "check --initial-cluster, and that the other members run",
    )?;
    check(&["--log-outputs=/proc/nowhere/log"], &[], 1, "cannot write the log: ")
}

#[test]
fn a_configuration_file_that_cannot_be_meant_is_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let check = |name: &str, text: Option<&str>, parts: &[&str]| {
        let path = folder.path().join(name);
        text.map_or(Ok(()), |text| std::fs::write(&path, text))?;
        let argument = format!("--config-file={}", path.display());
        let refusal = refused(&[&argument], &[])?;
        says(&refusal, &[&path.display().to_string()])?;
        ensure!(refusal.complaint.lines().count() == 1, "one sentence: {refusal:?}");
        says(&refusal, parts)
    };
    check("absent", None, &["cannot be read: No such file", "name one that is there"])?;
    check("broken", Some("name: [x\n"), &["is wrong: "])?;
    check("list", Some("- a\n"), &["is wrong: it is not a list of names and values, such as \"name: one\""])?;
    check(
        "value",
        Some("max-txn-ops: many\n"),
        &["is wrong: invalid value \"many\" for max-txn-ops: parse error"],
    )
}

#[tokio::test]
async fn a_data_directory_in_use_is_refused() -> Result<()> {
    let server = with_a_key().await?;
    let refusal = refused_at(&server.data().join("data"))?;
    let holder =
        format!("data/journal is in use by another process, {}: stop it, or use another", server.pid());
    says(&refusal, &["the journal cannot start", &holder])?;
    has_kept(&server).await
}

#[tokio::test]
async fn a_data_directory_of_another_cluster_is_refused() -> Result<()> {
    let (mut server, mut other) = (with_a_key().await?, with_a_key().await?);
    server.stop()?;
    other.stop()?;
    let file = |server: &Server| server.data().join("data/journal/cluster");
    let own = std::fs::read(file(&server))?;
    std::fs::copy(file(&other), file(&server))?;
    says(
        &refused_at(&server.data().join("data"))?,
        &["belongs to cluster", "and this is cluster", "put back the one that"],
    )?;
    std::fs::write(file(&server), own)?;
    server.restart()?;
    has_kept(&server).await
}

#[tokio::test]
async fn a_damaged_identity_is_refused_and_not_replaced() -> Result<()> {
    let mut server = with_a_key().await?;
    server.stop()?;
    let file = server.data().join("data/identity");
    let own = std::fs::read(&file)?;
    std::fs::write(&file, "mainstem cluster")?;
    says(&refused_at(&server.data().join("data"))?, &["identity is damaged", "restore it from a backup"])?;
    std::fs::write(&file, own)?;
    server.restart()?;
    has_kept(&server).await
}

#[test]
fn a_data_directory_that_is_none_is_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("file");
    std::fs::write(&file, "mine")?;
    let next = "move away what is there, or use another directory (--data-dir)";
    says(&refused_at(&file)?, &["cannot use the data directory", "File exists", next])?;
    says(&refused_at(&file.join("below"))?, &["cannot use the data directory", "Not a directory", next])?;
    // Nobody can make a directory there, whatever their privileges.
    let parts =
        ["cannot use the data directory /proc/nowhere", "look at the disk, the path,", "(--data-dir)"];
    says(&refused_at(Path::new("/proc/nowhere"))?, &parts)?;
    ensure!(std::fs::read(&file)? == b"mine", "what was there is untouched");
    Ok(())
}

/// An operator who puts the program in etcd's place must not find an empty store.
#[test]
fn a_data_directory_of_etcd_is_refused_in_every_role() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    std::fs::create_dir_all(data.join("member/snap"))?;
    std::fs::write(data.join("member/snap/db"), "etcd's")?;
    let directory = data.display().to_string();
    let says_so = |more: &[&str]| {
        let refusal = refused(&[&["--data-dir", &directory], more].concat(), &[])?;
        let found = data.join("member/snap/db").display().to_string();
        says(&refusal, &["holds etcd's data", &found, "an import comes with a later release"])
    };
    says_so(&[])?;
    says_so(&["--role=journal"])?;
    for role in ["memstore", "frontend", "memstore,frontend"] {
        says_so(&["--role", role, "--journal-endpoints=http://127.0.0.1:1"])?;
    }
    let names = std::fs::read_dir(&data)?.map(|entry| Ok(entry?.file_name()));
    ensure!(names.collect::<Result<Vec<_>>>()? == ["member"], "nothing is touched");
    Ok(())
}

#[tokio::test]
async fn on_a_full_disk_it_does_not_start_and_loses_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let fresh = arguments(&folder.path().join("data"), free_port()?);
    let fresh: Vec<&str> = fresh.iter().map(String::as_str).collect();
    for _ in 0..2 {
        let refusal = refused_on_a_full_disk(64, &fresh)?;
        let next = "make room there, or move the data to a larger disk";
        says(&refusal, &["the journal cannot start", "cannot make room for a journal segment", next])?;
    }
    let mut server = with_a_key().await?;
    server.kill()?;
    // With a journal there it may start or not; it may not harm it.
    let there = arguments(&server.data().join("data"), free_port()?);
    refused_on_a_full_disk(64, &there.iter().map(String::as_str).collect::<Vec<_>>())?;
    server.restart()?;
    has_kept(&server).await
}

#[test]
fn a_port_in_use_is_refused_before_anything_is_touched() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let data = folder.path().join("data");
    let arguments = arguments(&data, taken.local_addr()?.port());
    let refusal = refused(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), &[])?;
    says(&refusal, &["cannot listen on http://127.0.0.1:", "another program uses that port; stop it"])?;
    ensure!(!data.exists(), "nothing is touched");
    Ok(())
}

/// Below what was acknowledged nothing may be cut off, so it does not start.
#[tokio::test]
async fn a_damaged_journal_is_refused_with_its_place() -> Result<()> {
    let mut server = with_a_key().await?;
    for number in 0..100 {
        put(&server, &format!("k{number}"), vec![7; 1_000]).await?;
    }
    server.stop()?;
    let journal = server.data().join("data/journal");
    let segments = std::fs::read_dir(&journal)?.filter_map(|entry| Some(entry.ok()?.path()));
    let segment = segments.filter(|path| path.extension().is_some_and(|end| end == "segment")).max();
    let segment = segment.context("there is a segment")?;
    let own = std::fs::read(&segment)?;
    let mut damaged = own.clone();
    damaged[3 * 4_096 + 100] ^= 1;
    std::fs::write(&segment, &damaged)?;
    let place = format!("{} is damaged at offset ", segment.display());
    let next = "nothing is served: look at the disk, and put back the data directory from a backup";
    says(&refused_at(&server.data().join("data"))?, &["the journal cannot start", &place, next])?;
    ensure!(std::fs::read(&segment)? == damaged, "what is there is untouched");
    std::fs::write(&segment, own)?;
    server.restart()?;
    has_kept(&server).await
}

/// Flags and their defaults, as a help of etcd's lists them: "  --name 'default'".
fn flags_of(etcd: &str) -> Result<Vec<(String, String)>> {
    let output = Command::new(judge(etcd)?).arg("--help").output()?;
    let help = [output.stdout, output.stderr].concat();
    let help = String::from_utf8(help)?;
    let lines = help.lines().filter_map(|line| line.trim_start().strip_prefix("--"));
    let flags = lines.map(|line| {
        let (name, default) = line.split_once(' ').unwrap_or((line, ""));
        (name.to_owned(), default.trim_matches('\'').to_owned())
    });
    // A line of a description may begin with a flag, too.
    let is_name =
        |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase() || b"-0123456789".contains(&byte));
    Ok(flags.filter(|(name, _)| is_name(name)).collect())
}

/// A flag does what it does in etcd, or has no effect for a reason that is told, or is refused with one.
#[test]
fn every_flag_of_etcd_is_answered_for() -> Result<()> {
    let nowhere = Path::new("/proc/nowhere");
    let base = arguments(nowhere, free_port()?);
    let base: Vec<&str> = base.iter().map(String::as_str).collect();
    for etcd in ["etcd-3.6", "etcd-3.7"] {
        let flags = flags_of(etcd)?;
        ensure!(flags.len() > 90, "{etcd} lists {flags:?}");
        for (name, default) in flags {
            // These end the program, or name a file that takes the place of flags.
            if ["version", "help", "config-file", "data-dir"].contains(&name.as_str()) {
                continue;
            }
            let listens = name.starts_with("listen-");
            let samples = [default.as_str(), "true", "1", "1m", "CompactHashCheck=true"];
            let values = if listens { &["http://127.0.0.1:0"][..] } else { &samples };
            let mut told = None;
            for value in values.iter().filter(|value| !value.is_empty()) {
                let refusal = refused(&[&base[..], &[&format!("--{name}={value}")]].concat(), &[])?;
                if !refusal.complaint.contains("invalid value") {
                    told = Some((value, refusal));
                    break;
                }
            }
            let (value, refusal) = told.with_context(|| format!("{etcd} --{name} takes no value"))?;
            let all = format!("{}{}", refusal.output, refusal.complaint);
            ensure!(!all.contains("not defined"), "{etcd} --{name}: {all}");
            let is_named = |part: &str| refusal.sentence().contains(part);
            ensure!(
                is_named("/proc/nowhere") || is_named(&name) || is_named(value),
                "{etcd} --{name}: {all}"
            );
            for line in all.lines().filter(|line| line.contains("has no effect here")) {
                ensure!(line.contains("has no effect here: "), "{etcd} --{name} without a reason: {line}");
            }
        }
    }
    Ok(())
}

/// The journal is where `--wal-dir` says, and is never begun anew beside that.
#[tokio::test]
async fn a_journal_elsewhere_is_not_started_without() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let wal = format!("--wal-dir={}", folder.path().join("wal").display());
    let mut server = Server::prepare(Kind::Mainstem { partitions: 1 })?;
    server.arguments(&[&wal]);
    server.restart()?;
    put(&server, "kept", b"yes".to_vec()).await?;
    server.stop()?;
    ensure!(!server.data().join("data/journal").exists() && folder.path().join("wal/cluster").exists());
    says(&refused_at(&server.data().join("data"))?, &[&format!("start with {wal}")])?;
    let data = arguments(&server.data().join("data"), free_port()?);
    let other = format!("--wal-dir={}", folder.path().join("other").display());
    let there: Vec<&str> = data.iter().map(String::as_str).chain([other.as_str()]).collect();
    says(&refused(&there, &[])?, &["does not hold the journal of the data directory", "that was in"])?;
    ensure!(!folder.path().join("other").exists(), "nothing is touched");
    server.restart()?;
    has_kept(&server).await
}
