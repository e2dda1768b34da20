//! What an operator asks for: other partitions, or other holders of them, and whether these hold the same. As with the
//! program's own commands, one change is one record, and only where nobody else was quicker.

use std::sync::Arc;
use std::time::Duration;

use frontend::Client;
use journal::{Append, Dialer, Origin, Route, RouteRefusal, Routes, SysOp, SystemClock};
use memstore::{Agreement, Applied, Memstore, PartitionId, PartitionRange, Remote};

use crate::faults::Change;
use crate::history::History;

/// How long a memstore that is asked for the first time may take to tell what it serves.
const ANSWERS_AFTER: Duration = Duration::from_millis(200);

pub(crate) async fn change(client: Client, change: Change) {
    let journal = client.store().journal();
    let known = journal.status_now().routes.clone();
    let begun = if known.version() == 0 { known.begin(&[]) } else { Ok((*known).clone()) };
    let Ok(next) = begun.and_then(|routes| apply(&routes, &change)) else { return };
    let origin = Origin { frontend: rand::random(), seq: 1, attempt: 1 };
    let sysop = Some(SysOp::Routes(next.following(&known).into()));
    let append = Append { origin, reads: Vec::new(), writes: Vec::new(), sysop, reserve: false };
    // Whatever comes of it: the next change begins with what there is.
    let _ = journal.append(append).await;
}

/// Compares what the memstores of each partition hold, where there are some of their own.
pub(crate) async fn compare(client: Client, dialer: Dialer, history: History) {
    let (routes, cluster) = {
        let status = client.store().journal().status_now();
        (status.routes.clone(), status.cluster)
    };
    let memstore = |id: &u64| -> Option<(u64, Memstore)> {
        let (url, dialer) = (routes.memstore(*id)?.url.clone(), dialer.clone());
        let remote = Remote { url, cluster, dialer, clock: Arc::new(SystemClock::default()) };
        Some((*id, remote.connect().ok()?))
    };
    for Route { partition, start, end, replicas } in routes.partitions().iter().cloned() {
        let holders: Vec<_> = replicas.iter().filter_map(memstore).collect();
        tokio::time::sleep(ANSWERS_AFTER).await;
        let Ok(at) = client.store().barrier().await else { return };
        let range = PartitionRange { id: PartitionId(partition), start, end };
        let at = Applied { lsn: at.lsn, revision: at.revision };
        if let Agreement::Differ { thrown } = memstore::compare(&range, &holders, at).await {
            history.is_wrong(format!("the replicas of {range:?} differ: {thrown:?} were thrown away"));
        }
    }
}

fn apply(routes: &Routes, change: &Change) -> Result<Routes, RouteRefusal> {
    let partition = |place: usize| {
        let partitions = routes.partitions();
        partitions[place % partitions.len()].partition
    };
    let memstore = |place: usize| {
        let memstores = routes.memstores();
        memstores.get(place % memstores.len().max(1)).map_or(0, |memstore| memstore.id)
    };
    match change {
        Change::Split(key) => routes.split(key),
        Change::Merge(place) => routes.merge(partition(*place)),
        Change::AddReplica(place, holder) => routes.add_replica(partition(*place), memstore(*holder)),
        Change::RemoveReplica(place, holder) => routes.remove_replica(partition(*place), memstore(*holder)),
    }
}
