//! Sees to it that the partitions are where they should be: looks at the memstores, and takes the next step.
//!
//!     news, or a while later ──► look ──► plan ── urgent, or planned for some time ──► change of the routes
//!
//! Every frontend without a memstore of its own does this, since only those see the memstores. Each changes the routes by
//! comparing and plans anew on what it finds, so that of two that want the same one does it. What is not urgent waits a
//! little, in which whoever moves a partition ends what he has begun.
//!
//! Beside that it has memstores compared that hold the same partition.

mod absences;
mod comparisons;
mod cuts;
mod patience;
mod rates;
#[cfg(test)]
mod sights_tests;

use std::time::{Duration, Instant};

use bytes::Bytes;
use journal::Routes;
use memstore::{Health, Memstore};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use self::absences::Absences;
use self::comparisons::Comparisons;
use self::cuts::Cuts;
use self::patience::Patience;
use self::rates::Rates;
use crate::error::Error;
use crate::plan::{Presence, Sight, Step, Wishes, plan};
use crate::route_change::{NotChanged, RouteChanger};
use crate::store::Store;

/// How long until it looks again though nothing seems new, to which as much comes by chance.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long others may take to be quicker, by chance.
const NEWS_PAUSE_MAX: Duration = Duration::from_millis(200);

/// The task.
pub(crate) struct Planner {
    store: Store,
    wishes: Wishes,
    /// How often partitions are compared. `None`: never.
    compares_every: Option<Duration>,
    changer: RouteChanger,
    absences: Absences,
    rates: Rates,
    cuts: Cuts,
    patience: Patience,
}

impl Planner {
    /// Over a store that asks registered memstores.
    pub(crate) fn new(store: Store, wishes: Wishes, compares_every: Option<Duration>) -> Planner {
        let changer = RouteChanger::new(store.journal().clone());
        let (absences, rates) = (Absences::default(), Rates::default());
        Planner {
            store,
            wishes,
            compares_every,
            changer,
            absences,
            rates,
            cuts: Cuts::default(),
            patience: Patience::default(),
        }
    }

    /// Until `closing`, or the journal's end.
    pub(crate) async fn run(mut self, closing: CancellationToken) {
        let comparisons = self.compares_every.map(|every| Comparisons::new(self.store.clone(), every));
        let compares = async {
            match comparisons {
                Some(comparisons) => comparisons.run().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = closing.cancelled() => {}
            () = self.go_on() => {}
            () = compares => {}
        }
    }

    async fn go_on(&mut self) {
        loop {
            let news = self.store.routes().news();
            match self.look().await {
                Ok(()) => {}
                Err(Error::Stopped) => return,
                Err(error) => {
                    tracing::warn!(%error, "the partitions could not be changed; it is tried again");
                }
            }
            tokio::select! {
                () = news => tokio::time::sleep(NEWS_PAUSE_MAX.mul_f64(rand::random())).await,
                () = tokio::time::sleep(LOOK_EVERY + LOOK_EVERY.mul_f64(rand::random())) => {}
            }
        }
    }

    async fn look(&mut self) -> Result<(), Error> {
        let (routes, now) = (self.changer.known(), Instant::now());
        let sight = self.sight(&routes, now);
        match self.patience.ripe(plan(&routes, &sight, &self.wishes), now) {
            Some(step @ Step::Split { partition, why }) => {
                let holders = sight.holders(partition);
                let holders = holders.filter_map(|id| self.store.routes().registered(id));
                let holders: Vec<Memstore> = holders.collect();
                match self.cuts.cut(partition, why, &holders, now).await {
                    Some(key) => self.take(step, &sight, Some(&key)).await,
                    None => Ok(()),
                }
            }
            Some(
                step @ (Step::Add { .. }
                | Step::Remove { .. }
                | Step::Forget { .. }
                | Step::Doubt { .. }
                | Step::Vouch { .. }),
            ) => self.take(step, &sight, None).await,
            None => Ok(()),
        }
    }

    fn sight(&mut self, routes: &Routes, now: Instant) -> Sight {
        let mut sight = Sight::default();
        for info in routes.memstores() {
            let seen = self.store.routes().registered(info.id);
            let seen = seen.map(|memstore| (memstore.serves(), memstore));
            // One that leaves gets nothing more, and may be back in a moment.
            let up = seen.filter(|(serves, _)| matches!(serves.health, Health::Up | Health::Quiet));
            // Another one may have its address by now.
            let up = up.and_then(|(serves, memstore)| {
                let (name, process) = memstore.identity()?;
                (name == info.name).then_some((serves, memstore, process))
            });
            let Some((serves, memstore, process)) = up else {
                let absence = self.absences.see(info.id, info.is_doubted(), now);
                sight.memstores.insert(info.id, absence);
                continue;
            };
            self.absences.end(info.id);
            for range in serves.partitions.iter() {
                let load = sight.loads.entry(range.id.0).or_default();
                load.bytes = memstore.partition_bytes_in_use(range.id).unwrap_or_default().max(load.bytes);
                if let Ok(stats) = memstore.partition_stats(range.id) {
                    self.rates.see((range.id.0, info.id), stats.puts + stats.deletes, now);
                }
            }
            let serves = serves.partitions.iter().map(|range| range.id.0).collect();
            sight.memstores.insert(info.id, Presence::Up { serves, process });
        }
        self.absences.keep(|id| routes.memstore(id).is_some());
        self.rates.keep(|id| sight.loads.contains_key(&id));
        self.patience.keep(|id| routes.partition(id).is_some());
        self.cuts.keep(|id| sight.loads.contains_key(&id), now);
        for (id, load) in &mut sight.loads {
            load.writes_per_second = self.rates.of(*id);
            load.is_whole = self.cuts.is_whole(*id);
        }
        sight
    }

    /// Takes the step where it is still the next one, and with it those that are as urgent. A split is made `at` a key.
    async fn take(&mut self, step: Step, sight: &Sight, at: Option<&Bytes>) -> Result<(), Error> {
        let (taken, before) = (Mutex::new(Vec::new()), self.changer.known());
        let changed = self.changer.change(|routes| {
            let (steps, next) = due(routes, sight, &self.wishes, (step, at));
            let is_changed = !steps.is_empty();
            *taken.lock() = steps;
            Ok(is_changed.then(|| next.following(routes)))
        });
        match changed.await {
            Ok(_) => {}
            Err(NotChanged::Failed(error)) => return Err(error),
            Err(NotChanged::Refused(refusal)) => {
                tracing::warn!(%refusal, "the partitions stay where they are; it is tried again");
                return Ok(());
            }
        };
        for step in taken.into_inner() {
            self.patience.taken(&step);
            if let Step::Doubt { memstore } = step {
                self.absences.doubts(memstore, Instant::now());
            }
            tell(&step, &before);
        }
        Ok(())
    }
}

/// What to do at once, and the routes then: the step, unless something else is next by now, or all that are urgent.
fn due(
    routes: &Routes,
    sight: &Sight,
    wishes: &Wishes,
    (step, at): (Step, Option<&Bytes>),
) -> (Vec<Step>, Routes) {
    let mut steps = Vec::new();
    let mut next = routes.clone();
    while let Some(planned) = plan(&next, sight, wishes)
        && (planned.is_urgent() || steps.is_empty() && planned == step)
        && let Ok(after) = planned.done(&next, at)
    {
        next = after;
        steps.push(planned);
        if !planned.is_urgent() {
            break;
        }
    }
    (steps, next)
}

fn tell(step: &Step, routes: &Routes) {
    let name = |id: &u64| routes.memstore(*id).map(|info| info.name.clone()).unwrap_or_default();
    match step {
        Step::Add { partition, memstore, why } => {
            tracing::info!(partition, memstore = name(memstore), %why, "another memstore shall hold a partition");
        }
        Step::Remove { partition, memstore, why } => {
            tracing::info!(partition, memstore = name(memstore), %why, "a memstore shall not hold a partition any more");
        }
        Step::Split { partition, why } => tracing::info!(partition, %why, "a partition becomes two"),
        Step::Forget { memstore } => {
            tracing::info!(memstore = name(memstore), "a memstore is gone, holds nothing, and is forgotten");
        }
        Step::Doubt { memstore } => {
            tracing::warn!(
                memstore = name(memstore),
                "memstore does not answer this frontend; others are asked whether they see it"
            );
        }
        Step::Vouch { memstore } => {
            tracing::warn!(
                memstore = name(memstore),
                "memstore answers this frontend and not another one: look at the network between them"
            );
        }
    }
}
