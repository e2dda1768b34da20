//! Planners that see different memstores, over the same routes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use journal::{MemstoreInfo, Routes};

use super::absences::Absences;
use super::due;
use crate::plan::{Load, Presence, Sight, Step, Wishes, plan};

const WISHES: Wishes = Wishes { replicas: 2, split_after_bytes: 0, split_after_writes: 0 };
const LARGE: u64 = 100 << 20;

/// A frontend, and the memstores that it can reach.
struct Frontend {
    sees: Vec<u64>,
    absences: Absences,
    /// Whether it asks others before it takes anything from a memstore that it does not see.
    asks: bool,
}

impl Frontend {
    fn new(sees: &[u64]) -> Frontend {
        Frontend { sees: sees.to_vec(), absences: Absences::default(), asks: true }
    }

    /// All that run have built what they should hold.
    fn sight(&mut self, routes: &Routes, run: &[u64], now: Instant) -> Sight {
        let mut sight = Sight::default();
        for info in routes.memstores() {
            let presence = if self.sees.contains(&info.id) && run.contains(&info.id) {
                self.absences.end(info.id);
                let serves = routes.held_by(info.id).map(|route| route.partition).collect();
                Presence::Up { serves, process: 10 + info.id }
            } else {
                match self.absences.see(info.id, info.is_doubted(), now) {
                    Presence::Missing if !self.asks => Presence::Gone,
                    presence => presence,
                }
            };
            if let Presence::Up { serves, .. } = &presence {
                let load = Load { bytes: LARGE, ..Load::default() };
                sight.loads.extend(serves.iter().map(|id| (*id, load)));
            }
            sight.memstores.insert(info.id, presence);
        }
        self.absences.keep(|id| routes.memstore(id).is_some());
        sight
    }
}

/// A store of memstores 1, 2, 3, of which the first two hold four partitions.
fn store() -> Routes {
    let split: Vec<_> = ["g", "m", "t"].map(Into::into).into();
    let mut routes = Routes::default().begin(&split).expect("there is room");
    for id in 1..4 {
        let (name, url) = (format!("m{id}"), format!("http://m{id}"));
        let info = MemstoreInfo { id, name, url, zone: String::new(), process: 10 + id };
        routes = routes.register(info).expect("there is room");
    }
    // Each memstore holds as much as the others, as far as that goes.
    for (partition, replicas) in [(1, [1, 2]), (2, [2, 3]), (3, [1, 3]), (4, [1, 2])] {
        for id in replicas {
            routes = routes.add_replica(partition, id).expect("it is there");
        }
    }
    routes
}

/// How often each kind of step was taken in ten minutes, in which every frontend looks once a second.
fn steps(routes: &mut Routes, run: &[u64], frontends: &mut [Frontend]) -> BTreeMap<&'static str, u32> {
    let (start, mut taken) = (Instant::now(), BTreeMap::new());
    for second in 0..600 {
        for frontend in &mut *frontends {
            let sight = frontend.sight(routes, run, start + Duration::from_secs(second));
            let Some(step) = plan(routes, &sight, &WISHES) else { continue };
            let (steps, next) = due(routes, &sight, &WISHES, (step, None));
            *routes = next.following(routes);
            for step in steps {
                if let Step::Doubt { memstore } = step {
                    frontend.absences.doubts(memstore, start + Duration::from_secs(second));
                }
                let kind = match step {
                    Step::Add { .. } => "add",
                    Step::Remove { .. } => "remove",
                    Step::Split { .. } => "split",
                    Step::Forget { .. } => "forget",
                    Step::Doubt { .. } => "doubt",
                    Step::Vouch { .. } => "vouch",
                };
                *taken.entry(kind).or_default() += 1;
            }
        }
    }
    taken
}

#[test]
fn nothing_is_taken_from_a_memstore_that_another_frontend_sees() {
    let before = store();
    for blind in 1..4 {
        let mut routes = before.clone();
        let sees: Vec<u64> = (1..4).filter(|id| *id != blind).collect();
        let mut frontends = [Frontend::new(&sees), Frontend::new(&[1, 2, 3])];
        let taken = steps(&mut routes, &[1, 2, 3], &mut frontends);
        // Once in 50 s: nobody else can know when the other one sees it no longer.
        assert_eq!(taken, BTreeMap::from([("doubt", 11), ("vouch", 11)]), "without m{blind}");
        assert_eq!(routes.partitions(), before.partitions());
        assert_eq!(routes.memstores(), before.memstores());
    }
}

/// So that the tests above show something.
#[test]
fn a_frontend_that_asked_nobody_would_take_and_get_back_for_ever() {
    let mut routes = store();
    let mut frontends = [Frontend::new(&[1, 2]), Frontend::new(&[1, 2, 3])];
    frontends[0].asks = false;
    let taken = steps(&mut routes, &[1, 2, 3], &mut frontends);
    let count = |kind| taken.get(kind).copied().unwrap_or_default();
    assert!(count("add") > 100 && count("remove") > 100, "{taken:?}");
}

#[test]
fn frontends_that_each_see_another_memstore_leave_all_where_it_is() {
    let mut routes = store();
    let mut frontends = [Frontend::new(&[1, 2]), Frontend::new(&[2, 3]), Frontend::new(&[1, 3])];
    let taken = steps(&mut routes, &[1, 2, 3], &mut frontends);
    assert!(taken.keys().all(|kind| ["doubt", "vouch"].contains(kind)), "{taken:?}");
    assert_eq!(routes.partitions(), store().partitions());
}

#[test]
fn one_that_no_frontend_sees_is_replaced_and_forgotten() {
    let mut routes = store();
    let mut frontends = [Frontend::new(&[1, 2, 3]), Frontend::new(&[2, 3])];
    let taken = steps(&mut routes, &[2, 3], &mut frontends);
    assert_eq!(taken, BTreeMap::from([("add", 3), ("doubt", 1), ("forget", 1), ("remove", 3)]));
    assert!(routes.partitions().iter().all(|route| route.replicas == [2, 3]));
    // What is left to see is the same for both, and there is nothing to do.
    assert_eq!(steps(&mut routes, &[2, 3], &mut frontends), BTreeMap::new());
}
