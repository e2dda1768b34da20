//! How long the thread of the sequencer and of Raft does nothing else, at the longest: a measurement to be read, not a test
//! that can fail. `cargo test -p journal --profile suite pauses -- --ignored --nocapture`.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use futures_util::future::join_all;

use super::*;
use crate::key_range::KeyRange;
use crate::record::Read;

const KEYS: usize = 100_000;
const LEASES: i64 = 100_000;
const LEASE: LeaseId = LeaseId(1 << 40);

/// Looks at the clock whenever the thread lets it, and remembers the longest time in between.
struct Pauses(Arc<AtomicU64>);

impl Pauses {
    fn start() -> Pauses {
        let longest = Arc::new(AtomicU64::new(0));
        tokio::spawn({
            let longest = longest.clone();
            async move {
                let mut last = Instant::now();
                loop {
                    tokio::task::yield_now().await;
                    let now = Instant::now();
                    let pause = u64::try_from((now - last).as_micros()).unwrap_or(u64::MAX);
                    longest.fetch_max(pause, Relaxed);
                    last = now;
                }
            }
        });
        Pauses(longest)
    }

    async fn tell(&self, of: &str) {
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        let microseconds = self.0.swap(0, Relaxed);
        eprintln!("{:>6}.{:03} ms  {of}", microseconds / 1_000, microseconds % 1_000);
    }
}

fn origin(seq: u64) -> Origin {
    Origin { frontend: 1, seq, attempt: 1 }
}

fn key(number: usize) -> Bytes {
    Bytes::from(format!("/registry/events/namespace-{:03}/event-{number:08}", number % 100))
}

fn append(seq: u64, writes: Vec<Write>, sysop: Option<SysOp>) -> Append {
    Append { origin: origin(seq), reads: Vec::new(), writes, sysop, reserve: false }
}

/// As the end of the lease comes from a frontend that has looked at `at`.
fn end(seq: u64, at: Revision) -> Append {
    let mut keys: Vec<Bytes> = (0..KEYS).map(key).collect();
    keys.sort_unstable();
    let mut reads = vec![Read::Lease { lease: LEASE, at }];
    reads.extend(keys.iter().map(|key| Read::Keys { keys: KeyRange::Single(key.clone()), at }));
    let writes = keys.into_iter().map(|key| Write::Delete { key }).collect();
    let sysop = Some(SysOp::LeaseRevoke { lease: LEASE, expired_in: None });
    Append { origin: origin(seq), reads, writes, sysop, reserve: true }
}

#[tokio::test]
#[ignore = "a measurement to be read"]
async fn the_longest_pauses_of_the_sequencer() {
    let config = Config::single(7, 1, Storage::Memory);
    let node = Node::start(config, Arc::new(SystemClock::default())).await.unwrap();
    let journal = node.handle();
    leads(&journal).await;
    let pauses = Pauses::start();
    let mut seqs = 0..;
    let mut next = || seqs.next().unwrap() + 1;

    let grant = Some(SysOp::LeaseGrant { lease: LEASE, ttl_seconds: 10_000 });
    journal.append(append(next(), Vec::new(), grant)).await;
    for part in 0..KEYS / 1_000 {
        let put = |number| Write::Put { key: key(part * 1_000 + number), value: Bytes::new(), lease: LEASE };
        journal.append(append(next(), (0..1_000).map(put).collect(), None)).await;
    }
    pauses.tell("a lease gets 100,000 keys, 1,000 at a time").await;

    let at = journal.barrier().await.unwrap().revision;
    let touch = Write::Put { key: key(7), value: Bytes::new(), lease: LEASE };
    journal.append(append(next(), vec![touch], None)).await;
    let (first, second) = (next(), next());
    pauses.tell("a key is written").await;
    let stale = [end(first, at), end(second, at)];
    let fresh = [end(second, Revision(at.0 + 1)), end(first, Revision(at.0 + 1))];
    pauses.tell("(the test makes its records)").await;
    for (append, expected) in stale.into_iter().zip(["refused", "refused again"]) {
        let verdict = journal.append(append).await;
        assert!(matches!(verdict, Verdict::Conflict { .. }), "{verdict:?}");
        pauses.tell(&format!("the end of that lease, {expected}")).await;
    }
    for append in fresh {
        let verdict = journal.append(append).await;
        pauses
            .tell(&format!(
                "the end of that lease: {}",
                match verdict {
                    Verdict::Committed { .. } => "done",
                    Verdict::Reserved => "reserved for the other",
                    _ => "refused",
                }
            ))
            .await;
    }

    for part in 0..LEASES / 1_000 {
        let grants = (0..1_000).map(|number| {
            let lease = LeaseId(1 + part * 1_000 + number);
            journal.append(append(next(), Vec::new(), Some(SysOp::LeaseGrant { lease, ttl_seconds: 1 })))
        });
        join_all(grants.collect::<Vec<_>>()).await;
    }
    pauses.tell("100,000 leases are granted, 1,000 at a time").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut expired = Vec::new();
    while (expired.len() as i64) < LEASES {
        expired.extend(journal.expired().await.unwrap());
    }
    pauses.tell("100,000 leases are due at once").await;
    for part in expired.chunks(1_000) {
        let ends = part.iter().map(|Expired { lease, term }| {
            let sysop = SysOp::LeaseRevoke { lease: *lease, expired_in: Some(*term) };
            journal.append(append(next(), Vec::new(), Some(sysop)))
        });
        join_all(ends.collect::<Vec<_>>()).await;
    }
    pauses.tell("they are revoked, 1,000 at a time").await;
    let revision = journal.barrier().await.unwrap().revision;
    journal.append(append(next(), Vec::new(), Some(SysOp::Compact { revision }))).await;
    pauses.tell("a compaction").await;
    let turns = &node.log_metrics().turns;
    let slow = turns.count() - turns.at_most(Duration::from_millis(50));
    eprintln!("{} turns of the sequencer, {slow} of them longer than 50 ms", turns.count());
    node.close().await;
}
