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
    use memstore::PartitionId;

    use super::*;

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
}
