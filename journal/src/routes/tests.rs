//! What routes promise, whatever is done to them, and what each change does or why it does not.

use super::*;
use expect_test::{Expect, expect};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::codec::parts::Reader;

#[derive(Clone, Debug)]
pub(crate) enum Change {
    Register(u64, String),
    Unregister(u64),
    Split(Bytes),
    Merge(prop::sample::Index),
    Add(prop::sample::Index, u64),
    Remove(prop::sample::Index, u64),
}

pub(crate) fn any_change() -> impl Strategy<Value = Change> {
    let index = any::<prop::sample::Index>;
    let memstore = || 1u64..5;
    prop_oneof![
        3 => (memstore(), "[a-d]").prop_map(|(id, name)| Change::Register(id, name)),
        1 => memstore().prop_map(Change::Unregister),
        4 => vec(b'a'..b'd', 0..3).prop_map(|key| Change::Split(Bytes::from(key))),
        2 => index().prop_map(Change::Merge),
        4 => (index(), memstore()).prop_map(|(at, id)| Change::Add(at, id)),
        2 => (index(), memstore()).prop_map(|(at, id)| Change::Remove(at, id)),
    ]
}

pub(crate) fn apply(routes: &Routes, change: &Change) -> Result<Routes, RouteRefusal> {
    let nth = |at: &prop::sample::Index| at.get(routes.partitions()).partition;
    match change {
        Change::Register(id, name) => routes.register(memstore(*id, name)),
        Change::Unregister(id) => routes.unregister(*id),
        Change::Split(key) => routes.split(key),
        Change::Merge(at) => routes.merge(nth(at)),
        Change::Add(at, id) => routes.add_replica(nth(at), *id),
        Change::Remove(at, id) => routes.remove_replica(nth(at), *id),
    }
}

/// What there is after these changes, those that are refused left out.
pub(crate) fn any_routes() -> impl Strategy<Value = Routes> {
    vec(any_change(), 0..20).prop_map(|changes| {
        let begun = Routes::default().begin(&[Bytes::from_static(b"b")]).unwrap();
        changes.iter().fold(begun, |routes, change| apply(&routes, change).unwrap_or(routes))
    })
}

pub(crate) fn memstore(id: u64, name: &str) -> MemstoreInfo {
    let (url, zone) = (format!("http://{name}"), format!("z{}", id % 2));
    MemstoreInfo { id, name: name.to_owned(), url, zone, process: id * 10 }
}

impl Routes {
    pub(crate) fn at(self, version: u64) -> Routes {
        Routes { version, ..self }
    }
}

fn encoded(routes: &Routes) -> Bytes {
    let mut out = Vec::new();
    put_routes(routes, &mut out);
    out.into()
}

proptest! {
    #[test]
    fn whatever_is_changed_every_key_has_one_partition(changes in vec(any_change(), 0..40)) {
        let mut routes = Routes::default().begin(&[]).unwrap();
        let mut ranges = std::collections::BTreeMap::new();
        for change in changes {
            let before = routes.clone();
            let Ok(next) = apply(&routes, &change) else { continue };
            prop_assert_eq!(next.version(), before.version() + 1);
            for key in ["", "a", "b", "ba", "c", "zz"].map(str::as_bytes) {
                let holds = |route: &&Route| {
                    route.start[..] <= *key && route.end.as_ref().is_none_or(|end| *key < end[..])
                };
                let owners: Vec<&Route> = next.partitions().iter().filter(holds).collect();
                prop_assert_eq!(&owners, &vec![next.partition_of(key).unwrap()]);
            }
            for route in next.partitions() {
                let range = (route.start.clone(), route.end.clone());
                let known = ranges.entry(route.partition).or_insert(range.clone());
                prop_assert_eq!(&*known, &range, "an id stands for one range");
                let held = before.partition(route.partition).is_some_and(|old| !old.replicas.is_empty());
                prop_assert!(!held || !route.replicas.is_empty(), "a partition keeps a replica");
            }
            routes = next;
        }
    }

    #[test]
    fn routes_come_back_as_they_were(routes in any_routes()) {
        let bytes = encoded(&routes);
        prop_assert_eq!(encoding::bytes(&routes), bytes.len());
        let mut reader = Reader::new(bytes);
        prop_assert_eq!(read_routes(&mut reader), Ok(routes));
        prop_assert_eq!(reader.left(), 0);
    }

    #[test]
    fn damaged_routes_never_panic(routes in any_routes(), at: prop::sample::Index, byte: u8) {
        let mut bytes = encoded(&routes).to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(read) = read_routes(&mut Reader::new(bytes.into())) {
            prop_assert_eq!(read.check(), Ok(()));
        }
    }
}

fn two() -> Routes {
    let begun = Routes::default().begin(&[Bytes::from_static(b"m")]).unwrap();
    let named = begun.register(memstore(1, "a")).unwrap().register(memstore(2, "b")).unwrap();
    named.add_replica(1, 1).unwrap().add_replica(2, 1).unwrap()
}

fn check(changed: Result<Routes, RouteRefusal>, expected: Expect) {
    let shown = match changed {
        Err(refusal) => refusal.to_string(),
        Ok(routes) => {
            let partition = |route: &Route| {
                let end = route.end.as_ref().map_or("", |end| std::str::from_utf8(end).unwrap());
                let start = std::str::from_utf8(&route.start).unwrap();
                format!("{} [{start}..{end}) {:?}", route.partition, route.replicas)
            };
            let partitions: Vec<String> = routes.partitions().iter().map(partition).collect();
            format!("{}: {}", routes.version(), partitions.join(", "))
        }
    };
    expected.assert_eq(&shown);
}

#[test]
fn routes_begin_once() {
    let keys = [Bytes::from_static(b"m"), Bytes::new(), Bytes::from_static(b"c"), Bytes::from_static(b"m")];
    check(Routes::default().begin(&keys), expect!["1: 1 [..c) [], 2 [c..m) [], 3 [m..) []"]);
    check(two().begin(&[]), expect!["there are routes already, of version 5"]);
    check(
        Routes::default().register(memstore(1, "a")),
        expect!["nobody has routed yet: start a memstore of its own first (--role memstore)"],
    );
}

#[test]
fn both_halves_of_a_split_are_new() {
    check(two().split(&Bytes::from_static(b"q")), expect!["6: 1 [..m) [1], 3 [m..q) [1], 4 [q..) [1]"]);
    check(two().split(&Bytes::from_static(b"m")), expect!["partition 2 begins with this key already"]);
}

#[test]
fn neighbours_merge_where_the_same_memstores_hold_them() {
    check(two().merge(1), expect!["6: 3 [..) [1]"]);
    check(two().merge(2), expect!["partition 2 is the last one: there is none behind it"]);
    check(two().merge(7), expect!["there is no partition 7: it may have been split or merged meanwhile"]);
    check(
        two().add_replica(1, 2).unwrap().merge(1),
        expect!["partitions 1 and 2 are held by different memstores: move one of them first"],
    );
}

#[test]
fn a_partition_keeps_a_replica() {
    check(two().add_replica(1, 2).unwrap().remove_replica(1, 1), expect!["7: 1 [..m) [2], 2 [m..) [1]"]);
    check(
        two().remove_replica(1, 1),
        expect!["memstore a alone holds partition 1: add another replica of it first"],
    );
    check(
        two().unregister(1),
        expect!["memstore a alone holds partition 1: add another replica of it first"],
    );
    check(two().unregister(2), expect!["6: 1 [..m) [1], 2 [m..) [1]"]);
}

#[test]
fn a_name_is_one_memstores() {
    check(two().register(memstore(3, "a")), expect!["the name a is that of memstore 1"]);
    let moved = two().register(MemstoreInfo { url: "http://elsewhere".into(), ..memstore(1, "a") }).unwrap();
    assert_eq!(moved.memstore_named("a").unwrap().url, "http://elsewhere");
    assert_eq!(moved.held_by(1).count(), 2);
}

#[test]
fn several_changes_are_one_version() {
    let routes = Routes::default();
    let next = routes.begin(&[]).unwrap().register(memstore(1, "a")).unwrap().add_replica(1, 1).unwrap();
    check(Ok(next.following(&routes)), expect!["1: 1 [..) [1]"]);
}

#[test]
fn routes_have_a_bound() {
    let long = Bytes::from(vec![b'x'; BYTES_MAX]);
    check(two().split(&long), expect!["the routes would take 524388 bytes, and 524288 is the most"]);
}
