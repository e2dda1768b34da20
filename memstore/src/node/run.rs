//! What runs on a memstore's thread, from its start to its end.

use std::panic::resume_unwind;
use std::sync::Arc;

use journal::{Lsn, machine};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::builder::Builder;
use super::gap::{Gap, Helpers, Way};
use super::restart::newest;
use super::rising::Rising;
use crate::aside::aside;
use crate::building::Building;
use crate::doubt::Throw;
use crate::error::Error;
use crate::feed::{Entries, Feed};
use crate::follower::Follower;
use crate::holding::Holding;
use crate::keeper::{Keeper, Snapshots};
use crate::metrics::ApplyMetrics;
use crate::partition::Partition;
use crate::partition_id::PartitionRange;
use crate::pause::Pauses;
use crate::replicas::Replicas;
use crate::snapshot::Folder;
use crate::wanted::Wanted;
use crate::watch::Wakes;
use crate::work::{Held, SnapshotDue, Work};

/// Everything that a memstore's thread holds.
pub(crate) struct Run {
    pub(crate) holding: Arc<Holding>,
    pub(crate) work: Arc<Work>,
    pub(crate) wanted: Wanted,
    /// Replicas to be thrown away.
    pub(crate) thrown: Option<mpsc::Receiver<Throw>>,
    pub(crate) metrics: Arc<ApplyMetrics>,
    pub(crate) feed: Feed,
    pub(crate) helpers: Option<Helpers>,
    pub(crate) folder: Option<Arc<Folder>>,
    pub(crate) cluster: u64,
    pub(crate) due: SnapshotDue,
    pub(crate) reach: watch::Sender<Lsn>,
    pub(crate) cancel: CancellationToken,
    pub(crate) closed: CancellationToken,
}

/// Why the follower stopped.
pub(super) enum Stopped {
    Asked,
    Trimmed { first: Lsn },
    Failed(Error),
}

impl From<journal::Error> for Stopped {
    fn from(error: journal::Error) -> Stopped {
        match error {
            journal::Error::Trimmed { first } => Stopped::Trimmed { first },
            journal::Error::Corrupt(reason) => Stopped::Failed(Error::Corrupt(reason)),
            journal::Error::Io(reason) => Stopped::Failed(Error::Io(reason)),
            journal::Error::NotLeader { .. } | journal::Error::NoQuorum | journal::Error::Closed => {
                Stopped::Failed(Error::Closed)
            }
        }
    }
}

impl Run {
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        // Also when something panics: nobody shall wait for what will never come.
        let closing = Closing { replicas: self.holding.replicas().clone(), closed: self.closed.clone() };
        let mut builders = JoinSet::new();
        // Nobody throws away what nobody builds.
        let thrown = self.thrown.take();
        if let (Wanted::Told(wanted), Some(thrown)) = (&self.wanted, thrown) {
            let Run { holding, feed, helpers, folder, .. } = &self;
            let (holding, feed) = (holding.clone(), feed.clone());
            let builder = Builder { holding, feed, helpers: helpers.clone(), folder: folder.clone() };
            let pauses = self.pauses();
            builders.spawn(pauses.measured(builder.run(wanted.clone(), thrown, pauses.clone())));
        }
        let pauses = self.pauses();
        let keeper = tokio::select! {
            keeper = pauses.measured(self.stay()) => keeper?,
            Some(Err(failed)) = builders.join_next() => resume_unwind(failed.into_panic()),
        };
        drop(closing);
        // What is being built is of no use any more, and the keeper waits for who copies.
        builders.shutdown().await;
        keeper.close().await;
        Ok(())
    }

    /// Follows the journal until it is asked to stop.
    async fn stay(&mut self) -> Result<Keeper, Error> {
        let mut bridge = None;
        loop {
            let (stopped, keeper) = self.follow(bridge.take()).await;
            match stopped {
                Stopped::Asked => return Ok(keeper),
                Stopped::Trimmed { first } => {
                    let cancel = self.cancel.clone();
                    let closed = cancel.run_until_cancelled(self.close_gap(first)).await;
                    bridge = closed.transpose().inspect_err(stops)?.flatten();
                }
                Stopped::Failed(error) => {
                    stops(&error);
                    return Err(error);
                }
            }
        }
    }

    /// Follows the journal for as long as that goes. The keeper is idle when this returns.
    async fn follow(&self, bridge: Option<Entries>) -> (Stopped, Keeper) {
        let keeper = Keeper::new(self.holding.clone(), self.work.clone(), self.snapshots());
        let idle = CancellationToken::new();
        let keeper = tokio::spawn(self.pauses().measured(keeper.run(idle.clone())));
        let follower = Follower::new(self.feed.clone(), self.holding.clone(), self.work.clone(), self.due);
        let follower = follower.measured(self.metrics.clone());
        let followed = follower.run(bridge, self.cancel.clone()).await;
        idle.cancel();
        let keeper = keeper.await.expect("the keeper does not panic, and nobody aborts it");
        (followed.map_or_else(Stopped::from, |()| Stopped::Asked), keeper)
    }

    /// What comes next is trimmed here: goes on from a newer snapshot, and where the journal does not lead on from that
    /// either, with what other members have. Answers what to read then, if not the journal here.
    async fn close_gap(&mut self, mut first: Lsn) -> Result<Option<Entries>, Error> {
        warn!(
            first = first.0,
            "the journal was trimmed before it was applied, starting again from a snapshot"
        );
        loop {
            let lacking = self.holding.ranges();
            if lacking.is_empty() {
                self.holding.begin_again(None);
                return Ok(None);
            }
            let newer = self.newer().await?;
            let Some(applied) = self.applied() else { return Ok(None) };
            let (applied, lacking) = match &newer {
                Some(newer) => (newer.applied(), newer.lacking(first)),
                None => (applied, lacking),
            };
            let closed = match (applied.next() < first, &mut self.helpers) {
                (false, _) => Ok(None),
                (true, None) => Err(Error::Missing { next: applied.next(), first }),
                (true, Some(helpers)) => {
                    helpers.close(Gap { applied, first, lacking }, self.folder.as_ref()).await.map(Some)
                }
            };
            let mut entries = match closed {
                Ok(None) => self.feed.entries(applied.next()),
                Ok(Some(Way::Bridge(there))) => self.feed.bridge(there, first),
                // Nothing is served of what was joined: it is built again, of the pieces or when there are some.
                Ok(Some(Way::Pieces)) | Err(_) if self.holding.replicas().ranges().is_empty() => {
                    self.holding.begin_again(None);
                    return Ok(None);
                }
                Ok(Some(Way::Pieces)) => continue,
                Err(error) => return Err(error),
            };
            let Some(mut newer) = newer else { return Ok(Some(entries)) };
            match newer.rise(&mut entries).await.map_err(Stopped::from) {
                Ok(()) if self.start_again(newer).await? => return Ok(Some(entries)),
                Ok(()) => {}
                Err(Stopped::Trimmed { first: further }) => first = further,
                Err(Stopped::Failed(error)) => return Err(error),
                Err(Stopped::Asked) => return Err(Error::Closed),
            }
        }
    }

    /// `None` where nothing is followed.
    fn applied(&self) -> Option<Lsn> {
        self.holding.followed().applied.map(|applied| applied.lsn)
    }

    /// What snapshots have of all that is served, if that is further than it.
    async fn newer(&self) -> Result<Option<Rising>, Error> {
        let ranges = self.holding.replicas().ranges();
        if ranges.is_empty() {
            // What was joined and is not served yet goes on.
            return Ok(None);
        }
        let (folder, applied) = (self.folder.clone(), self.applied());
        aside(move |given_up| {
            let mut sources = newest(folder.as_deref(), &ranges)?;
            let lowest = sources.iter().map(|source| source.applied.lsn).min();
            if lowest <= applied {
                return Ok(None);
            }
            let building = |range: &PartitionRange| {
                let own = sources.extract_if(.., |source| range.overlaps(&source.range)).collect();
                Building::restored(range.clone(), own, given_up)
            };
            let buildings = ranges.iter().map(building).collect::<Option<_>>().ok_or(Error::Closed)?;
            Ok(Some(Rising::new(buildings)))
        })
        .await?
    }

    /// Goes on from there. Watchers read on from its history. False where other partitions are served by now.
    async fn start_again(&self, newer: Rising) -> Result<bool, Error> {
        let replicas = self.holding.replicas();
        let _undisturbed = replicas.upkeep().await;
        let (applied, partitions) = newer.into_partitions()?;
        let served = replicas.served();
        if !partitions.iter().map(Partition::range).eq(replicas.ranges().iter()) {
            return Ok(false);
        }
        let (mut wakes, mut before) = (Wakes::default(), Vec::new());
        for (replica, partition) in served.iter().zip(partitions) {
            before.push(replica.partition.replace(partition));
            replica.hub.skip_to(applied.revision, &mut wakes);
        }
        served.iter().for_each(|replica| replica.frontier.advance(applied));
        self.work.begin_anew(Held::by(&served));
        self.holding.begin_again(Some(applied));
        // What came may hold what is compacted.
        self.work.compact_now();
        info!(position = applied.lsn.0, revision = applied.revision.0, "went on from a snapshot");
        wakes.wake();
        machine::spawn_blocking(move || drop(before));
        Ok(true)
    }

    fn pauses(&self) -> Pauses {
        Pauses::new(self.metrics.clone(), self.feed.clock())
    }

    fn snapshots(&self) -> Option<Snapshots> {
        let folder = self.folder.clone()?;
        let (feed, reach) = (self.feed.clone(), self.reach.clone());
        let depot = self.helpers.as_ref().and_then(Helpers::depot);
        let (cluster, due) = (self.cluster, self.due);
        Some(Snapshots { folder, feed, depot, reach, cluster, due })
    }
}

/// A journal that has closed has said why.
fn stops(error: &Error) {
    if *error != Error::Closed {
        error!(%error, "the memstore stops");
    }
}

/// Tells everyone that nothing will be applied any more.
struct Closing {
    replicas: Arc<Replicas>,
    closed: CancellationToken,
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.closed.cancel();
        self.replicas.served().iter().for_each(|replica| replica.frontier.close());
    }
}
