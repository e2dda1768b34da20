//! What an operator asks for: other partitions, or other holders of them, and whether these hold the same. As with the
//! program's own commands, one change is one record, and only where nobody else was quicker.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use frontend::Client;
use journal::{
    Append, Dialer, Member, MemberChange, Origin, Route, RouteRefusal, Routes, SysOp, SystemClock,
};
use memstore::{Agreement, Applied, Memstore, PartitionId, PartitionRange, Remote};

use crate::faults::Change;
use crate::history::History;

/// Time between two changes of the members.
const CHANGES_AFTER: Duration = Duration::from_millis(200);
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

/// Plan of an operator to put a new member in the place of another, and how far it has come.
#[derive(Clone)]
pub(crate) struct Replacement {
    /// Peer URL of both.
    pub(crate) url: String,
    /// Id of the new member.
    pub(crate) id: u64,
    /// It is added as a learner, and promoted.
    pub(crate) learns_first: bool,
    /// The cluster knows the new member.
    pub(crate) is_added: Arc<AtomicBool>,
    /// The new member votes.
    pub(crate) is_done: Arc<AtomicBool>,
}

/// Carries out the plan. A step that is refused now is tried again: a cluster with a member down refuses to lose another.
pub(crate) async fn replace(client: Client, plan: Replacement) {
    let Replacement { url, id: new, learns_first: learner, is_added, is_done } = plan;
    let journal = client.store().journal();
    let at = |member: &&Member| member.peer_urls.contains(&url);
    while !is_done.load(Ordering::Relaxed) {
        let members = journal.status_now().members.clone();
        let change = match members.iter().find(at) {
            Some(Member { id, .. }) if *id != new => Some(MemberChange::Remove { id: *id }),
            Some(Member { learner: true, .. }) => Some(MemberChange::Promote { id: new }),
            Some(_) => None,
            None => {
                let peer_urls = vec![url.clone()];
                Some(MemberChange::Add(Member { id: new, peer_urls, learner, ..Member::default() }))
            }
        };
        if let Some(added) = members.iter().find(|member| member.id == new) {
            is_added.store(true, Ordering::Relaxed);
            is_done.store(!added.learner && !added.awaits_vote, Ordering::Relaxed);
        }
        // The list of members tells what has come of it.
        if let Some(change) = change {
            drop(journal.change_members(change).await);
        }
        tokio::time::sleep(CHANGES_AFTER).await;
    }
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
