//! Which partitions the memstore of this process should hold, as the routes have it, kept up to date.

use std::sync::Arc;

use bytes::Bytes;
use journal::{Journal, Route, Routes};
use memstore::{PartitionId, PartitionRange};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::routes_told;

/// Partitions of a memstore before anybody has routed have numbers that no journaled one ever has.
const UNROUTED: u64 = 1 << 63;

/// Whose partitions.
#[derive(Clone, Debug)]
pub(super) enum Holder {
    /// A frontend's own memstore: everything.
    Everything { split_keys: Vec<Bytes> },
    /// One that is registered by this id.
    Registered(u64),
}

impl Holder {
    fn wants(&self, routes: &Routes) -> Arc<[PartitionRange]> {
        match self {
            Holder::Everything { split_keys } if routes.version() == 0 => unrouted(split_keys),
            Holder::Everything { .. } => routes.partitions().iter().map(range).collect(),
            Holder::Registered(id) => routes.held_by(*id).map(range).collect(),
        }
    }

    /// What is wanted, as it changes, until `closing` or the journal's end.
    pub(super) fn follow(
        self,
        journal: &Journal,
        closing: CancellationToken,
    ) -> watch::Receiver<Arc<[PartitionRange]>> {
        let (wanted, mut told) = watch::channel(Arc::default());
        routes_told::follow(journal, closing, move |routes| {
            let wants = self.wants(routes);
            wanted.send_if_modified(|known| {
                let changed = *known != wants;
                *known = wants;
                changed
            });
        });
        // What it begins with is no change.
        told.mark_unchanged();
        told
    }
}

fn range(route: &Route) -> PartitionRange {
    let Route { partition, start, end, .. } = route.clone();
    PartitionRange { id: PartitionId(partition), start, end }
}

fn unrouted(split_keys: &[Bytes]) -> Arc<[PartitionRange]> {
    let named = |range: PartitionRange| PartitionRange { id: PartitionId(range.id.0 | UNROUTED), ..range };
    PartitionRange::split(split_keys).into_iter().map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registered_memstore_holds_what_the_routes_say_and_a_frontends_own_everything() {
        let none = Routes::default();
        let memstore = journal::MemstoreInfo {
            id: 7,
            name: "a".to_owned(),
            url: "http://a".to_owned(),
            zone: String::new(),
            process: 1,
        };
        let some = none.begin(&["m".into()]).and_then(|routes| routes.register(memstore));
        let some = some.and_then(|routes| routes.add_replica(2, 7)).expect("there is room");
        let ids = |holder: &Holder, routes: &Routes| -> Vec<u64> {
            holder.wants(routes).iter().map(|range| range.id.0).collect()
        };
        let everything = Holder::Everything { split_keys: vec!["g".into(), "t".into()] };
        assert_eq!(ids(&everything, &none), [UNROUTED, UNROUTED | 1, UNROUTED | 2]);
        assert_eq!(ids(&everything, &some), [1, 2]);
        assert_eq!(ids(&Holder::Registered(7), &some), [2]);
        assert!(
            ids(&Holder::Registered(7), &none).is_empty() && ids(&Holder::Registered(8), &some).is_empty()
        );
    }
}
