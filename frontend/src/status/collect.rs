//! Asking: this process what it has, and the journals of the others how they are.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use journal::{Dialer, Journal, Lsn, Route, Status};
use memstore::{Health, Memstore as Replicas, PartitionId, PartitionRange, PartitionStats};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::{Alarm, Document, FORMAT, Member, Memstore, Partition, Role};
use crate::routes::Routes;

/// How long another member may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// Whoever asks again so soon gets the same document: asking costs a call to each member.
const FRESH: Duration = Duration::from_millis(250);

/// A member that is so many entries behind is asked again after this long, whether it catches up.
const STALL_LAG_MIN: u64 = 100;
const STALL_AFTER: Duration = Duration::from_millis(250);

/// The process that is asked.
pub(crate) struct Process {
    pub(crate) id: u64,
    /// Whether it is a member of the journal. Else it knows only what the members say.
    pub(crate) is_journal: bool,
    pub(crate) journal: Journal,
    pub(crate) memstore: Option<Replicas>,
    /// The way to the memstores elsewhere, where clients are answered from those.
    pub(crate) routes: Option<Routes>,
    /// Without one there are no others.
    pub(crate) dialer: Option<Dialer>,
}

/// Makes documents.
pub(crate) struct Collector {
    process: Process,
    last: Mutex<Option<(Instant, String)>>,
}

impl Collector {
    pub(crate) fn new(process: Process) -> Collector {
        Collector { process, last: Mutex::default() }
    }

    /// The document as JSON.
    pub(crate) async fn json(&self) -> String {
        let mut last = self.last.lock().await;
        if let Some((at, document)) = &*last
            && at.elapsed() < FRESH
        {
            return document.clone();
        }
        let document = self.document().await.to_json();
        *last = Some((Instant::now(), document.clone()));
        document
    }

    async fn document(&self) -> Document {
        let own = self.process.journal.status_now().clone();
        let mut told = self.ask_others(&own.members).await;
        if self.process.is_journal {
            told.insert(own.node, own.clone());
        }
        let mut document = Document { told_by: hex(self.process.id), ..document(&own, &told) };
        self.find_stalled(&mut document, &own, &told).await;
        self.with_own(document, &own).judge()
    }

    /// Looks again at members that are behind: one that applies nothing meanwhile is stalled.
    async fn find_stalled(&self, document: &mut Document, own: &Status, told: &BTreeMap<u64, Status>) {
        let behind = |id: u64| {
            let (id, lag) = (hex(id), STALL_LAG_MIN);
            document.members.iter().any(|member| member.id == id && member.answers && lag <= member.lag)
        };
        let lagging: Vec<journal::Member> =
            own.members.iter().filter(|member| behind(member.id)).cloned().collect();
        if lagging.is_empty() {
            return;
        }
        tokio::time::sleep(STALL_AFTER).await;
        let mut again = self.ask_others(&lagging).await;
        if self.process.is_journal {
            again.insert(own.node, self.process.journal.status_now().clone());
        }
        let has_moved = |id: u64| again.get(&id).is_none_or(|now| told[&id].applied < now.applied);
        for member in &mut document.members {
            let stalled = lagging.iter().find(|lagging| hex(lagging.id) == member.id);
            member.stalled = stalled.is_some_and(|lagging| !has_moved(lagging.id));
        }
    }

    async fn ask_others(&self, members: &[journal::Member]) -> BTreeMap<u64, Status> {
        let mut asked = JoinSet::new();
        let Process { id, is_journal, dialer, .. } = &self.process;
        for member in members.iter().filter(|member| !is_journal || member.id != *id) {
            let Some(dialer) = dialer.clone() else { continue };
            let (id, urls) = (member.id, member.peer_urls.clone());
            asked.spawn(async move {
                let answer = tokio::time::timeout(ANSWER_MAX, ask(&dialer, urls)).await;
                answer.ok()?.filter(|status| status.node == id)
            });
        }
        let answers = asked.join_all().await;
        answers.into_iter().flatten().map(|status| (status.node, status)).collect()
    }

    /// What this process alone knows.
    fn with_own(&self, mut document: Document, own: &Status) -> Document {
        if let Some(itself) = document.members.iter_mut().find(|member| member.id == document.told_by) {
            itself.version = Some(crate::version::OWN.to_owned());
        }
        match (&self.process.memstore, &self.process.routes) {
            (Some(memstore), _) => with_memstore(document, own, memstore),
            (None, Some(routes)) => with_memstores(document, own, routes),
            (None, None) => document,
        }
    }
}

/// Asks a member by all its URLs. Returns the first answer.
async fn ask(dialer: &Dialer, urls: Vec<String>) -> Option<Status> {
    let mut asked = JoinSet::new();
    for url in urls {
        let dialer = dialer.clone();
        asked.spawn(async move { journal::ask_status(&dialer, &url).await });
    }
    while let Some(answer) = asked.join_next().await {
        if let Ok(Ok(status)) = answer {
            return Some(status);
        }
    }
    None
}

/// What the memstore in this process holds.
fn with_memstore(mut document: Document, own: &Status, memstore: &Replicas) -> Document {
    let stats = memstore.stats();
    if let Some(itself) = document.members.iter_mut().find(|member| member.id == document.told_by) {
        itself.database_bytes = Some(stats.total.bytes_total);
        itself.database_bytes_in_use = Some(stats.total.bytes_in_use);
    }
    let partitions = memstore.partitions();
    document.partitions = partitions
        .iter()
        .zip(&stats.partitions)
        .map(|(range, stats)| partition(own, range, stats, applied(memstore, range)))
        .collect();
    document
}

/// What memstores elsewhere report.
fn with_memstores(mut document: Document, own: &Status, routes: &Routes) -> Document {
    for (told, info) in document.memstores.iter_mut().zip(own.routes.memstores()) {
        let registered = routes.registered(info.id);
        let serves = registered.as_ref().map(Replicas::serves);
        let Some((memstore, serves)) =
            registered.zip(serves).filter(|(_, serves)| serves.health != Health::Down)
        else {
            told.answers = Some(false);
            continue;
        };
        told.answers = Some(true);
        told.serves = serves.partitions.iter().map(|range| range.id.0).collect();
        let slowest = serves.partitions.iter().map(|range| applied(&memstore, range)).min();
        told.applied = slowest.unwrap_or_else(|| memstore.reached().lsn).0;
        told.lag = if slowest.is_some() { own.applied.0.saturating_sub(told.applied) } else { 0 };
    }
    let covered = routes.covered();
    document.partitions =
        covered.iter().map(|(range, stats, applied)| partition(own, range, stats, *applied)).collect();
    let is_lost = |route: &&Route| covered.iter().all(|(range, ..)| !range.contains(&route.start));
    let lost = own.routes.partitions().iter().filter(is_lost).map(|route| {
        let Route { partition: id, start, end, .. } = route.clone();
        let range = PartitionRange { id: PartitionId(id), start, end };
        Partition { lost: true, ..partition(own, &range, &PartitionStats::default(), Lsn::ZERO) }
    });
    document.partitions.extend(lost);
    document
}

fn applied(memstore: &Replicas, range: &PartitionRange) -> Lsn {
    memstore.applied(range.id).map(|applied| applied.lsn).unwrap_or_default()
}

fn partition(own: &Status, range: &PartitionRange, stats: &PartitionStats, applied: Lsn) -> Partition {
    let name = |id: &u64| own.routes.memstore(*id).map_or_else(|| hex(*id), |info| info.name.clone());
    let replicas = own.routes.partition(range.id.0).map_or(&[][..], |route| &route.replicas);
    Partition {
        id: range.id.0,
        start: range.start.escape_ascii().to_string(),
        end: range.end.as_ref().map(|end| end.escape_ascii().to_string()),
        keys: stats.keys,
        bytes: stats.bytes_total,
        applied: applied.0,
        watchers: stats.watchers,
        replicas: replicas.iter().map(name).collect(),
        lost: false,
    }
}

/// What the journals say.
fn document(own: &Status, told: &BTreeMap<u64, Status>) -> Document {
    let newest = told.values().max_by_key(|status| (status.term, status.leader.is_some())).unwrap_or(own);
    let furthest = told.values().map(|status| status.applied.0).max().unwrap_or(0);
    let members = match &own.members[..] {
        // One that nobody else reaches has no members to tell of.
        [] => vec![journal::Member { id: own.node, ..journal::Member::default() }],
        members => members.to_vec(),
    };
    let member = |member: journal::Member| {
        let status = told.get(&member.id);
        let applied = status.map_or(0, |status| status.applied.0);
        Member {
            role: match (member.learner, newest.leader == Some(member.id)) {
                (true, _) => Role::Learner,
                (false, true) => Role::Leader,
                (false, false) => Role::Follower,
            },
            answers: status.is_some(),
            leader: status.and_then(|status| status.leader).map(hex),
            term: status.map_or(0, |status| status.term),
            applied,
            lag: if status.is_some() { furthest - applied } else { 0 },
            missing_up_to: status.and_then(|status| status.missing_up_to).map(|lsn| lsn.0),
            journal_bytes: status.map_or(0, |status| status.disk_bytes),
            awaits_vote: member.awaits_vote,
            unstarted: match status {
                None => member.name.is_empty(),
                Some(status) => status.serves_clients && member.client_urls.is_empty(),
            },
            id: hex(member.id),
            name: member.name,
            peer_urls: member.peer_urls,
            client_urls: member.client_urls,
            ..Member::default()
        }
    };
    let alarm = |(member, alarm): &(u64, journal::Alarm)| Alarm {
        member: hex(*member),
        alarm: crate::http::alarm_name(*alarm).to_owned(),
    };
    let memstore = |one: &journal::MemstoreInfo| Memstore {
        id: hex(one.id),
        name: one.name.clone(),
        url: one.url.clone(),
        zone: one.zone.clone(),
        ..Memstore::default()
    };
    Document {
        format: FORMAT,
        cluster: hex(own.cluster),
        leader: newest.leader.map(hex),
        term: newest.term,
        revision: told.values().map(|status| status.revision.0).max().unwrap_or(0),
        compacted_revision: own.compacted.0,
        members: members.into_iter().map(member).collect(),
        memstores: own.routes.memstores().iter().map(memstore).collect(),
        alarms: own.alarms.iter().map(alarm).collect(),
        ..Document::default()
    }
}

fn hex(id: u64) -> String {
    format!("{id:x}")
}
