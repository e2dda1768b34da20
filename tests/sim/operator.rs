//! What an operator asks for: other partitions, or other holders of them. As with the program's own commands, one change
//! is one record, and only where nobody else was quicker.

use frontend::Client;
use journal::{Append, Origin, RouteRefusal, Routes, SysOp};

use crate::faults::Change;

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
