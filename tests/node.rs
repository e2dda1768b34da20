//! A node that runs into trouble: full, killed, sent nonsense. It answers with etcd's error, and nothing that it had
//! acknowledged is lost.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::clients::Clients;
use harness::kept::{MAINSTEM, TIERS, get, get_at, has_kept, put, put_at, with_a_key, with_a_key_in};
use harness::ports::free_port;
use harness::program::{Serving, arguments};
use harness::server::{Kind, Server};
use proto::etcdserverpb::alarm_request::AlarmAction;
use proto::etcdserverpb::{
    AlarmMember, AlarmRequest, CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest,
    PutRequest, RangeRequest, StatusRequest, WatchCreateRequest,
};
use tonic::{Code, Status};

#[tokio::test]
async fn a_disk_that_fills_up_ends_it_and_loses_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let port = free_port()?;
    let (arguments, endpoint) =
        (arguments(&folder.path().join("data"), port), format!("http://127.0.0.1:{port}"));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut serving = Serving::start(&arguments)?;
    put_at(&endpoint, "kept", b"yes".to_vec()).await?;
    serving.fill_disk(1 << 20)?;
    let mut acknowledged = 0;
    while put_at(&endpoint, &format!("k{acknowledged}"), vec![7; 100_000]).await.is_ok() {
        acknowledged += 1;
        ensure!(acknowledged < 1_000, "a hundred megabytes went into one");
    }
    let ended = serving.ended()?;
    let errors: Vec<&str> = ended.complaint.lines().filter(|line| line.contains("\terror\t")).collect();
    ensure!(ended.code == Some(1) && errors.len() == 1, "one line tells it: {ended:?}");
    for part in ["the journal has stopped", "cannot write to ", "File too large", "make room there"] {
        ensure!(errors[0].contains(part), "{part:?} is not in {:?}", errors[0]);
    }
    let leads = ended.complaint.matches("this node leads the journal").count();
    ensure!(leads == 1, "leadership is not taken up again: {ended:?}");
    // There is room again.
    let _serving = Serving::start(&arguments)?;
    ensure!(get_at(&endpoint, "kept").await?.as_deref() == Some(b"yes"), "the first key is lost");
    for number in 0..acknowledged {
        let value = get_at(&endpoint, &format!("k{number}")).await?;
        ensure!(value == Some(vec![7; 100_000]), "k{number} of {acknowledged} is lost");
    }
    Ok(())
}

#[tokio::test]
async fn killed_it_starts_again_with_everything() -> Result<()> {
    for kind in [MAINSTEM, TIERS] {
        let mut server = with_a_key_in(kind).await?;
        for round in 0..3 {
            put(&server, "round", vec![round]).await?;
            server.kill()?;
            server.restart()?;
            ensure!(get(&server, "round").await? == Some(vec![round]), "{kind:?}: round {round} is lost");
        }
        has_kept(&server).await?;
    }
    Ok(())
}

#[tokio::test]
async fn asked_to_stop_it_tells_its_watchers_and_ends_with_zero() -> Result<()> {
    for kind in [MAINSTEM, TIERS] {
        stops(with_a_key_in(kind).await?).await.with_context(|| format!("{kind:?}"))?;
    }
    Ok(())
}

/// Of a store in tiers, the frontend that is asked.
async fn stops(server: Server) -> Result<()> {
    let mut server = server;
    let create = WatchCreateRequest { key: "kept".into(), ..WatchCreateRequest::default() };
    let mut answers = Clients::new(&server.endpoint())?.watching(create).await?;
    ensure!(answers.message().await?.context("an answer")?.created, "the watcher is created");
    let stopped = tokio::task::spawn_blocking(move || server.stop().map(|()| server));
    let status = answers.message().await.expect_err("the watch ends");
    ensure!(
        (status.code(), status.message()) == (Code::Unavailable, "etcdserver: server stopped"),
        "{status:?}"
    );
    let mut server = stopped.await??;
    server.restart()?;
    has_kept(&server).await
}

/// Whatever comes is read or refused, and the next client is served. etcd's answers to these differ in their
/// bytes, so only that is asked for. Behind a frontend of its own nobody gets them.
#[tokio::test]
async fn malformed_bytes_harm_nobody() -> Result<()> {
    let server = with_a_key().await?;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let mut attempts: Vec<Vec<u8>> = vec![
        b"GET".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"GET /health HTTP/1.1\r\nContent-Length: -1\r\n\r\n".to_vec(),
        b"POST /health HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"
            .to_vec(),
        [b"GET /".to_vec(), vec![b'a'; 1 << 20]].concat(),
        [b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec(), vec![b'a'; 1 << 20]].concat(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        preface[..10].to_vec(),
        preface.clone(),
    ];
    // Frames: a length that never comes, one beyond what is allowed, unknown types, data for no stream,
    // settings of a wrong size, a window that overflows, headers that are not compressed as they should be.
    for frame in [
        &b"\x00\x40\x00\x00\x00\x00\x00\x00\x01half"[..],
        b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
        b"\x00\x00\x01\xee\xff\x00\x00\x00\x01x",
        b"\x00\x00\x01\x00\x00\x00\x00\x00\x07x",
        b"\x00\x00\x05\x04\x00\x00\x00\x00\x00abcde",
        b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x7f\xff\xff\xff",
        b"\x00\x00\x04\x01\x05\x00\x00\x00\x01\xff\xff\xff\xff",
        b"\x00\x00\x00\x09\x04\x00\x00\x00\x01",
    ] {
        attempts.push([&preface[..], b"\x00\x00\x00\x04\x00\x00\x00\x00\x00", frame].concat());
    }
    let mut random = 7_u64;
    for round in 0..200 {
        let noise = (0..64 + round * 8).map(|_| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            random.to_be_bytes()[0]
        });
        let start = if round % 2 == 0 { Vec::new() } else { preface.clone() };
        attempts.push(start.into_iter().chain(noise).collect());
    }
    for attempt in &attempts {
        send(server.port(), attempt)?;
    }
    ensure!(!server.log().contains("panicked"), "{}", server.log());
    has_kept(&server).await?;
    put(&server, "kept", b"yes".to_vec()).await?;
    Ok(())
}

fn send(port: u16, bytes: &[u8]) -> Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    // It need not read all of it, nor say anything; it has to let go of us.
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    if stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write)).is_ok() {
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        let kept_waiting = read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        ensure!(
            !kept_waiting,
            "it keeps a connection that has ended: {}",
            bytes[..bytes.len().min(64)].escape_ascii()
        );
    }
    Ok(())
}

/// What is asked too much, of the future, of the past or of nobody is refused in etcd's words.
#[tokio::test]
async fn what_cannot_be_answered_is_refused_as_by_etcd() -> Result<()> {
    let mut told = Vec::new();
    for kind in [Kind::Etcd36, MAINSTEM, TIERS] {
        let server = Server::start(kind)?;
        told.push(refusals(&server).await?);
        put(&server, "after", b"it lives".to_vec()).await?;
    }
    for ours in &told[1..] {
        ensure!(told[0] == *ours, "etcd: {:#?}\nours: {ours:#?}", told[0]);
    }
    Ok(())
}

async fn refusals(server: &Server) -> Result<Vec<(Code, String)>> {
    let Clients { mut kv, mut lease, .. } = Clients::new(&server.endpoint())?;
    for value in 0..5 {
        put(server, "a", vec![value]).await?;
    }
    let at = |revision| RangeRequest { key: "a".into(), revision, ..RangeRequest::default() };
    let compact = |revision| CompactionRequest { revision, physical: true };
    kv.compact(compact(4)).await?;
    let leased = PutRequest { key: "a".into(), lease: 4711, ..PutRequest::default() };
    let refused = [
        put(server, "a", vec![0; 1_600_000]).await.err(),
        put(server, "a", vec![0; 3_000_000]).await.err(),
        put(server, "", vec![]).await.err(),
        kv.range(at(3)).await.err(),
        kv.range(at(7)).await.err(),
        kv.compact(compact(4)).await.err(),
        kv.compact(compact(99)).await.err(),
        kv.put(leased).await.err(),
        lease.lease_revoke(LeaseRevokeRequest { id: 4711 }).await.err(),
        lease.lease_grant(LeaseGrantRequest { ttl: 9_000_000_001, id: 0 }).await.err(),
    ];
    let statuses = refused.into_iter().map(|status| status.context("it should be refused"));
    statuses.map(|status| status.map(|status| (status.code(), status.message().to_owned()))).collect()
}

#[tokio::test]
async fn a_full_store_says_so_and_lives_on_when_there_is_room() -> Result<()> {
    for kind in [MAINSTEM, TIERS] {
        let server = Server::start_with(kind, &["--quota-backend-bytes=4000000"])?;
        fills_up(&server).await.with_context(|| format!("{kind:?}"))?;
    }
    Ok(())
}

async fn fills_up(server: &Server) -> Result<()> {
    put(server, "kept", b"yes".to_vec()).await?;
    let refusal = fill(server).await?;
    ensure!(
        (refusal.code(), refusal.message())
            == (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded"),
        "{refusal:?}"
    );
    let raised = alarms(server).await?;
    ensure!(raised.len() == 1, "one alarm tells it: {raised:?}");
    let used = size(server).await?;
    ensure!(used < 4_000_000, "{used} bytes are above the quota");
    // Reads, deletes and compactions are the way out.
    has_kept(server).await?;
    let mut kv = Clients::new(&server.endpoint())?.kv;
    let everything = DeleteRangeRequest {
        key: "fill/".into(),
        range_end: "fill0".into(),
        ..DeleteRangeRequest::default()
    };
    let revision = kv.delete_range(everything).await?.into_inner().header.context("a header")?.revision;
    kv.compact(CompactionRequest { revision, physical: true }).await?;
    // It disarms itself, a little later: there is no event to wait for but the answer.
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while let Err(status) = put(server, "again", b"yes".to_vec()).await {
        ensure!(std::time::Instant::now() < deadline, "it stays full: {status:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let raised = alarms(server).await?;
    ensure!(raised.is_empty(), "no alarm is left: {raised:?}");
    has_kept(server).await
}

async fn fill(server: &Server) -> Result<Status> {
    for number in 0..1_000 {
        if let Err(status) = put(server, &format!("fill/{number}"), vec![7; 100_000]).await {
            return Ok(status);
        }
    }
    anyhow::bail!("a hundred megabytes went into four")
}

async fn size(server: &Server) -> Result<i64> {
    let status = Clients::new(&server.endpoint())?.maintenance.status(StatusRequest::default()).await?;
    Ok(status.into_inner().db_size)
}

async fn alarms(server: &Server) -> Result<Vec<AlarmMember>> {
    let request = AlarmRequest { action: AlarmAction::Get as i32, ..AlarmRequest::default() };
    let answer = Clients::new(&server.endpoint())?.maintenance.alarm(request).await?;
    Ok(answer.into_inner().alarms)
}

/// Dashboards and alerts read etcd's names: each is told, with etcd's type, or `docs/metrics.md` says why not.
/// In tiers each process tells of its own part, so that no one of them has all.
#[tokio::test]
async fn every_metric_of_etcd_is_told_or_its_absence_explained() -> Result<()> {
    let (etcd, ours) = (Server::start(Kind::Etcd36)?, Server::start(MAINSTEM)?);
    for server in [&etcd, &ours] {
        put(server, "a", b"b".to_vec()).await?;
    }
    let (etcd, told) = (families(&page(&etcd)?), families(&page(&ours)?));
    let explained = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md"))?;
    let (_, explained) = explained.split_once("## What is absent").context("a chapter on what is absent")?;
    let by_start = ["go_", "promhttp_"];
    for (name, kind) in &etcd {
        let explained =
            explained.contains(&format!("`{name}`")) || by_start.iter().any(|start| name.starts_with(start));
        match told.get(name) {
            Some(ours) => ensure!(ours == kind && !explained, "{name}: {kind} in etcd, {ours} here"),
            None => ensure!(explained, "{name} is absent, and docs/metrics.md does not say why"),
        }
    }
    Ok(())
}

fn families(page: &str) -> BTreeMap<String, String> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

async fn page_with(server: &Server, line: &str) -> Result<String> {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        let page = page(server)?;
        if page.lines().any(|found| found == line) {
            return Ok(page);
        }
        ensure!(std::time::Instant::now() < deadline, "{line} is not told");
        // There is no event to wait for in another process.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn page(server: &Server) -> Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port()))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// What happened is counted where etcd counts it.
#[tokio::test]
async fn what_happens_is_counted() -> Result<()> {
    let server = with_a_key().await?;
    let mut clients = Clients::new(&server.endpoint())?;
    let lease = &mut clients.lease;
    let id = lease.lease_grant(LeaseGrantRequest { ttl: 60, id: 0 }).await?.into_inner().id;
    lease.lease_revoke(LeaseRevokeRequest { id }).await?;
    let create =
        WatchCreateRequest { key: "kept".into(), start_revision: 1, ..WatchCreateRequest::default() };
    let mut answers = clients.watching(create).await?;
    ensure!(answers.message().await?.context("an answer")?.created, "the watcher is created");
    ensure!(answers.message().await?.context("an answer")?.events.len() == 1, "it is told");
    // What a node appends by itself may be under way for a moment.
    let page = page_with(&server, "etcd_server_proposals_pending 0").await?;
    for line in [
        "etcd_debugging_lease_granted_total 1",
        "etcd_debugging_lease_revoked_total 1",
        "etcd_debugging_mvcc_events_total 1",
        "etcd_debugging_mvcc_watch_stream_total 1",
        "etcd_debugging_mvcc_watcher_total 1",
        "etcd_mvcc_put_total 1",
        "etcd_server_client_requests_total{client_api_version=\"unknown\",type=\"stream\"} 1",
        "etcd_server_has_leader 1",
        "etcd_server_proposals_failed_total 0",
    ] {
        ensure!(page.lines().any(|found| found == line), "{line} is not told");
    }
    for family in ["etcd_disk_backend_commit_duration_seconds", "etcd_disk_wal_fsync_duration_seconds"] {
        ensure!(!page.contains(&format!("{family}_count 0\n")), "{family} saw nothing");
    }
    Ok(())
}

/// As systemd starts it with `Type=notify`.
#[tokio::test]
async fn a_service_manager_is_told_when_reads_work_and_when_it_ends() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("notify");
    let manager = UnixDatagram::bind(&socket)?;
    manager.set_read_timeout(Some(Duration::from_secs(60)))?;
    let told = || -> Result<String> {
        let mut bytes = [0; 1_024];
        let count = manager.recv(&mut bytes).context("it tells its service manager nothing")?;
        Ok(String::from_utf8_lossy(&bytes[..count]).into_owned())
    };
    let port = free_port()?;
    let mut program = Command::new(harness::tools::mainstem()?)
        .args(arguments(&folder.path().join("data"), port))
        .env("NOTIFY_SOCKET", &socket)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let ready = told()?;
    let endpoint = format!("http://127.0.0.1:{port}");
    // Not tried twice: who is ready answers.
    let read = get_at(&endpoint, "nothing").await;
    let _ = Command::new("kill").arg(program.id().to_string()).status()?;
    let stopping = told();
    let ended = program.wait()?;
    ensure!(ready.lines().any(|line| line == "READY=1"), "{ready:?}");
    ensure!(ready.contains("STATUS=serving clients; member "), "{ready:?}");
    ensure!(read?.is_none(), "a linearizable read is answered");
    ensure!(stopping?.lines().any(|line| line == "STOPPING=1"), "it says that it stops");
    ensure!(ended.success(), "{ended}");
    Ok(())
}
