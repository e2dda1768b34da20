//! Which partitions the memstore of this process should hold, as the routes have it, kept up to date.

use std::sync::Arc;

use bytes::Bytes;
use journal::{Journal, Route, Routes};
use memstore::{PartitionId, PartitionRange};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Partitions of a memstore before anybody has routed have numbers that no journaled one ever has.
const UNROUTED: u64 = 1 << 63;

/// All partitions that there are, as they change, until `closing` or the journal's end. They are cut at `split_keys`
/// until somebody has routed.
pub(super) fn everything(
    split_keys: &[Bytes],
    journal: &Journal,
    closing: CancellationToken,
) -> watch::Receiver<Arc<[PartitionRange]>> {
    let mut status = journal.status();
    let known = status.borrow_and_update().routes.clone();
    let mut version = known.version();
    let (wanted, told) = watch::channel(wants(&known, split_keys));
    let split_keys = split_keys.to_vec();
    tokio::spawn(async move {
        loop {
            let later = status.wait_for(|status| version < status.routes.version());
            let routes = tokio::select! {
                () = closing.cancelled() => return,
                later = later => match later {
                    Ok(status) => status.routes.clone(),
                    Err(_) => return,
                },
            };
            version = routes.version();
            let wants = wants(&routes, &split_keys);
            wanted.send_if_modified(|known| {
                let changed = *known != wants;
                *known = wants;
                changed
            });
        }
    });
    told
}

fn wants(routes: &Routes, split_keys: &[Bytes]) -> Arc<[PartitionRange]> {
    match routes.version() {
        0 => PartitionRange::split(split_keys).into_iter().map(unrouted).collect(),
        _ => routes.partitions().iter().map(range).collect(),
    }
}

fn unrouted(range: PartitionRange) -> PartitionRange {
    PartitionRange { id: PartitionId(range.id.0 | UNROUTED), ..range }
}

fn range(route: &Route) -> PartitionRange {
    let Route { partition, start, end, .. } = route.clone();
    PartitionRange { id: PartitionId(partition), start, end }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_the_routes_once_there_are_some() {
        let none = Routes::default();
        let some = none.begin(&["m".into()]).expect("nobody has routed");
        let ids = |routes: &Routes| -> Vec<u64> {
            wants(routes, &["g".into(), "t".into()]).iter().map(|range| range.id.0).collect()
        };
        assert_eq!(ids(&none), [UNROUTED, UNROUTED | 1, UNROUTED | 2]);
        assert_eq!(ids(&some), [1, 2]);
    }
}
