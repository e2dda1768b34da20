//! What planning promises over any cluster, and what each rule does.

use super::*;
use bytes::Bytes;
use expect_test::{Expect, expect};
use journal::MemstoreInfo;
use proptest::collection::vec;
use proptest::prelude::*;

const MIB: u64 = 1 << 20;

/// Memstores that are up, gone or away, and who serves what.
#[derive(Clone, Debug)]
struct Cluster {
    routes: Routes,
    sight: Sight,
}

fn info(id: u64, zone: u64) -> MemstoreInfo {
    // Nobody knows of zone 0.
    let zone = if zone == 0 { String::new() } else { format!("z{zone}") };
    MemstoreInfo { id, name: format!("m{id}"), url: format!("http://m{id}"), zone, process: id }
}

impl Cluster {
    /// Partitions by their sizes, and memstores by their zones; nobody holds anything.
    fn new(mebibytes: &[u64], zones: &[u64]) -> Cluster {
        let key = |at: usize| Bytes::from(format!("{at:03}"));
        let split: Vec<Bytes> = (1..mebibytes.len()).map(key).collect();
        let mut routes = Routes::default().begin(&split).expect("there is room");
        let mut sight = Sight::default();
        for (id, zone) in (1..).zip(zones) {
            routes = routes.register(info(id, *zone)).expect("there is room");
            sight.memstores.insert(id, Presence::Up { serves: BTreeSet::new(), process: id });
        }
        let ids = routes.partitions().iter().map(|route| route.partition);
        let load = |mebibytes: &u64| Load { bytes: mebibytes * MIB, ..Load::default() };
        sight.loads = ids.zip(mebibytes.iter().map(load)).collect();
        Cluster { routes, sight }
    }

    /// The memstore holds and, if it is up, serves the partition.
    fn held(mut self, partition: u64, memstore: u64) -> Cluster {
        if let Ok(routes) = self.routes.add_replica(partition, memstore) {
            self.routes = routes;
            self.builds(partition, memstore);
        }
        self
    }

    fn is(mut self, memstore: u64, presence: Presence) -> Cluster {
        self.sight.memstores.insert(memstore, presence);
        self
    }

    fn builds(&mut self, partition: u64, memstore: u64) {
        if let Some(Presence::Up { serves, .. }) = self.sight.memstores.get_mut(&memstore) {
            serves.insert(partition);
        }
    }

    /// Memstores build all that they should hold.
    fn build_all(&mut self) {
        for route in self.routes.clone().partitions() {
            route.replicas.iter().for_each(|id| self.builds(route.partition, *id));
        }
    }

    fn take(&mut self, step: Step) {
        let before = self.routes.clone();
        let cut = match step {
            Step::Split { partition, .. } => before.partition(partition).map(middle),
            Step::Add { .. }
            | Step::Remove { .. }
            | Step::Forget { .. }
            | Step::Doubt { .. }
            | Step::Vouch { .. } => None,
        };
        self.routes = step.done(&before, cut.as_ref()).expect("a planned step can be done");
        if let (Step::Split { partition, .. }, Some(key)) = (step, cut) {
            self.halve(partition, &key);
        }
        if let Step::Remove { partition, memstore, .. } = step
            && let Some(Presence::Up { serves, .. }) = self.sight.memstores.get_mut(&memstore)
        {
            serves.remove(&partition);
        }
    }

    /// Whoever serves the partition serves the two at once, which share what it was.
    fn halve(&mut self, partition: u64, key: &[u8]) {
        let right = self.routes.partition_of(key).expect("there is one for every key").partition;
        let halves = [right - 1, right];
        let Load { bytes, writes_per_second, .. } = self.sight.loads.remove(&partition).unwrap_or_default();
        let half = Load { bytes: bytes / 2, writes_per_second: writes_per_second / 2, is_whole: false };
        self.sight.loads.extend(halves.map(|id| (id, half)));
        for presence in self.sight.memstores.values_mut() {
            if let Presence::Up { serves, .. } = presence
                && serves.remove(&partition)
            {
                serves.extend(halves);
            }
        }
    }

    fn serving(&self, partition: u64) -> usize {
        let serves = |presence: &&Presence| matches!(presence, Presence::Up { serves, .. } if serves.contains(&partition));
        self.sight.memstores.values().filter(serves).count()
    }

    fn up(&self) -> Vec<u64> {
        let up = self.sight.memstores.iter().filter(|(_, presence)| matches!(presence, Presence::Up { .. }));
        up.map(|(id, _)| *id).collect()
    }

    /// In how many zones these are. One that nobody knows is one of its own.
    fn zones(&self, ids: &[u64]) -> usize {
        let zone = |id: &u64| match &self.routes.memstore(*id).expect("it is there").zone {
            unknown if unknown.is_empty() => format!("of {id}"),
            known => known.clone(),
        };
        ids.iter().map(zone).collect::<BTreeSet<_>>().len()
    }
}

fn wishes(replicas: usize) -> Wishes {
    Wishes { replicas, split_after_bytes: 256 * MIB, split_after_writes: 5_000 }
}

/// A key within a partition, far from both ends.
fn middle(route: &Route) -> Bytes {
    let number = |key: &[u8]| {
        let mut digits = [0; 16];
        digits[..key.len()].copy_from_slice(key);
        u128::from_be_bytes(digits)
    };
    let (start, end) = (number(&route.start), route.end.as_ref().map_or(u128::MAX, |end| number(end)));
    Bytes::copy_from_slice(&(start + (end - start) / 2).to_be_bytes())
}

/// The steps until nothing is left to do, everything built after each.
#[track_caller]
fn check(mut cluster: Cluster, replicas: usize, expected: Expect) {
    let mut steps = String::new();
    while let Some(step) = plan(&cluster.routes, &cluster.sight, &wishes(replicas)) {
        steps += &match step {
            Step::Add { partition, memstore, why } => format!("add {partition} m{memstore}: {why}\n"),
            Step::Remove { partition, memstore, why } => format!("remove {partition} m{memstore}: {why}\n"),
            Step::Split { partition, why } => format!("split {partition}: {why}\n"),
            Step::Forget { memstore } => format!("forget m{memstore}\n"),
            Step::Doubt { memstore } => format!("doubt m{memstore}\n"),
            Step::Vouch { memstore } => format!("vouch m{memstore}\n"),
        };
        assert!(steps.len() < 10_000, "it does not end:\n{steps}");
        cluster.take(step);
        cluster.build_all();
    }
    expected.assert_eq(&steps);
}

#[test]
fn what_nobody_holds_goes_to_the_emptiest_in_zones_of_their_own() {
    check(
        Cluster::new(&[10, 20], &[1, 1, 2]),
        2,
        expect![[r#"
            add 1 m1: too few memstores hold it
            add 2 m2: too few memstores hold it
            add 1 m3: too few memstores hold it
            add 2 m3: too few memstores hold it
        "#]],
    );
}

#[test]
fn a_memstore_that_is_gone_is_replaced_and_then_forgotten() {
    let cluster = Cluster::new(&[10], &[0, 0, 0]).held(1, 1).held(1, 2);
    check(
        cluster.clone().is(2, Presence::Gone),
        2,
        expect![[r#"
            add 1 m3: too few memstores hold it
            remove 1 m2: this one has been away for too long
            forget m2
        "#]],
    );
    check(cluster.is(2, Presence::Away), 2, expect![""]);
}

#[test]
fn nobody_is_removed_before_enough_others_serve() {
    let mut cluster = Cluster::new(&[10], &[0, 0, 0]).held(1, 1).held(1, 2).is(2, Presence::Gone);
    cluster.routes = cluster.routes.add_replica(1, 3).expect("it is there");
    assert_eq!(plan(&cluster.routes, &cluster.sight, &wishes(2)), None, "the third builds it");
    assert_eq!(plan(&cluster.routes, &cluster.sight, &wishes(3)), None, "there is no fourth");
    cluster.build_all();
    let gone = Step::Remove { partition: 1, memstore: 2, why: Why::Gone };
    assert_eq!(plan(&cluster.routes, &cluster.sight, &wishes(2)), Some(gone));
}

#[test]
fn of_too_many_goes_the_one_in_a_doubled_zone_and_else_the_fullest() {
    let cluster = Cluster::new(&[10, 5], &[1, 1, 2]).held(1, 1).held(1, 2).held(1, 3).held(2, 3).held(2, 1);
    check(cluster, 2, expect!["remove 1 m1: more memstores hold it than should\n"]);
    let cluster = Cluster::new(&[10, 5], &[0, 0, 0]).held(1, 1).held(1, 2).held(1, 3).held(2, 3).held(2, 2);
    check(cluster, 2, expect!["remove 1 m3: more memstores hold it than should\n"]);
}

#[test]
fn replicas_in_one_zone_part_when_there_is_another() {
    let cluster = Cluster::new(&[10], &[1, 1, 2]).held(1, 1).held(1, 2);
    check(
        cluster,
        2,
        expect![[r#"
            add 1 m3: it could be in more zones
            remove 1 m2: more memstores hold it than should
        "#]],
    );
}

#[test]
fn a_new_memstore_gets_its_part_of_much() {
    let mut cluster = Cluster::new(&[100, 100, 100, 100], &[0, 0, 0]);
    for partition in 1..5 {
        cluster = cluster.held(partition, 1).held(partition, 2);
    }
    check(
        cluster.clone(),
        2,
        expect![[r#"
            add 4 m3: others hold far more
            remove 4 m2: more memstores hold it than should
            add 3 m3: others hold far more
            remove 3 m1: more memstores hold it than should
        "#]],
    );
    cluster.sight.loads.values_mut().for_each(|load| load.bytes /= 100);
    check(cluster, 2, expect![""]);
}

#[test]
fn one_partition_is_nothing_to_share() {
    check(Cluster::new(&[200], &[0, 0, 0]).held(1, 1).held(1, 2), 2, expect![""]);
}

/// The second one can only replace the other of its zone, and that one holds as little.
#[test]
fn what_would_go_again_is_not_added() {
    let cluster = Cluster::new(&[20, 200], &[1, 2, 2]).held(1, 1).held(1, 2).held(2, 1).held(2, 3);
    check(cluster, 2, expect![""]);
}

#[test]
fn what_is_large_or_busy_is_cut_until_it_is_neither() {
    let mut cluster = Cluster::new(&[600, 256], &[0, 0]).held(1, 1).held(1, 2).held(2, 1).held(2, 2);
    let large = expect![[r#"
        split 1: it holds more than --split-after-bytes
        split 3: it holds more than --split-after-bytes
        split 4: it holds more than --split-after-bytes
    "#]];
    check(cluster.clone(), 2, large);
    let load = |writes_per_second, is_whole| Load { bytes: MIB, writes_per_second, is_whole };
    cluster.sight.loads = BTreeMap::from([(1, load(5_000, false)), (2, load(12_000, false))]);
    let busy = expect![[r#"
        split 2: it is written to more often than --split-after-writes
        split 3: it is written to more often than --split-after-writes
        split 4: it is written to more often than --split-after-writes
    "#]];
    check(cluster.clone(), 2, busy);
    cluster.sight.loads.insert(2, load(12_000, true));
    check(cluster.clone(), 2, expect![""]);
    cluster.sight.loads.insert(2, load(12_000, false));
    let never = Wishes { replicas: 2, split_after_bytes: 0, split_after_writes: 0 };
    assert_eq!(plan(&cluster.routes, &cluster.sight, &never), None);
    assert_eq!(plan(&cluster.is(2, Presence::Away).routes, &Sight::default(), &wishes(2)), None);
}

/// The moves come when there are parts that can be moved.
#[test]
fn a_part_of_one_large_partition_goes_to_a_new_memstore() {
    check(
        Cluster::new(&[400], &[0, 0, 0]).held(1, 1).held(1, 2),
        2,
        expect![[r#"
        split 1: it holds more than --split-after-bytes
        add 3 m3: others hold far more
        remove 3 m2: more memstores hold it than should
    "#]],
    );
}

/// Who is up, away or gone.
fn any_presence() -> impl Strategy<Value = u8> {
    prop_oneof![6 => Just(0_u8), 1 => Just(1), 2 => Just(2)]
}

fn any_cluster() -> impl Strategy<Value = Cluster> {
    let held = vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<bool>()), 0..20);
    (vec(0_u64..900, 1..7), vec((0_u64..4, any_presence()), 1..7), held).prop_map(
        |(sizes, memstores, held)| {
            let zones: Vec<u64> = memstores.iter().map(|(zone, _)| *zone).collect();
            let mut cluster = Cluster::new(&sizes, &zones);
            for (at, load) in (0_u64..).zip(cluster.sight.loads.values_mut()) {
                load.writes_per_second = load.bytes / MIB * 7_919 * at % 20_000;
            }
            for (id, (_, presence)) in (1..).zip(&memstores) {
                match presence {
                    0 => {}
                    1 => cluster = cluster.is(id, Presence::Away),
                    _ => cluster = cluster.is(id, Presence::Gone),
                }
            }
            for (partition, memstore, is_built) in held {
                let partition = partition.get(cluster.routes.partitions()).partition;
                let memstore = memstore.get(cluster.routes.memstores()).id;
                match is_built {
                    true => cluster = cluster.held(partition, memstore),
                    false => {
                        if let Ok(routes) = cluster.routes.add_replica(partition, memstore) {
                            cluster.routes = routes;
                        }
                    }
                }
            }
            cluster
        },
    )
}

proptest! {
    /// Whatever memstores build meanwhile, and in whatever order.
    #[test]
    fn planning_comes_to_rest_and_takes_nothing_away(
        mut cluster in any_cluster(),
        replicas in 1_usize..4,
        builds in vec(any::<bool>(), 1..40),
    ) {
        let wishes = wishes(replicas);
        let mut builds = builds.into_iter().cycle();
        let mut steps = Vec::new();
        loop {
            let Some(step) = plan(&cluster.routes, &cluster.sight, &wishes) else {
                let before = cluster.sight.memstores.clone();
                cluster.build_all();
                if cluster.sight.memstores == before {
                    break;
                }
                continue;
            };
            steps.push(step);
            prop_assert!(steps.len() < 1_000, "it does not end: {:?}", &steps[980..]);
            let before = cluster.clone();
            cluster.take(step);
            for route in cluster.routes.partitions() {
                let was = before.routes.partition_of(&route.start).expect("there is one for every key");
                let (before, after) = (before.serving(was.partition), cluster.serving(route.partition));
                prop_assert!(before <= after || replicas <= after, "{step:?} leaves {after} of {before}");
            }
            if builds.next() == Some(true) {
                cluster.build_all();
            }
        }
        let up = cluster.up();
        for route in cluster.routes.partitions() {
            let (partition, live) = (route.partition, cluster.serving(route.partition));
            let away = route.replicas.iter().filter(|id| cluster.sight.memstores[id] == Presence::Away).count();
            prop_assert!(replicas.min(up.len()) <= live + away, "{partition} is in {live}, of {up:?}");
            if route.replicas.iter().all(|id| up.contains(id)) && replicas <= up.len() {
                prop_assert_eq!(route.replicas.len(), replicas);
                let most = cluster.zones(&up).min(replicas);
                prop_assert_eq!(cluster.zones(&route.replicas), most, "{:?}", route);
            }
        }
    }
}
