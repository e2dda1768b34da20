//! Watch streams of etcd 3.6, etcd 3.7 and Mainstem with 1 and with 5 partitions: the same lines, said between the
//! same writes, are answered alike, word by word but for ids and terms. In tiers the writes go to the frontends in
//! turn, and the stream stays on one.
//!
//! `COMPAT_KINDS=etcd` leaves Mainstem out, which judges the judge.

use anyhow::Result;
use harness::compat::{Act, Line, Request, converse, subjects};
use proto::etcdserverpb::{CompactionRequest, DeleteRangeRequest, PutRequest, WatchCreateRequest};

fn put(key: &'static str, value_bytes: usize) -> Act {
    let value = vec![b'v'; value_bytes].into();
    Act::Ask(Request::Put(PutRequest { key: key.into(), value, ..PutRequest::default() }))
}

fn watch_of(
    watch_id: i64,
    key: &'static str,
    range_end: &'static str,
    start_revision: i64,
) -> WatchCreateRequest {
    let (key, range_end) = (key.into(), range_end.into());
    WatchCreateRequest { watch_id, key, range_end, start_revision, ..WatchCreateRequest::default() }
}

fn watcher(watch_id: i64, key: &'static str, range_end: &'static str, start_revision: i64) -> Act {
    Act::Say(Line::Create(watch_of(watch_id, key, range_end, start_revision)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_watchers_of_one_stream_are_answered_alike() -> Result<()> {
    let subjects = subjects(&[]).await?;
    let compact = |revision| Act::Ask(Request::Compact(CompactionRequest { revision, physical: true }));
    let (say, hear) = (Act::Say, |answers| Act::Say(Line::Hear(answers)));
    let acts = vec![
        say(Line::Empty),
        // Nobody watches: not a word.
        say(Line::Progress),
        say(Line::Cancel(0)),
        say(Line::Cancel(-1)),
        say(Line::Fence),
        watcher(0, "a", "", 0),
        watcher(0, "a", "z", 0),
        watcher(3, "b", "", 0),
        watcher(3, "c", "", 0),
        watcher(1, "c", "", 0),
        watcher(-1, "d", "", 0),
        watcher(-1, "d", "", 0),
        watcher(i64::MIN, "e", "", 0),
        watcher(i64::MAX, "f", "", 0),
        // Which ids are free: 2, and then 4.
        watcher(0, "g", "", 0),
        watcher(0, "h", "", 0),
        // No keys; the id is not taken by that.
        watcher(9, "b", "a", 0),
        watcher(9, "b", "b", 0),
        watcher(9, "b", "", -1),
        watcher(9, "", "\u{0}", i64::MAX),
        watcher(10, "", "", 0),
        watcher(11, "\u{0}", "", 0),
        watcher(12, "", "b", 0),
        // One waits for the future: there is no progress to tell.
        say(Line::Progress),
        say(Line::Fence),
        say(Line::Cancel(9)),
        say(Line::Hear(1)),
        say(Line::Progress),
        hear(1),
        put("a", 1),
        hear(3),
        say(Line::Cancel(0)),
        hear(1),
        say(Line::Cancel(0)),
        say(Line::Cancel(77)),
        say(Line::Fence),
        // Ids are not given out twice by themselves, but may be asked for.
        watcher(0, "x", "", 0),
        put("x", 1),
        put("c", 1),
        put("y", 1),
        compact(4),
    ];
    converse(&subjects, &acts).await
}

/// Those that a compaction ends keep their ids until they are canceled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_of_what_is_compacted_is_ended_alike() -> Result<()> {
    let subjects = subjects(&[]).await?;
    let (say, hear) = (Act::Say, |answers| Act::Say(Line::Hear(answers)));
    let acts = vec![
        put("a", 1),
        put("a", 2),
        put("a", 3),
        put("b", 1),
        Act::Ask(Request::Compact(CompactionRequest { revision: 4, physical: true })),
        watcher(5, "a", "", 3),
        hear(1),
        watcher(5, "a", "", 0),
        say(Line::Cancel(5)),
        hear(1),
        say(Line::Cancel(5)),
        say(Line::Fence),
        watcher(5, "a", "", 0),
        watcher(0, "a", "", 1),
        hear(1),
        watcher(0, "a", "", 4),
        hear(1),
        // What came before the first revision that is kept is gone.
        say(Line::Create(WatchCreateRequest { prev_kv: true, ..watch_of(20, "", "\u{0}", 4) })),
        hear(1),
        say(Line::Create(WatchCreateRequest { prev_kv: true, ..watch_of(21, "a", "", 5) })),
        put("a", 4),
        hear(4),
    ];
    converse(&subjects, &acts).await
}

/// A start that is just to come is not reached until something happens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_waits_for_the_start_alike() -> Result<()> {
    let subjects = subjects(&[]).await?;
    let (say, hear) = (Act::Say, |answers| Act::Say(Line::Hear(answers)));
    let acts = vec![
        put("a", 1),
        watcher(1, "b", "", 3),
        say(Line::Progress),
        say(Line::Fence),
        put("a", 1),
        say(Line::Progress),
        hear(1),
        watcher(2, "b", "", 0),
        say(Line::Progress),
        hear(1),
    ];
    converse(&subjects, &acts).await
}

/// Of one revision: how many of the past come in one answer is each store's own. Ids and terms are as long as they
/// are, so that what comes within a few bytes of the border is not asked here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fragments_are_cut_alike() -> Result<()> {
    let subjects = subjects(&[]).await?;
    let mut acts = Vec::new();
    for key in ["a", "b1", "b2", "k4", "n", "o", "/registry/k1", "/registry/m1"] {
        acts.push(put(key, 600_000));
    }
    for (key, bytes) in [("c", 1_500_000), ("d", 1), ("e", 590_000), ("f", 1_500_000), ("g", 590_000)] {
        acts.push(put(key, bytes));
    }
    let all = |watch_id| WatchCreateRequest { prev_kv: true, ..watch_of(watch_id, "", "\u{0}", 0) };
    acts.push(Act::Say(Line::Create(WatchCreateRequest { fragment: true, ..all(1) })));
    acts.push(Act::Say(Line::Create(all(2))));
    acts.push(Act::Say(Line::Create(WatchCreateRequest { fragment: true, prev_kv: false, ..all(3) })));
    let delete = DeleteRangeRequest { key: vec![0].into(), range_end: vec![0].into(), prev_kv: false };
    acts.push(Act::Ask(Request::Delete(delete)));
    acts.push(Act::Say(Line::Hear(7)));
    converse(&subjects, &acts).await
}

/// Those who asked for it and are told nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_silent_are_told_how_far_they_are() -> Result<()> {
    let subjects = subjects(&["--watch-progress-notify-interval=300ms"]).await?;
    let hear = |answers| Act::Say(Line::Hear(answers));
    let notified = |watch_id, key, start| {
        let create = WatchCreateRequest { progress_notify: true, ..watch_of(watch_id, key, "", start) };
        Act::Say(Line::Create(create))
    };
    // Nobody but the one who asked is told anything.
    converse(&subjects, &[put("a", 1), watcher(1, "a", "", 0), notified(2, "b", 0), hear(3)]).await?;
    // From the past, with nothing to tell of.
    converse(&subjects, &[notified(2, "b", 1), hear(3)]).await
}
