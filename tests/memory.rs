//! A process that has little memory: what would make it grow is refused in time, what makes room is not, and it never
//! takes more than it may.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use harness::clients::Clients;
use harness::held::Held;
use harness::peak::{Peak, anonymous_bytes};
use harness::server::{Kind, Server};
use harness::tiers::{Shape, Tier, Tiers};
use proto::etcdserverpb::{
    AlarmRequest, CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest, RangeResponse,
    WatchCreateRequest, WatchResponse,
};
use tokio::task::JoinSet;
use tonic::transport::Endpoint;
use tonic::{Code, Status, Streaming};

const MIB: u64 = 1 << 20;
/// What a memstore may use here.
const LIMIT: u64 = 192 * MIB;
/// More of these fit into no memory of that size.
const VALUES_MAX: usize = 2_500;
const VALUE_BYTES: usize = 100_000;
/// Until it is seen that there is room again.
const ROOM_MAX: Duration = Duration::from_secs(30);

fn limit() -> String {
    format!("--memory-limit-bytes={LIMIT}")
}

/// What a process has that is no file.
fn memory(server: &Server) -> Result<u64> {
    anonymous_bytes(server.pid())
}

async fn put(clients: &mut Clients, at: usize) -> Result<(), Status> {
    let (key, value) = (format!("k/{at:06}").into(), vec![b'v'; VALUE_BYTES].into());
    clients.kv.put(PutRequest { key, value, ..PutRequest::default() }).await.map(drop)
}

fn is_full(status: &Status) -> bool {
    status.code() == Code::ResourceExhausted
        && status.message() == "etcdserver: mvcc: database space exceeded"
}

/// Puts until that is refused, and answers how many there are.
async fn fill(clients: &mut Clients) -> Result<usize> {
    for at in 0..VALUES_MAX {
        match put(clients, at).await {
            Ok(()) => {}
            Err(status) if is_full(&status) => return Ok(at),
            Err(status) => bail!("put {at}: {status:?}"),
        }
    }
    bail!("{VALUES_MAX} values are taken")
}

async fn range(clients: &mut Clients, key: &str, range_end: &str) -> Result<RangeResponse, Status> {
    let (key, range_end) = (key.to_owned().into(), range_end.to_owned().into());
    let request = RangeRequest { key, range_end, ..RangeRequest::default() };
    clients.kv.range(request).await.map(tonic::Response::into_inner)
}

/// A store that is full: it answers, makes room when it is told to, and takes writes then.
async fn makes_room(clients: &mut Clients, count: usize) -> Result<()> {
    ensure!(count > 300, "{count} values are not what fits");
    ensure!(range(clients, "k/000000", "").await?.count == 1, "what was written is read");
    let alarms = clients.maintenance.alarm(AlarmRequest::default()).await?.into_inner().alarms;
    ensure!(alarms.is_empty(), "it passes by itself: {alarms:?}");
    let delete =
        DeleteRangeRequest { key: "k/".into(), range_end: "k0".into(), ..DeleteRangeRequest::default() };
    let deleted = clients.kv.delete_range(delete).await?.into_inner();
    ensure!(usize::try_from(deleted.deleted)? == count, "{deleted:?}");
    let revision = deleted.header.context("a header")?.revision;
    clients.kv.compact(CompactionRequest { revision, physical: true }).await?;
    let deadline = Instant::now() + ROOM_MAX;
    while let Err(status) = put(clients, 0).await {
        ensure!(is_full(&status), "{status:?}");
        ensure!(Instant::now() < deadline, "there is no room again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for at in 1..count / 2 {
        put(clients, at).await.with_context(|| format!("value {at} of {count} that have been there"))?;
    }
    Ok(())
}

#[tokio::test]
async fn writes_are_refused_before_memory_ends() -> Result<()> {
    let server = Server::start_with(Kind::Mainstem { partitions: 1 }, &[&limit()])?;
    let mut clients = Clients::new(&server.endpoint())?;
    let count = fill(&mut clients).await?;
    ensure!(server.log().contains("memory is nearly used up"), "somebody is told");
    makes_room(&mut clients, count).await.with_context(|| server.log_end())?;
    ensure!(memory(&server)? < LIMIT, "{} of {LIMIT} bytes", memory(&server)?);
    Ok(())
}

#[tokio::test]
async fn a_memstore_elsewhere_says_that_it_is_full() -> Result<()> {
    let shape = Shape { journals: 1, memstores: 1, frontends: 1, partitions: 1 };
    let mut tiers = Tiers::start(shape)?;
    let memstore = tiers.server_mut(Tier::Memstore(0));
    memstore.arguments(&[limit()]);
    memstore.restart()?;
    let mut clients = Clients::new(&tiers.endpoints()[0])?;
    let count = fill(&mut clients).await?;
    makes_room(&mut clients, count).await.with_context(|| tiers.logs())?;
    let memory = memory(tiers.server(Tier::Memstore(0)))?;
    ensure!(memory < LIMIT, "{memory} of {LIMIT} bytes");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_12342_lists_that_do_not_fit_together_are_refused() -> Result<()> {
    let server = Server::start_with(Kind::Mainstem { partitions: 1 }, &[&limit()])?;
    let mut clients = Clients::new(&server.endpoint())?;
    for at in 0..400 {
        put(&mut clients, at).await?;
    }
    let small = PutRequest { key: "small".into(), ..PutRequest::default() };
    clients.kv.put(small).await?;
    // 40 times 40 MB.
    let mut lists = JoinSet::new();
    for _ in 0..40 {
        let mut clients = Clients::new(&server.endpoint())?;
        lists.spawn(async move { range(&mut clients, "k/", "k0").await.map(|list| list.count) });
    }
    let (mut whole, mut refused) = (0, 0);
    while let Some(list) = lists.join_next().await {
        match list? {
            Ok(count) => {
                ensure!(count == 400, "{count}");
                whole += 1;
            }
            Err(status) => {
                ensure!(status.message() == "etcdserver: too many requests", "{status:?}");
                refused += 1;
            }
        }
        ensure!(range(&mut clients, "small", "").await?.count == 1, "a small one always passes");
        ensure!(memory(&server)? < LIMIT, "{} of {LIMIT} bytes", memory(&server)?);
    }
    ensure!(whole > 0 && refused > 0, "{whole} were answered, {refused} refused");
    // What was sent is seen to be free a little later: there is no event to wait for but the answer.
    let deadline = Instant::now() + ROOM_MAX;
    let count = loop {
        match range(&mut clients, "k/", "k0").await {
            Ok(list) => break list.count,
            Err(status) => ensure!(Instant::now() < deadline, "there is no room again: {status:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    ensure!(count == 400, "{count}");
    Ok(())
}

/// Each of these would hold tens of megabytes if what it is owed waited for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_16839_watchers_that_nobody_reads_take_no_memory() -> Result<()> {
    const WATCHERS: usize = 60;
    const PUTS: usize = 300;
    let server = Server::start_with(Kind::Mainstem { partitions: 1 }, &[&limit()])?;
    let mut clients = Clients::new(&server.endpoint())?;
    let mut watchers = Vec::new();
    for _ in 0..WATCHERS {
        let create = WatchCreateRequest {
            key: "k/".into(),
            range_end: "k0".into(),
            prev_kv: true,
            ..WatchCreateRequest::default()
        };
        watchers.push(Clients::new(&server.endpoint())?.watching(create).await?);
    }
    for at in 0..PUTS {
        put(&mut clients, at % 100).await.with_context(|| format!("put {at}"))?;
    }
    ensure!(memory(&server)? < LIMIT, "{} of {LIMIT} bytes", memory(&server)?);
    // Nothing of it is lost for who reads at last.
    for watcher in &mut watchers[..2] {
        let mut told = 0;
        while told < PUTS {
            told += watcher.message().await?.context("the watch goes on")?.events.len();
        }
    }
    ensure!(memory(&server)? < LIMIT, "{} of {LIMIT} bytes", memory(&server)?);
    Ok(())
}

/// Tiers of which the frontend has little memory.
fn tiers(memstores: usize, partitions: usize, limit: u64) -> Result<Tiers> {
    let shape = Shape { journals: 1, memstores, frontends: 1, partitions };
    Tiers::start_each(shape, |tier, server| {
        if let Tier::Frontend(_) = tier {
            server.arguments(&[format!("--memory-limit-bytes={limit}"), "--replicas=1".to_owned()]);
        }
        Ok(())
    })
}

async fn watch(clients: &Clients, key: &str, range_end: &str) -> Result<Streaming<WatchResponse>> {
    let (key, range_end) = (key.to_owned().into(), range_end.to_owned().into());
    let create = WatchCreateRequest { key, range_end, ..WatchCreateRequest::default() };
    Ok(clients.watching(create).await?)
}

/// Reads until so many events were told.
async fn told(watcher: &mut Streaming<WatchResponse>, count: usize) -> Result<()> {
    let mut told = 0;
    while told < count {
        told += watcher.message().await?.context("the watch goes on")?.events.len();
    }
    Ok(())
}

/// Asks the gateway for something over a connection of its own, of which nothing is read.
fn ask_gateway(server: &Server, path: &str, body: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port()))?;
    let bytes = body.len();
    write!(stream, "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {bytes}\r\n\r\n{body}")?;
    Ok(stream)
}

/// Events of the partition that is left wait for those of the other one: in the memstore, and not 50 times here. Once its
/// memstore is back all are told of everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_of_a_lost_partition_take_little_memory_and_miss_nothing() -> Result<()> {
    const WATCHERS: usize = 50;
    const OVER_GATEWAY: usize = 10;
    const PUTS: usize = 100;
    const BYTES: usize = 50_000;
    let mut tiers = tiers(2, 2, LIMIT)?;
    // Each memstore gets one of the two.
    let held = Held::of(&tiers, 0)?;
    let [one, other] = &held[..] else { bail!("there are two partitions: {held:?}") };
    if one.replicas == other.replicas {
        other.relocate(&tiers, 0, &["m0", "m1"])?;
    }
    let endpoint = tiers.endpoints()[0].clone();
    let mut clients = Clients::new(&endpoint)?;
    let mut watchers = Vec::new();
    for _ in 0..WATCHERS {
        watchers.push(watch(&clients, "\0", "\0").await?);
    }
    let mut gateway = Vec::new();
    for _ in 0..OVER_GATEWAY {
        let all = r#"{"create_request":{"key":"AA==","range_end":"AA=="}}"#;
        let mut stream = ask_gateway(tiers.server(Tier::Frontend(0)), "/v3/watch", all)?;
        stream.read_exact(&mut [0; 1])?;
        gateway.push(stream);
    }
    let others = Clients::new(&endpoint)?;
    let (mut near, mut far) = (watch(&others, "/a", "/b").await?, watch(&others, "k/", "k0").await?);
    // Both are told of what comes before the loss.
    for key in ["/a", "k/"] {
        let put = PutRequest { key: key.into(), ..PutRequest::default() };
        clients.kv.put(put).await?;
    }
    told(&mut near, 1).await?;
    told(&mut far, 1).await?;
    let peak = Peak::of(tiers.server(Tier::Frontend(0)));
    tiers.server_mut(Tier::Memstore(0)).kill()?;
    for at in 0..PUTS {
        for prefix in ["/a", "k/"] {
            let (key, value) = (format!("{prefix}{at:06}").into(), vec![b'v'; BYTES].into());
            clients.kv.put(PutRequest { key, value, ..PutRequest::default() }).await?;
        }
    }
    tokio::select! {
        ended = told(&mut near, PUTS) => ended?,
        ended = told(&mut far, PUTS) => ended?,
    }
    tiers.server_mut(Tier::Memstore(0)).restart()?;
    // Together: HTTP/2 counts what is unread of all streams of a connection, and lets none go on when that is much.
    let mut readers = JoinSet::new();
    for mut watcher in watchers {
        readers.spawn(async move { told(&mut watcher, 2 + 2 * PUTS).await });
    }
    while let Some(read) = readers.join_next().await {
        read?.with_context(|| tiers.logs())?;
    }
    let most = peak.bytes();
    eprintln!("{WATCHERS} watchers, one partition lost and back: {} MiB", most / MIB);
    ensure!(most < LIMIT, "{most} of {LIMIT} bytes");
    drop(gateway);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_over_tiers_that_do_not_fit_together_are_refused() -> Result<()> {
    const LISTS: usize = 200;
    const VALUES: usize = 200;
    let tiers = tiers(1, 1, LIMIT)?;
    let frontend = tiers.server(Tier::Frontend(0));
    let mut clients = Clients::new(&tiers.endpoints()[0])?;
    for at in 0..VALUES {
        put(&mut clients, at).await?;
    }
    let small = PutRequest { key: "small".into(), ..PutRequest::default() };
    clients.kv.put(small).await?;
    let peak = Peak::of(frontend);
    let mut lists = JoinSet::new();
    for _ in 0..LISTS {
        let mut clients = Clients::new(&tiers.endpoints()[0])?;
        lists.spawn(async move { range(&mut clients, "k/", "k0").await.map(|list| list.count) });
    }
    let (mut whole, mut refused) = (0, 0);
    while let Some(list) = lists.join_next().await {
        match list? {
            Ok(_) => whole += 1,
            Err(status) => {
                ensure!(status.message() == "etcdserver: too many requests", "{status:?}");
                refused += 1;
            }
        }
        ensure!(range(&mut clients, "small", "").await?.count == 1, "a small one always passes");
    }
    let most = peak.bytes();
    ensure!(most < LIMIT, "{most} of {LIMIT} bytes, {whole} answered, {refused} refused");
    ensure!(whole > 0 && refused > 0, "{whole} were answered, {refused} refused");
    // The same over the gateway, by clients that do not read.
    let body = r#"{"key":"ay8=","range_end":"azA="}"#;
    let mut unread = Vec::new();
    for _ in 0..LISTS {
        unread.push(ask_gateway(frontend, "/v3/kv/range", body)?);
    }
    ensure!(range(&mut clients, "small", "").await?.count == 1, "a small one always passes");
    let most = peak.bytes();
    eprintln!("{LISTS} lists: {whole} answered, {refused} refused, {} MiB at most", most / MIB);
    ensure!(most < LIMIT, "{most} of {LIMIT} bytes");
    Ok(())
}

/// Each of these would hold megabytes if what it is owed waited for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_streams_that_nobody_reads_take_little_memory() -> Result<()> {
    const STREAMS: usize = 900;
    const OVER_GATEWAY: usize = 100;
    const PUTS: usize = 400;
    const BYTES: usize = 10_000;
    const LIMIT: u64 = 256 * MIB;
    let tiers = tiers(1, 1, LIMIT)?;
    let frontend = tiers.server(Tier::Frontend(0));
    let mut clients = Clients::new(&tiers.endpoints()[0])?;
    let mut unread = Vec::new();
    for at in 0..STREAMS {
        if at % 100 == 0 {
            let endpoint = Endpoint::from_shared(tiers.endpoints()[0].clone())?;
            let endpoint =
                endpoint.initial_stream_window_size(65_535).initial_connection_window_size(1 << 24);
            clients = Clients::over(endpoint.connect_lazy());
        }
        unread.push(watch(&clients, "k/", "k0").await?);
    }
    let body = r#"{"create_request":{"key":"ay8=","range_end":"azA="}}"#;
    let mut gateway = Vec::new();
    for _ in 0..OVER_GATEWAY {
        let mut stream = ask_gateway(frontend, "/v3/watch", body)?;
        // The watch is there once the answer has begun.
        stream.read_exact(&mut [0; 1])?;
        gateway.push(stream);
    }
    let mut clients = Clients::new(&tiers.endpoints()[0])?;
    let mut read = watch(&clients, "k/", "k0").await?;
    let mut most = 0;
    for at in 0..PUTS {
        let (key, value) = (format!("k/{at:06}").into(), vec![b'v'; BYTES].into());
        clients.kv.put(PutRequest { key, value, ..PutRequest::default() }).await?;
        told(&mut read, 1).await.context("who reads is told")?;
        most = most.max(memory(frontend)?);
        ensure!(most < LIMIT, "{most} of {LIMIT} bytes after {at} puts");
    }
    eprintln!("{} streams that are not read: {} MiB at most", STREAMS + OVER_GATEWAY, most / MIB);
    let memstore = memory(tiers.server(Tier::Memstore(0)))?;
    eprintln!("their memstore: {} MiB", memstore / MIB);
    told(&mut unread[0], PUTS).await
}
