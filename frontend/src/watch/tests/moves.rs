//! Sessions whose partitions are split, merged, given away and taken back while somebody writes.

use std::sync::Mutex;

use journal::SystemClock;
use proptest::collection::vec;
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::mover::Mover;
use crate::operation::Put;

const KEYS: [&str; 6] = ["a", "b", "c", "m", "n", "z"];
const HANGS: Duration = Duration::from_secs(60);

/// What was written, in order.
type Written = Mutex<Vec<(Revision, &'static str)>>;

async fn write(store: &Store, keys: &[usize], written: &Written) {
    for key in keys {
        let key = KEYS[*key];
        let put = store.put(Put::new(key, "v")).await.expect("there is room");
        written.lock().expect("nobody panicked").push((put.at.revision, key));
        tokio::task::yield_now().await;
    }
}

async fn move_on(mover: &mut Mover, store: &Store, moves: &[(u8, u8)]) {
    for (cuts, held) in moves {
        mover.want(*cuts, *held);
        mover.settle(&store.memstore()).await;
        // Some writes in between, now and then.
        for _ in 0..cuts % 8 {
            tokio::task::yield_now().await;
        }
    }
    mover.want(0b101, 0xFF);
    mover.settle(&store.memstore()).await;
}

/// Everything that the session's watchers are told until all of `last` was told.
async fn listen(
    session: &mut Session,
    last: &mut tokio::sync::oneshot::Receiver<Revision>,
) -> BTreeMap<i64, Vec<Arc<Event>>> {
    let mut told: BTreeMap<i64, Vec<Arc<Event>>> = BTreeMap::new();
    let mut wanted = None;
    loop {
        let answer = tokio::select! {
            last = &mut *last, if wanted.is_none() => {
                wanted = Some(last.expect("it is said"));
                session.want_progress();
                continue;
            }
            answer = session.next() => answer,
        };
        match answer {
            Answer::Created { .. } => {}
            Answer::Events { id, revision, events, .. } => {
                assert!(events.iter().all(|event| event.revision <= revision));
                told.entry(id).or_default().extend(events);
            }
            Answer::Progress { revision, .. } if wanted.is_some_and(|last| last <= revision) => return told,
            Answer::Progress { .. } => session.want_progress(),
            other => panic!("{other:?}"),
        }
    }
}

async fn run(keys: Vec<usize>, moves: Vec<(u8, u8)>, watched: Vec<(KeyRange, bool)>) {
    let clock = Arc::new(SystemClock::default());
    let config = journal::Config::single(11, 12, journal::Storage::Memory);
    let journal = journal::Node::start(config, clock.clone()).await.expect("it needs nothing");
    let cancel = CancellationToken::new();
    let (mut mover, wanted) = Mover::new(&["b", "c", "m", "n", "z"]);
    let config = memstore::Config { wanted, process: 7, ..memstore::Config::default() };
    let memstore = memstore::Node::start(config, journal.handle(), clock, cancel.clone()).expect("it starts");
    let store = Store::new(journal.handle(), memstore.handle(), HANGS, cancel.clone());
    let (first, rest) = keys.split_at(keys.len() / 3);
    let written = Written::default();
    write(&store, first, &written).await;
    let mut session = Session::new(store.clone());
    for (keys, from_past) in &watched {
        let from = from_past.then_some(Revision(2));
        session.create(Create { from, ..create(keys.clone()) });
    }
    let begin = store.barrier().await.expect("it leads").revision;
    let (say, mut last) = tokio::sync::oneshot::channel();
    let doing = async {
        tokio::join!(write(&store, rest, &written), move_on(&mut mover, &store, &moves));
        say.send(store.barrier().await.expect("it leads").revision).expect("somebody listens");
    };
    let ((), told) = tokio::join!(doing, listen(&mut session, &mut last));
    let written = written.into_inner().expect("nobody panicked");
    for ((keys, from_past), id) in watched.iter().zip(0..) {
        let told = told.get(&id).into_iter().flatten().map(|event| (event.revision, event.kv.key.clone()));
        let wanted = |(revision, key): &&(Revision, &str)| {
            (*from_past || begin < *revision) && keys.contains(key.as_bytes())
        };
        let expected: Vec<_> =
            written.iter().filter(wanted).map(|(revision, key)| (*revision, Bytes::from(*key))).collect();
        assert_eq!(told.collect::<Vec<_>>(), expected, "{keys:?}");
    }
    drop(session);
    assert_eq!(store.memstore().stats().total.watchers, 0);
    cancel.cancel();
    memstore.close().await.expect("it closes");
    journal.close().await;
}

fn ranges() -> impl Strategy<Value = KeyRange> {
    let key = || prop::sample::select(&KEYS[..]).prop_map(Bytes::from);
    prop_oneof![
        1 => key().prop_map(KeyRange::Single),
        1 => key().prop_map(KeyRange::From),
        2 => (key(), key()).prop_filter_map("some key", |(start, end)| {
            (start < end).then_some(KeyRange::Range { start, end })
        }),
        2 => Just(KeyRange::all()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, max_shrink_iters: 20, ..ProptestConfig::with_cases(40) })]

    #[test]
    fn a_session_follows_its_keys(
        keys in vec(0..KEYS.len(), 10..200),
        moves in vec((any::<u8>(), prop_oneof![3 => Just(0xFF), 1 => any::<u8>()]), 1..20),
        watched in vec((ranges(), any::<bool>()), 1..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let run = async { tokio::time::timeout(2 * HANGS, Box::pin(run(keys, moves, watched))).await };
        runtime.block_on(run).expect("it gets to its end");
    }
}
