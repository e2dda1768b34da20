//! The next step towards every partition in as many memstores as are wanted, in zones of their own, evenly.
//!
//!     routes ──┐                                   add      too few hold it
//!     sight  ──┼─► plan ─► one step, or none       remove   one more than wanted holds it, and enough others serve
//!     wishes ──┘                                   add      it could be in more zones, or in an emptier memstore
//!                                                  split    it is too large or too busy
//!                                                  forget   it is gone, and holds nothing
//!                                                  doubt    it has not been seen for long: does anybody see it?
//!                                                  vouch    it is in doubt, and is seen
//!
//! A partition moves by two steps: what is added for a better place makes one too many, and what is removed then is the
//! worse place. So every state on the way is a good one, whoever made it and whoever goes on.
//!
//! Frontends see different things. What one of them does not see may be seen by others, so nothing is taken from a memstore
//! before its doubt stood in the routes for a while and nobody vouched for it. See `planner/absences.rs`.
//!
//! Invariants: a removal leaves as many replicas that serve as are wanted, and nothing else takes any away. While nothing
//! else changes, planning comes to rest.

mod balance;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use journal::{MemstoreInfo, Route, RouteRefusal, Routes};

/// What a frontend sees of the memstores and of what they hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sight {
    /// One that is not here has not been seen yet, and counts as away.
    pub(crate) memstores: BTreeMap<u64, Presence>,
    /// What each partition takes, as far as somebody serves it.
    pub(crate) loads: BTreeMap<u64, Load>,
}

/// What a partition is to a memstore that holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) bytes: u64,
    pub(crate) writes_per_second: u64,
    /// It was looked for a place to cut it, and there is none for now.
    pub(crate) is_whole: bool,
}

/// Whether a memstore is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Up {
        serves: BTreeSet<u64>,
        /// The number of its start.
        process: u64,
    },
    /// It may come back at any moment.
    Away,
    /// For so long that it may not be there.
    Missing,
    /// And no other frontend sees it either.
    Gone,
}

impl Sight {
    /// The memstores that serve a partition.
    pub(crate) fn holders(&self, partition: u64) -> impl Iterator<Item = u64> {
        let serves = move |presence: &Presence| matches!(presence, Presence::Up { serves, .. } if serves.contains(&partition));
        self.memstores.iter().filter(move |(_, presence)| serves(presence)).map(|(id, _)| *id)
    }
}

/// How it should be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wishes {
    /// How many memstores should hold each partition. Not 0.
    pub(crate) replicas: usize,
    /// Partitions that are larger are cut in two. 0: none is.
    pub(crate) split_after_bytes: u64,
    /// The same of those that are written to more often. 0: none is.
    pub(crate) split_after_writes: u64,
}

/// More partitions than these come about only on request: all that know the routes hold all of them.
const PARTITIONS_MAX: usize = 1_024;

/// One change of the routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Add {
        partition: u64,
        memstore: u64,
        why: Why,
    },
    Remove {
        partition: u64,
        memstore: u64,
        why: Why,
    },
    Split {
        partition: u64,
        why: Why,
    },
    /// The memstore is not in the routes any more, until it registers again.
    Forget {
        memstore: u64,
    },
    /// Asks all frontends whether they see the memstore.
    Doubt {
        memstore: u64,
    },
    /// This frontend sees its process.
    Vouch {
        memstore: u64,
    },
}

/// What a step is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    Lacking,
    Excess,
    Gone,
    Zones,
    Unequal,
    Large,
    Busy,
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Why::Lacking => "too few memstores hold it",
            Why::Excess => "more memstores hold it than should",
            Why::Gone => "this one has been away for too long",
            Why::Zones => "it could be in more zones",
            Why::Unequal => "others hold far more",
            Why::Large => "it holds more than --split-after-bytes",
            Why::Busy => "it is written to more often than --split-after-writes",
        })
    }
}

impl Step {
    /// Whether it should not wait until it is clear that nobody else is about to change something.
    pub(crate) fn is_urgent(&self) -> bool {
        matches!(self, Step::Add { why: Why::Lacking, .. } | Step::Doubt { .. } | Step::Vouch { .. })
    }

    /// The routes after it. A split is made at the key `at`, for which nobody else asks.
    ///
    /// # Errors
    /// Why not; never for a step that was planned on these routes, but where `at` is another partition's.
    pub(crate) fn done(&self, routes: &Routes, at: Option<&Bytes>) -> Result<Routes, RouteRefusal> {
        match *self {
            Step::Add { partition, memstore, .. } => routes.add_replica(partition, memstore),
            Step::Remove { partition, memstore, .. } => routes.remove_replica(partition, memstore),
            Step::Split { partition, .. } => {
                let within =
                    |key: &&Bytes| routes.partition_of(key).is_some_and(|route| route.partition == partition);
                let at = at
                    .filter(within)
                    .ok_or_else(|| RouteRefusal(format!("partition {partition} has no such key")))?;
                routes.split(at)
            }
            Step::Forget { memstore } => routes.unregister(memstore),
            Step::Doubt { memstore } => routes.doubt(memstore),
            Step::Vouch { memstore } => routes.vouch(memstore),
        }
    }
}

/// What to do next. `None`: it is as it should be, or as well as it can be for now.
pub(crate) fn plan(routes: &Routes, sight: &Sight, wishes: &Wishes) -> Option<Step> {
    let planning = Planning::new(routes, sight, wishes);
    let steps = [
        Planning::vouch,
        Planning::doubt,
        Planning::lacking,
        Planning::excess,
        Planning::zones,
        Planning::split,
        Planning::unequal,
        Planning::forget,
    ];
    steps.iter().find_map(|step| step(&planning))
}

/// What a memstore holds by the routes: bytes, and then partitions, since empty ones count, too.
type Weight = (u64, usize);

struct Planning<'a> {
    routes: &'a Routes,
    sight: &'a Sight,
    wishes: &'a Wishes,
    wanted: usize,
    weights: BTreeMap<u64, Weight>,
}

impl<'a> Planning<'a> {
    fn new(routes: &'a Routes, sight: &'a Sight, wishes: &'a Wishes) -> Planning<'a> {
        let mut weights: BTreeMap<u64, Weight> =
            routes.memstores().iter().map(|info| (info.id, Weight::default())).collect();
        for route in routes.partitions() {
            for replica in &route.replicas {
                let (bytes, count) = weights.entry(*replica).or_default();
                *bytes += sight.loads.get(&route.partition).map_or(0, |load| load.bytes);
                *count += 1;
            }
        }
        Planning { routes, sight, wishes, wanted: wishes.replicas.max(1), weights }
    }

    /// Another frontend does not see it.
    fn vouch(&self) -> Option<Step> {
        let mut doubted = self.routes.memstores().iter().filter(|info| info.is_doubted());
        // What was heard of the process before it proves nothing.
        let is_seen = |info: &&MemstoreInfo| match self.presence(info.id) {
            Presence::Up { process, .. } => info.is_process(*process),
            Presence::Away | Presence::Missing | Presence::Gone => false,
        };
        Some(Step::Vouch { memstore: doubted.find(is_seen)?.id })
    }

    /// Others may see it, or know better.
    fn doubt(&self) -> Option<Step> {
        let mut believed = self.routes.memstores().iter().filter(|info| !info.is_doubted());
        let missing = believed.find(|info| self.presence(info.id) == &Presence::Missing)?;
        Some(Step::Doubt { memstore: missing.id })
    }

    /// One more where too few are there, first where fewest serve.
    fn lacking(&self) -> Option<Step> {
        let lacks = |route: &&Route| self.live(route).count() < self.wanted;
        let partitions = self.routes.partitions().iter().filter(lacks);
        let possible = partitions.filter_map(|route| Some((route, self.place_for(route)?)));
        let (route, memstore) = possible.min_by_key(|(route, _)| self.serving(route).count())?;
        Some(Step::Add { partition: route.partition, memstore, why: Why::Lacking })
    }

    /// One less where more hold it than should, and enough of the others serve.
    fn excess(&self) -> Option<Step> {
        let over = |route: &&Route| self.wanted < route.replicas.len();
        let partitions = self.routes.partitions().iter().filter(over);
        partitions.filter(|route| self.wanted <= self.serving(route).count()).find_map(|route| {
            let partition = route.partition;
            let gone = route.replicas.iter().find(|id| self.presence(**id) == &Presence::Gone);
            if let Some(memstore) = gone {
                return Some(Step::Remove { partition, memstore: *memstore, why: Why::Gone });
            }
            // One that builds it may be the better place.
            let memstore = self.all_serve(route).then(|| self.worst(route.partition, &route.replicas))??;
            Some(Step::Remove { partition, memstore, why: Why::Excess })
        })
    }

    /// One more in a zone that has none yet, where two share a zone.
    fn zones(&self) -> Option<Step> {
        let settled = |route: &&Route| route.replicas.len() == self.wanted && self.all_serve(route);
        self.routes.partitions().iter().filter(settled).find_map(|route| {
            let shared = route.replicas.iter().any(|id| self.shares_zone(*id, &route.replicas));
            let memstore = shared.then(|| self.place_for(route))??;
            let why = Why::Zones;
            (!self.shares_zone(memstore, &route.replicas)).then_some(Step::Add {
                partition: route.partition,
                memstore,
                why,
            })
        })
    }

    /// Two of one that is too large or too busy. Everybody who holds it makes two of what is there.
    fn split(&self) -> Option<Step> {
        let partitions = self.routes.partitions();
        let held = |route: &&Route| !route.replicas.is_empty() && self.all_serve(route);
        let mut held =
            partitions.iter().filter(held).map(|route| (route.partition, self.load(route.partition)));
        held.find_map(|(partition, load)| {
            let Wishes { split_after_bytes, split_after_writes, .. } = *self.wishes;
            let is_over = |most: u64, is: u64| 0 < most && most < is;
            let why = match (
                is_over(split_after_bytes, load.bytes),
                is_over(split_after_writes, load.writes_per_second),
            ) {
                (true, _) => Why::Large,
                (false, true) => Why::Busy,
                (false, false) => return None,
            };
            (!load.is_whole && partitions.len() < PARTITIONS_MAX).then_some(Step::Split { partition, why })
        })
    }

    /// Where each start has a name of its own, those that are gone would fill the routes.
    fn forget(&self) -> Option<Step> {
        let gone = self.routes.memstores().iter().filter(|info| self.presence(info.id) == &Presence::Gone);
        let holds_nothing = |id: &u64| self.weights.get(id).is_none_or(|(_, count)| *count == 0);
        let memstore = gone.map(|info| info.id).find(holds_nothing)?;
        Some(Step::Forget { memstore })
    }

    /// The emptiest memstore that is up and does not hold it, where there is one in a zone of its own.
    fn place_for(&self, route: &Route) -> Option<u64> {
        let live: Vec<u64> = self.live(route).collect();
        let free = self.up().filter(|id| !route.replicas.contains(id));
        free.min_by_key(|id| (self.shares_zone(*id, &live), self.weights[id], *id))
    }

    /// The one that can best be done without: in a zone with another one if there is such, and there the fullest.
    fn worst(&self, partition: u64, replicas: &[u64]) -> Option<u64> {
        // Where it is added only in thought it weighs what it weighs elsewhere.
        let weight = |id: &u64| {
            let (bytes, count) = self.weights.get(id).copied().unwrap_or_default();
            let holds = self.routes.partition(partition).is_some_and(|route| route.replicas.contains(id));
            match holds {
                true => (bytes, count),
                false => (bytes + self.bytes_of(partition), count + 1),
            }
        };
        replicas.iter().copied().max_by_key(|id| (self.shares_zone(*id, replicas), weight(id), *id))
    }

    fn bytes_of(&self, partition: u64) -> u64 {
        self.load(partition).bytes
    }

    fn load(&self, partition: u64) -> Load {
        self.sight.loads.get(&partition).copied().unwrap_or_default()
    }

    /// Whether another one of them is in its zone. A zone that nobody knows is one of its own.
    fn shares_zone(&self, id: u64, among: &[u64]) -> bool {
        let zone = |id: u64| self.routes.memstore(id).map_or("", |info| &info.zone[..]);
        !zone(id).is_empty() && among.iter().any(|other| *other != id && zone(*other) == zone(id))
    }

    fn presence(&self, id: u64) -> &Presence {
        self.sight.memstores.get(&id).unwrap_or(&Presence::Away)
    }

    fn up(&self) -> impl Iterator<Item = u64> {
        let ids = self.routes.memstores().iter().map(|info| info.id);
        ids.filter(|id| matches!(self.presence(*id), Presence::Up { .. }))
    }

    /// Replicas in memstores that are there, or may be in a moment.
    fn live(&self, route: &Route) -> impl Iterator<Item = u64> {
        route.replicas.iter().copied().filter(|id| self.presence(*id) != &Presence::Gone)
    }

    fn serving(&self, route: &Route) -> impl Iterator<Item = u64> {
        let serves = |id: &u64| match self.presence(*id) {
            Presence::Up { serves, .. } => serves.contains(&route.partition),
            Presence::Away | Presence::Missing | Presence::Gone => false,
        };
        route.replicas.iter().copied().filter(serves)
    }

    fn all_serve(&self, route: &Route) -> bool {
        self.serving(route).count() == route.replicas.len()
    }
}

#[cfg(test)]
mod tests;
