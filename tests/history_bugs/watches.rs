//! Watchers: told everything once and in order, however slow they are and whatever happens to their member.

use std::collections::BTreeMap;

use proto::etcdserverpb::request_op::Request as Op;
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{RequestOp, TxnRequest, WatchProgressRequest, WatchRequest};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::*;

/// A stream on which more can be asked.
async fn stream(clients: &Clients) -> Result<(mpsc::Sender<WatchRequest>, Streaming<WatchResponse>)> {
    let (ask, asked) = mpsc::channel(64);
    // The answer to the stream itself comes with the first answer on it.
    ask.send(WatchRequest { request_union: Some(RequestUnion::CreateRequest(everything(0))) }).await?;
    let mut stream = clients.watch.clone().watch(ReceiverStream::new(asked)).await?.into_inner();
    ensure!(stream.message().await?.context("an answer")?.created, "the watcher is created");
    Ok((ask, stream))
}

/// After each put progress is asked for: it is told behind the events up to it, whichever partition they are in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_15220_progress_that_is_asked_for_is_not_ahead_of_events() -> Result<()> {
    const PUTS: i64 = 500;
    let _alone = MACHINE.lock().await;
    let cluster = Cluster::start(MAINSTEM, 3)?;
    let follower = (cluster.leader().await? + 1) % 3;
    for (by, at) in [(0, 0), (0, follower), (follower, follower)] {
        let mut writer = Clients::new(&cluster.member(by).endpoint())?;
        let (ask, mut stream) = stream(&Clients::new(&cluster.member(at).endpoint())?).await?;
        let first = revision(&mut writer).await? + 1;
        let last = first + PUTS - 1;
        let writes = tokio::spawn(async move {
            for number in 0..500 {
                put(&mut writer, KEYS[number % KEYS.len()], "1").await?;
                let progress = RequestUnion::ProgressRequest(WatchProgressRequest {});
                ask.send(WatchRequest { request_union: Some(progress) }).await?;
            }
            Ok::<_, anyhow::Error>(ask)
        });
        let (mut writes, mut asked) = (Some(writes), None);
        let (mut told, mut progressed) = (first - 1, 0);
        while told < last || progressed < last {
            // A member that lags may have answered all requests before it was told of the last put.
            if told == last
                && let Some(writes) = writes.take()
            {
                let progress = RequestUnion::ProgressRequest(WatchProgressRequest {});
                let ask = asked.insert(writes.await??);
                ask.send(WatchRequest { request_union: Some(progress) }).await?;
            }
            let answer = tokio::time::timeout(PATIENCE, stream.message()).await;
            let answer =
                answer.with_context(|| format!("told {told}, progress {progressed}, of {last}"))??;
            let answer = answer.context("the watch goes on")?;
            if answer.events.is_empty() {
                progressed = answer.header.context("a header")?.revision;
                ensure!(progressed <= told, "progress is {progressed}, and events were told up to {told}");
            }
            for event in answer.events {
                told += 1;
                ensure!(event.kv.context("a key")?.mod_revision == told, "in order, and none twice");
            }
        }
    }
    Ok(())
}

/// A member stands still until the others have trimmed what it lacks. Its watchers are told all of it, once and in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_15271_watchers_of_a_member_that_gets_a_snapshot_do_not_go_back() -> Result<()> {
    let _alone = MACHINE.lock().await;
    let mut cluster = Cluster::start_with(MAINSTEM, 3, &TRIMMING)?;
    let leader = cluster.leader().await?;
    let (by, away) = ((leader + 1) % 3, (leader + 2) % 3);
    let recorder = Recorder::new(&cluster.endpoints())?;
    let listeners = vec![
        Listener::begin_at(&recorder, "away", everything(1), away),
        Listener::begin_at(&recorder, "by", everything(1), by),
    ];
    write(&recorder, by, 20).await?;
    listeners[0].told_upto(21, PATIENCE).await?;
    cluster.member_mut(away).freeze()?;
    // Nothing is compacted, since watchers want all of it: each trim takes twice as much as the one before.
    trimming(&cluster, &[leader, by], 1, async |_| write(&recorder, by, 1).await).await?;
    cluster.member_mut(away).thaw()?;
    write(&recorder, by, 50).await?;
    settle(&recorder, listeners).await.with_context(|| logs(&cluster))?;
    ensure!(snapshots_of(cluster.member(away)) > 0, "{}", cluster.member(away).log());
    Ok(())
}

/// Large values, each written once.
async fn write(recorder: &Recorder, endpoint: usize, count: usize) -> Result<()> {
    for number in 0..count {
        let at = recorder.history().len();
        let value = format!("{at}{}", "v".repeat(20_000));
        let told =
            recorder.ask(0, endpoint, Request::Put(history::put(KEYS[number % KEYS.len()], &value))).await;
        ensure!(matches!(told, Some(Outcome::Put(_))), "{told:?}");
    }
    Ok(())
}

/// Transactions whose keys are in no order, over and over on the same keys; watchers that follow, and that read the past.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_17247_transactions_with_keys_in_no_order_are_told_once() -> Result<()> {
    let _alone = MACHINE.lock().await;
    let cluster = Cluster::start(MAINSTEM, 3)?;
    let recorder = Recorder::new(&cluster.endpoints())?;
    let mut listeners: Vec<_> = (0..6)
        .map(|seed| Listener::begin(&recorder, &format!("watcher {seed}"), everything(1), seed))
        .collect();
    for number in 0..600 {
        let value = number.to_string();
        let keys = [4, 1, 3, 0, 2].map(|at: usize| KEYS[(at + number) % KEYS.len()]);
        let put = |key: &str| RequestOp { request: Some(Op::RequestPut(history::put(key, &value))) };
        let txn = TxnRequest { success: keys.map(put).to_vec(), ..TxnRequest::default() };
        let told = recorder.ask(0, number % 3, Request::Txn(txn)).await;
        ensure!(matches!(told, Some(Outcome::Txn(_))), "{told:?}");
        if number % 200 == 100 {
            listeners.push(Listener::begin(
                &recorder,
                &format!("later {number}"),
                everything(1),
                number as u64,
            ));
        }
    }
    settle(&recorder, listeners).await.with_context(|| logs(&cluster))
}

/// A hundred watchers with previous values on one stream that nobody reads, and a compaction or none. Each of them is told
/// everything, or that it is compacted; none is forgotten.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_17529_starved_watchers_are_told_everything_or_that_it_is_compacted() -> Result<()> {
    let _alone = MACHINE.lock().await;
    for (kind, compacts) in [(MAINSTEM, true), (MAINSTEM, false), (TIERS, true)] {
        let server = Server::start(kind)?;
        let compacted = starved(&server, compacts).await.with_context(|| format!("{kind:?}"))?;
        ensure!((compacted > 0) == compacts, "{kind:?}: {compacted} were told that it is compacted");
    }
    Ok(())
}

/// How many were told that it is compacted.
async fn starved(server: &Server, compacts: bool) -> Result<usize> {
    const WATCHERS: i64 = 100;
    // In one partition, and more than there is room for in a watcher's buffer.
    const PUTS: usize = 2_500;
    let mut writer = Clients::new(&server.endpoint())?;
    let (ask, mut stream) = stream(&Clients::new(&server.endpoint())?).await?;
    for watch_id in 1..=WATCHERS {
        let create = WatchCreateRequest { watch_id, prev_kv: true, ..everything(2) };
        ask.send(WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }).await?;
    }
    for _ in 0..PUTS {
        put(&mut writer, "a", vec![b'v'; 200]).await?;
    }
    if compacts {
        compact(&mut writer, i64::try_from(PUTS)? - 10).await?;
    }
    let last = put(&mut writer, "a", "last").await?;
    // By id: the revision up to which it was told.
    let mut told: BTreeMap<i64, i64> = (1..=WATCHERS).map(|id| (id, 1)).collect();
    let mut compacted = 0;
    while told.values().any(|upto| *upto < last) {
        let waiting = || format!("{} wait", told.values().filter(|upto| **upto < last).count());
        let answer = tokio::time::timeout(PATIENCE, stream.message()).await.with_context(waiting)??;
        let answer = answer.context("the stream goes on")?;
        let Some(upto) = told.get_mut(&answer.watch_id) else { continue };
        if answer.canceled {
            ensure!(answer.compact_revision > *upto, "told {upto}: {answer:?}");
            (*upto, compacted) = (i64::MAX, compacted + 1);
        }
        for event in answer.events {
            *upto += 1;
            ensure!(event.kv.context("a key")?.mod_revision == *upto, "{} misses {upto}", answer.watch_id);
        }
    }
    Ok(compacted)
}

/// A start that is still to come: nothing is told before it is reached, neither events nor progress.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_20221_a_watcher_of_the_future_is_told_of_no_progress_before() -> Result<()> {
    let _alone = MACHINE.lock().await;
    for kind in [MAINSTEM, TIERS] {
        let server = Server::start_with(kind, &["--watch-progress-notify-interval=100ms"])?;
        let mut clients = Clients::new(&server.endpoint())?;
        let start = revision(&mut clients).await? + 21;
        let mut stream =
            clients.watching(WatchCreateRequest { progress_notify: true, ..everything(start) }).await?;
        ensure!(stream.message().await?.context("an answer")?.created, "the watcher is created");
        for _ in 0..20 {
            // Long enough that there is something to tell for who is told too early.
            tokio::time::sleep(Duration::from_millis(25)).await;
            put(&mut clients, "a", "early").await?;
        }
        put(&mut clients, "a", "due").await?;
        let answer = tokio::time::timeout(PATIENCE, stream.message()).await??.context("an answer")?;
        ensure!(brief(&answer.events) == [format!("put a@{start}")], "{kind:?}: {answer:?}");
    }
    Ok(())
}

/// A client that was told up to some revision goes on at a member that is behind and gets a snapshot: what it has been
/// told is not told again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_20221_a_watcher_that_goes_on_at_a_member_that_is_behind_is_told_nothing_old() -> Result<()> {
    let _alone = MACHINE.lock().await;
    let mut cluster = Cluster::start_with(MAINSTEM, 3, &TRIMMING)?;
    let leader = cluster.leader().await?;
    let (by, behind) = ((leader + 1) % 3, (leader + 2) % 3);
    let mut writer = Clients::new(&cluster.member(by).endpoint())?;
    for freezes in [true, false] {
        put(&mut writer, "a", "before").await?;
        if freezes {
            cluster.member_mut(behind).freeze()?;
        } else {
            cluster.member_mut(behind).kill()?;
        }
        write_until_trimmed(&cluster, by, &[leader, by]).await?;
        let next = revision(&mut writer).await? + 1;
        if freezes {
            cluster.member_mut(behind).thaw()?;
        } else {
            cluster.member_mut(behind).spawn()?;
        }
        let clients = Clients::new(&cluster.member(behind).endpoint())?;
        let opened = async {
            loop {
                if let Ok(stream) = clients.watching(everything(next)).await {
                    break stream;
                }
                // It is still starting.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let mut stream = tokio::time::timeout(PATIENCE, opened).await?;
        let made = put(&mut writer, "b/1", "next").await?;
        ensure!(made == next, "nobody else writes");
        let events = told(&mut stream, 1).await.with_context(|| logs(&cluster))?;
        ensure!(brief(&events) == [format!("put b/1@{next}")], "{:?}", brief(&events));
        cluster.member_mut(behind).await_answer()?;
        ensure!(snapshots_of(cluster.member(behind)) > 0, "{}", cluster.member(behind).log());
    }
    Ok(())
}

/// Watchers that are far behind, and that nobody reads: writes go on, and so do other watchers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_22264_watchers_that_are_far_behind_stop_no_write() -> Result<()> {
    let _alone = MACHINE.lock().await;
    let cluster = Cluster::start(MAINSTEM, 3)?;
    let endpoints = cluster.endpoints();
    puts_at_once(&endpoints, 20_000).await?;
    let mut unread = Vec::new();
    for number in 0..60 {
        let clients = Clients::new(&endpoints[number % 3])?;
        unread.push(clients.watching(WatchCreateRequest { prev_kv: true, ..everything(2) }).await?);
    }
    let first = revision(&mut Clients::new(&endpoints[0])?).await? + 1;
    let mut reader = Clients::new(&endpoints[1])?.watching(everything(first)).await?;
    puts_at_once(&endpoints, 2_000).await.with_context(|| logs(&cluster))?;
    let events = told(&mut reader, 2_000).await.with_context(|| logs(&cluster))?;
    let revisions = events.iter().filter_map(|event| event.kv.as_ref()).map(|kv| kv.mod_revision);
    ensure!(revisions.eq(first..first + 2_000), "each once and in order");
    Ok(())
}

/// So many puts, many of them at once, each answered before a client gives up.
async fn puts_at_once(endpoints: &[String], count: usize) -> Result<()> {
    const AT_ONCE: usize = 48;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..AT_ONCE {
        let mut clients = Clients::new(&endpoints[writer % endpoints.len()])?;
        writers.spawn(async move {
            for number in (writer..count).step_by(AT_ONCE) {
                let put = put(&mut clients, KEYS[number % KEYS.len()], "v");
                tokio::time::timeout(Duration::from_secs(5), put).await.context("a put is stuck")??;
            }
            Ok::<_, anyhow::Error>(())
        });
    }
    while let Some(writer) = writers.join_next().await {
        writer??;
    }
    Ok(())
}
