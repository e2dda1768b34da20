//! The task that works behind the follower: it frees what is compacted, and takes snapshots.
//!
//!     compact in steps ──► note where everyone stands ──► write the set aside ──► name it ──► mark the older one
//!
//! It does one thing after the other. So a snapshot sees no compaction half-done, and none frees what it
//! has yet to write. Reads below the compacted revision are refused at once; only the memory comes later.
//!
//! Of what is served the newest two snapshots are kept, and the journal is told of the *older*: if the newest is damaged
//! one day, the older one and the journal still hold everything.

use std::sync::Arc;

use journal::{Lsn, Revision, SysOp, machine};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::compaction::Swept;
use crate::error::Error;
use crate::feed::Feed;
use crate::holding::Holding;
use crate::partition_id::{PartitionId, PartitionRange};
use crate::replica::Replica;
use crate::replicas::{Replicas, Served};
use crate::snapshot::{Cover, Depot, Folder, Header, Sink, Summary};
use crate::work::{Held, SnapshotDue, Work};

/// Versions looked at or freed in one step of a compaction: a write waits for at most one step.
const STEP_VERSIONS: usize = 256;
/// Versions copied at once for a snapshot, under the partition's read lock.
const CHUNK_VERSIONS: usize = 512;

/// What pieces are of, and what they hold.
type Written = Vec<(Header, Summary)>;

/// Where snapshots go and who is told of them.
pub(crate) struct Snapshots {
    pub(crate) folder: Arc<Folder>,
    pub(crate) feed: Feed,
    /// Who must hold what is marked. `None`: this process alone.
    pub(crate) depot: Option<Depot>,
    /// How far the older ones reach, where all keys have some.
    pub(crate) reach: watch::Sender<Lsn>,
    pub(crate) cluster: u64,
    pub(crate) due: SnapshotDue,
}

/// The keeper of all partitions of this process.
pub(crate) struct Keeper {
    holding: Arc<Holding>,
    replicas: Arc<Replicas>,
    work: Arc<Work>,
    /// `None` where nothing shall outlive the process.
    snapshots: Option<Snapshots>,
    /// What this process wrote or has read back. At most the pieces that are kept.
    written: Written,
}

impl Keeper {
    pub(crate) fn new(holding: Arc<Holding>, work: Arc<Work>, snapshots: Option<Snapshots>) -> Keeper {
        let replicas = holding.replicas().clone();
        Keeper { holding, replicas, work, snapshots, written: Vec::new() }
    }

    /// Works until it is cancelled. A snapshot that has begun is finished first.
    pub(crate) async fn run(mut self, cancel: CancellationToken) -> Keeper {
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return self,
                () = self.work.pending() => {}
            }
            if self.work_on().await {
                self.mark_older().await;
            }
        }
    }

    /// Answers whether a snapshot was written.
    async fn work_on(&mut self) -> bool {
        let replicas = self.replicas.clone();
        let _undisturbed = replicas.upkeep().await;
        if self.work.take_compaction() {
            self.compact().await;
        }
        let is_due = self.snapshots.as_ref().is_some_and(|snapshots| self.work.is_due(&snapshots.due));
        is_due && self.snapshot().await
    }

    /// Takes a last snapshot, so that the next start is short. The follower has stopped.
    pub(crate) async fn close(mut self) {
        let replicas = self.replicas.clone();
        let _undisturbed = replicas.upkeep().await;
        if self.work.any() && self.snapshot().await {
            self.mark_older().await;
        }
    }

    /// Frees everything that is compacted, with room for others after each step. What reads under way still see is freed
    /// when they are over. When it returns, none is under way.
    async fn compact(&self) {
        loop {
            let (mut goes_on, mut held_up) = (false, None);
            for replica in self.replicas.served().iter() {
                match replica.partition.compact_step(STEP_VERSIONS) {
                    Swept::All => {}
                    Swept::UpToRead => held_up = Some(replica.clone()),
                    Swept::Partly => {
                        goes_on = true;
                        tokio::task::yield_now().await;
                    }
                }
            }
            match held_up {
                _ if goes_on => {}
                Some(replica) => replica.partition.unpinned().await,
                None => return,
            }
        }
    }

    /// Takes a snapshot of every partition at the position where they stand. Without one the journal merely
    /// grows, so a failure is logged and tried again when the next is due. Answers whether it was written.
    async fn snapshot(&mut self) -> bool {
        if self.snapshots.is_none() {
            return false;
        }
        self.compact().await;
        // Nothing else runs between the last step and here: no compaction is half-done, and all stand together.
        let served = self.replicas.served();
        if served.is_empty() {
            return false;
        }
        let headers = self.headers(&served);
        self.work.begin_anew(Held::by(&served));
        let lsn = headers.first().expect("there is at least one partition").lsn;
        match self.write(headers, served).await {
            Ok(written) => {
                let versions: u64 = written.iter().map(|(_, summary)| summary.versions).sum();
                info!(position = lsn.0, versions, "a snapshot was written");
                self.written.extend(written);
                true
            }
            Err(error) => {
                error!(position = lsn.0, %error, "a snapshot failed, the journal is not trimmed");
                false
            }
        }
    }

    /// What the snapshots will be of. In its set a partition goes by its place.
    fn headers(&self, served: &Served) -> Vec<Header> {
        let snapshots = self.snapshots.as_ref().expect("it was just looked at");
        let header = |(replica, place): (&Arc<Replica>, u64)| {
            let applied = replica.frontier.applied();
            let range = PartitionRange { id: PartitionId(place), ..replica.partition.range().clone() };
            let compacted = replica.partition.compacted();
            let cluster = snapshots.cluster;
            Header { cluster, lsn: applied.lsn, revision: applied.revision, compacted, range }
        };
        let headers: Vec<_> = served.iter().zip(0..).map(header).collect();
        let of = |header: &Header| (header.lsn, header.revision, header.compacted);
        assert!(headers.iter().all(|header| of(header) == of(&headers[0])), "all partitions stand together");
        headers
    }

    async fn write(&self, headers: Vec<Header>, served: Arc<Served>) -> Result<Written, Error> {
        let snapshots = self.snapshots.as_ref().expect("it was just looked at");
        let folder = snapshots.folder.clone();
        let writing = machine::spawn_blocking(move || {
            folder.write(&headers, |header, sink| fill(&served, header, sink))
        });
        writing.await.map_err(|error| Error::Io(error.to_string()))?
    }

    /// Forgets what is no longer kept, and tells the journal from where on it is needed.
    async fn mark_older(&mut self) {
        let (older, reach) = match self.older().await {
            Ok(older) => older,
            Err(error) => {
                warn!(%error, "the older snapshot cannot be counted on, the journal is not trimmed");
                return;
            }
        };
        let snapshots = self.snapshots.as_ref().expect("it was just looked at");
        if older.is_empty() {
            return;
        }
        let headers: Vec<_> = older.iter().map(|(header, _)| header.clone()).collect();
        if let Some(depot) = &snapshots.depot
            && let Err(error) = depot.hold(&snapshots.folder, &headers).await
        {
            warn!(%error, "a snapshot is not safe yet, the journal is not trimmed");
            return;
        }
        // Before the marks: they may be all that the journal still waits for.
        if let Some(reach) = reach {
            snapshots.reach.send_replace(reach);
        }
        for (header, summary) in &older {
            snapshots.feed.mark(mark(header, *summary)).await;
        }
    }

    /// What is the second newest of some key that is served, and how far all keys reach. On another thread: it reads back
    /// what this process did not write, once.
    async fn older(&mut self) -> Result<(Written, Option<Lsn>), Error> {
        let snapshots = self.snapshots.as_ref().expect("it was just looked at");
        let kept = match snapshots.depot {
            Some(_) => self.holding.held(),
            // Nobody else has what was held before.
            None => vec![PartitionRange::all()],
        };
        let (folder, ranges) = (snapshots.folder.clone(), self.replicas.ranges());
        let mut known = std::mem::take(&mut self.written);
        let looking = machine::spawn_blocking(move || {
            let older = older(&folder, &kept, &ranges, &mut known);
            (known, older)
        });
        let (known, older) = looking.await.map_err(|error| Error::Io(error.to_string()))?;
        self.written = known;
        older
    }
}

/// The same, for what is `known` of the pieces that are kept.
fn older(
    folder: &Folder,
    kept: &[PartitionRange],
    ranges: &[PartitionRange],
    known: &mut Written,
) -> Result<(Written, Option<Lsn>), Error> {
    folder.forget(kept)?;
    let held = folder.held()?;
    known.retain(|(known, _)| held.iter().any(|held| is_same(known, &held.header)));
    let cover = Cover::of(held.iter().map(|held| &held.header));
    let mut older = Vec::new();
    for held in cover.second(ranges).into_iter().map(|at| &held[at]) {
        let piece = match known.iter().find(|(known, _)| is_same(known, &held.header)) {
            Some(piece) => piece.clone(),
            None => {
                let piece = held.verify()?;
                known.push(piece.clone());
                piece
            }
        };
        older.push(piece);
    }
    Ok((older, cover.reach()))
}

/// Of one position and the same keys.
fn is_same(one: &Header, other: &Header) -> bool {
    one.lsn == other.lsn && one.range.same_keys(&other.range)
}

fn fill(replicas: &[Arc<Replica>], header: &Header, sink: &mut Sink<'_>) -> Result<(), Error> {
    let place = usize::try_from(header.range.id.0).expect("it is a place in memory");
    let partition = &replicas[place].partition;
    let mut after = (Revision::ZERO, 0);
    loop {
        let versions = partition.versions(header.revision, header.compacted, after, CHUNK_VERSIONS);
        let Some(last) = versions.last() else { return Ok(()) };
        after = last.position();
        versions.iter().try_for_each(&mut *sink)?;
    }
}

fn mark(header: &Header, summary: Summary) -> SysOp {
    SysOp::SnapshotMark {
        start: header.range.start.clone(),
        end: header.range.end.clone().unwrap_or_default(),
        lsn: header.lsn,
        revision: header.revision,
        set_hash: summary.set_hash,
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    use std::task::{Context, Poll, Wake, Waker};

    use bytes::Bytes;
    use journal::{Batch, LeaseId, Origin, Record, Write};

    use super::*;
    use crate::frontier::Applied;
    use crate::key_value::Version;
    use crate::partition::Partition;
    use crate::watch::WatchLimits;

    fn apply(replica: &Replica, base_revision: u64, sysop: Option<SysOp>) {
        let (key, value) = (Bytes::from("key"), Bytes::new());
        let put = Write::Put { key, value, lease: LeaseId::NONE };
        let writes = if sysop.is_none() { vec![put] } else { Vec::new() };
        let records = vec![Record { origin: Origin::default(), writes, sysop }];
        let batch = Batch { term: 1, base_revision: Revision(base_revision), wall_clock_ms: 0, records };
        replica.partition.apply(&batch, &mut |_| ());
    }

    fn written(replica: &Arc<Replica>, header: &Header) -> Vec<Version> {
        let mut versions = Vec::new();
        let collect = &mut |version: &Version| {
            versions.push(version.clone());
            Ok(())
        };
        fill(std::slice::from_ref(replica), header, collect).expect("memory is fine");
        versions
    }

    /// Notes that its task was woken.
    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Woken>) {
            self.0.store(true, SeqCst);
        }
    }

    /// Its thread would be busy for as long as the read takes.
    #[test]
    fn a_compaction_that_a_read_holds_up_waits_for_the_end_of_the_read() {
        let range = PartitionRange::split(&[]).remove(0);
        let applied = Applied { lsn: Lsn(2), revision: Revision(5) };
        let replica = Arc::new(Replica::new(Partition::new(range), applied, WatchLimits::default()));
        (2..6).for_each(|revision| apply(&replica, revision, None));
        apply(&replica, 6, Some(SysOp::Compact { revision: Revision(5) }));
        let replicas = Arc::new(Replicas::new(vec![replica.clone()]));
        let work = Arc::new(Work::new(Held::default()));
        let keeper =
            Keeper::new(Arc::new(Holding::new(replicas, WatchLimits::default(), work.clone())), work, None);
        let [first, second] = [3, 4].map(|revision| replica.partition.pin(Revision(revision)));

        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut compacting = pin!(keeper.compact());
        // Polls it for as long as it wants to go on, and answers whether it has ended.
        let mut go_on = || {
            for _ in 0..100 {
                woken.0.store(false, SeqCst);
                let polled = compacting.as_mut().poll(&mut Context::from_waker(&waker));
                if polled.is_ready() || !woken.0.load(SeqCst) {
                    return polled;
                }
            }
            panic!("it does not wait");
        };
        assert_eq!(go_on(), Poll::Pending);
        assert_eq!(replica.partition.stats().versions, 3, "what the first read sees is kept");
        drop(first);
        assert!(woken.0.load(SeqCst));
        assert_eq!(go_on(), Poll::Pending);
        assert_eq!(replica.partition.stats().versions, 2);
        drop(second);
        assert!(woken.0.load(SeqCst));
        assert_eq!(go_on(), Poll::Ready(()));
        assert_eq!(replica.partition.stats().versions, 1);
    }

    /// Otherwise the key would begin anew when the journal behind the snapshot is applied again.
    #[test]
    fn a_compaction_that_comes_later_takes_nothing_from_a_snapshot() {
        let range = PartitionRange::split(&[]).remove(0);
        let applied = Applied { lsn: Lsn(2), revision: Revision(3) };
        let replica = Arc::new(Replica::new(Partition::new(range.clone()), applied, WatchLimits::default()));
        (2..4).for_each(|revision| apply(&replica, revision, None));
        let compacted = replica.partition.compacted();
        let header = Header { cluster: 1, lsn: applied.lsn, revision: applied.revision, compacted, range };
        let before = written(&replica, &header);
        assert_eq!(before.len(), 2);
        apply(&replica, 4, None);
        apply(&replica, 5, Some(SysOp::Compact { revision: Revision(4) }));
        assert_eq!(written(&replica, &header), before);
    }
}
