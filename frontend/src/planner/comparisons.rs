//! When which partition is compared: each about as often as is wished, and one at a time, so that what it costs is spread.
//!
//!     held by several ──► due at some moment of the first period ──► compared ──► due a period later
//!                                     ▲                                  │ differs: soon, as often as there are replicas
//!                                     └──────────────────────────────────┘

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use memstore::{Agreement, Applied, Health, Memstore, PartitionRange, compare};

use crate::error::Error;
use crate::store::Store;

/// How long until it looks again for what is due, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long until one is compared again of which something was thrown away, or of which nothing could be learned.
const SOON: Duration = Duration::from_secs(5);
/// How long all may take to answer: they go over everything that they hold of it.
const ANSWERS_MAX: Duration = Duration::from_secs(120);

/// The memstores that serve partitions, by their ids.
type Held = BTreeMap<PartitionRange, Vec<(u64, Memstore)>>;

pub(super) struct Comparisons {
    store: Store,
    schedule: Schedule,
}

impl Comparisons {
    pub(super) fn new(store: Store, every: Duration) -> Comparisons {
        Comparisons { store, schedule: Schedule { every, due: BTreeMap::new() } }
    }

    /// Until the journal's end.
    pub(super) async fn run(mut self) {
        loop {
            match self.look().await {
                Ok(()) => {}
                Err(Error::Stopped) => return,
                // There is no leader, for example, which others tell of.
                Err(error) => tracing::debug!(%error, "nothing could be compared"),
            }
            tokio::time::sleep(LOOK_EVERY.min(self.schedule.every)).await;
        }
    }

    /// Compares the partition that has been due for longest, if any is.
    async fn look(&mut self) -> Result<(), Error> {
        let held = self.held();
        let Some(partition) = self.schedule.next(held.keys(), Instant::now(), rand::random) else {
            return Ok(());
        };
        let holders = &held[&partition];
        let at = self.store.barrier().await?;
        let at = Applied { lsn: at.lsn, revision: at.revision };
        let compared = tokio::time::timeout(ANSWERS_MAX, compare(&partition, holders, at)).await;
        let agreement = compared.unwrap_or(Agreement::Unknown);
        if agreement == Agreement::Same {
            tracing::debug!(
                partition = partition.id.0,
                revision = at.revision.0,
                "its replicas hold the same"
            );
        }
        self.schedule.came_to(&partition, &agreement, holders.len(), Instant::now());
        Ok(())
    }

    /// Those that several serve.
    fn held(&self) -> Held {
        let routes = self.store.journal().status_now().routes.clone();
        let mut held = Held::new();
        for info in routes.memstores() {
            let Some(memstore) = self.store.routes().registered(info.id) else { continue };
            let serves = memstore.serves();
            if serves.health == Health::Up {
                for range in serves.partitions.iter() {
                    held.entry(range.clone()).or_default().push((info.id, memstore.clone()));
                }
            }
        }
        held.retain(|_, holders| holders.len() > 1);
        held
    }
}

/// When what is due.
struct Schedule {
    every: Duration,
    due: BTreeMap<PartitionRange, Due>,
}

#[derive(Clone, Copy)]
struct Due {
    at: Instant,
    /// How often it was compared again soon.
    again: usize,
}

impl Schedule {
    /// The one that has been due for longest. One that is new is due at some moment of a period, by chance: those that are
    /// not held by several any more are forgotten, and come back sooner or later.
    fn next<'a>(
        &mut self,
        held: impl Iterator<Item = &'a PartitionRange> + Clone,
        now: Instant,
        chance: impl Fn() -> f64,
    ) -> Option<PartitionRange> {
        // One that is built again is away for a while.
        let is_held = |range: &PartitionRange| held.clone().any(|held| held == range);
        self.due.retain(|range, due| due.again > 0 || is_held(range));
        for range in held.clone() {
            let every = self.every;
            let first = || Due { at: now + every.mul_f64(chance()), again: 0 };
            self.due.entry(range.clone()).or_insert_with(first);
        }
        let due = self.due.iter().filter(|(range, due)| due.at <= now && is_held(range));
        due.min_by_key(|(_, due)| due.at).map(|(range, _)| range.clone())
    }

    fn came_to(&mut self, partition: &PartitionRange, agreement: &Agreement, holders: usize, now: Instant) {
        let Some(due) = self.due.get_mut(partition) else { return };
        let soon = match agreement {
            Agreement::Same => false,
            // Each may have to be built again, and nobody builds all day.
            Agreement::Differ { .. } | Agreement::Unknown => due.again <= holders,
        };
        *due = match soon {
            true => Due { at: now + SOON.min(self.every), again: due.again + 1 },
            false => Due { at: now + self.every, again: 0 },
        };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use journal::{MemstoreInfo, SystemClock};
    use memstore::PartitionId;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::operation::Put;
    use crate::route_change::RouteChanger;
    use crate::routes::Holder;
    use crate::routes::tests::served::Served;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn ranges(count: u64) -> Vec<PartitionRange> {
        let range = |id| PartitionRange { id: PartitionId(id), start: vec![b'a'; 1].into(), end: None };
        (0..count).map(range).collect()
    }

    #[test]
    fn each_is_compared_once_a_period_and_one_at_a_time() {
        let (held, start) = (ranges(60), Instant::now());
        let mut schedule = Schedule { every: HOUR, due: BTreeMap::new() };
        let mut number = 0.0;
        let mut compared: BTreeMap<u64, u32> = BTreeMap::new();
        let mut most = 0;
        for minute in 0..240_u32 {
            let mut in_minute = 0;
            for second in 0..60 {
                let now = start + Duration::from_secs(u64::from(minute) * 60 + second);
                number += 1.0;
                let chance = || f64::fract(number * 0.618_033_988_749);
                if let Some(next) = schedule.next(held.iter(), now, chance) {
                    schedule.came_to(&next, &Agreement::Same, 2, now);
                    *compared.entry(next.id.0).or_default() += 1;
                    in_minute += 1;
                }
            }
            most = most.max(in_minute);
        }
        assert!(
            compared.len() == 60 && compared.values().all(|count| (3..=4).contains(count)),
            "{compared:?}"
        );
        assert!(most <= 60);
    }

    #[test]
    fn what_differs_is_compared_again_until_all_may_have_been_built() {
        let (held, start) = (ranges(1), Instant::now());
        let mut schedule = Schedule { every: HOUR, due: BTreeMap::new() };
        let at = |seconds| start + Duration::from_secs(seconds);
        let next = |schedule: &mut Schedule, held: &[PartitionRange], seconds| {
            schedule.next(held.iter(), at(seconds), || 0.0).is_some()
        };
        let differs = Agreement::Differ { thrown: vec![1] };
        let mut now = 0;
        for _ in 0..4 {
            assert!(next(&mut schedule, &held, now));
            schedule.came_to(&held[0], &differs, 2, at(now));
            assert!(!next(&mut schedule, &held, now + 4));
            assert!(!next(&mut schedule, &[], now + 6), "it is being built");
            now += 3_600;
        }
        let mut schedule = Schedule { every: HOUR, due: BTreeMap::new() };
        assert!(next(&mut schedule, &held, 0));
        for again in 0..3 {
            schedule.came_to(&held[0], &differs, 2, at(again * 5));
            assert!(next(&mut schedule, &held, again * 5 + 5), "soon");
        }
        schedule.came_to(&held[0], &differs, 2, at(15));
        assert!(!next(&mut schedule, &held, 3_600) && next(&mut schedule, &held, 3_615));
    }

    /// A journal in which two memstores are registered, one that follows it, and a key with this value.
    async fn written(value: &'static str) -> (journal::Node, Served, Store) {
        let config = journal::Config::single(11, 12, journal::Storage::Memory);
        let node =
            journal::Node::start(config, Arc::new(SystemClock::default())).await.expect("it needs nothing");
        let journal = node.handle();
        drop(journal.status().wait_for(|status| status.leader.is_some()).await);
        let mut changer = RouteChanger::new(journal.clone());
        for (id, name) in [(1, "one"), (2, "two")] {
            let url = format!("http://{name}");
            let info = MemstoreInfo { id, name: name.to_owned(), url, zone: String::new(), process: id };
            let registered = changer.change(|routes| {
                let begun = if routes.version() == 0 { routes.begin(&[])? } else { routes.clone() };
                let is_known = begun.memstore(id).is_some();
                Ok((!is_known).then_some(begun.register(info.clone())?.following(routes)))
            });
            registered.await.expect("there is room");
        }
        let served = Served::start(&journal, &[&[]]).await;
        let store =
            Store::new(journal, served.routes.clone(), Duration::from_secs(60), CancellationToken::new());
        store.put(Put::new(Bytes::from("key"), Bytes::from(value))).await.expect("there is room");
        (node, served, store)
    }

    /// How often a partition is to be compared again soon, after the first comparison.
    async fn compared(value: &'static str, other: &'static str) -> usize {
        let (one, other) = (written(value).await, written(other).await);
        // It follows a journal of its own, which differs in what is written.
        let held = [&one, &other].map(|(_, served, _)| served.sites[0].there.clone());
        let holder = |(id, memstore)| Holder { id, zone: String::new(), memstore };
        one.1.routes.set_memstores((1..).zip(held).map(holder).collect());
        let mut comparisons = Comparisons::new(one.2.clone(), Duration::ZERO);
        comparisons.look().await.expect("it leads");
        let again = comparisons.schedule.due.values().map(|due| due.again).sum();
        for (journal, served, _) in [one, other] {
            served.close().await;
            journal.close().await;
        }
        again
    }

    #[tokio::test]
    async fn what_memstores_hold_is_compared() {
        assert_eq!(Box::pin(compared("same", "same")).await, 0);
        assert_eq!(Box::pin(compared("one", "other")).await, 1);
    }
}
