//! What runs on a memstore's thread, from its start to its end.

use std::sync::Arc;

use journal::Lsn;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::gap::{Gap, Helpers, Way};
use super::restart::{Start, load};
use crate::error::Error;
use crate::feed::{Bridge, Entries, Feed};
use crate::follower::Follower;
use crate::keeper::{Keeper, Snapshots};
use crate::metrics::ApplyMetrics;
use crate::replicas::Replicas;
use crate::snapshot::Folder;
use crate::watch::Wakes;
use crate::work::{Held, SnapshotDue, Work};

/// Everything that a memstore's thread holds.
pub(crate) struct Run {
    pub(crate) replicas: Arc<Replicas>,
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
enum Stopped {
    Asked,
    Trimmed { first: Lsn },
    Failed(Error),
}

impl Run {
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        // Also when something panics: nobody shall wait for what will never come.
        let closing = Closing { replicas: self.replicas.clone(), closed: self.closed.clone() };
        let mut bridge = None;
        loop {
            let (stopped, keeper) = self.follow(bridge.take()).await;
            match stopped {
                Stopped::Asked => {
                    drop(closing);
                    keeper.close().await;
                    return Ok(());
                }
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
        let served = self.replicas.served();
        let work = Arc::new(Work::new(Held::by(&served)));
        let keeper = Keeper::new(self.replicas.clone(), work.clone(), self.snapshots());
        let idle = CancellationToken::new();
        let keeper = tokio::spawn(keeper.run(idle.clone()));
        let from = self.applied().next();
        let entries = bridge.unwrap_or_else(|| self.feed.entries(from));
        let follower = Follower::new(entries, served, work, self.due);
        let follower = follower.measured(self.metrics.clone(), self.feed.clock());
        let stopped = match follower.run(self.cancel.clone()).await {
            Ok(()) => Stopped::Asked,
            Err(journal::Error::Trimmed { first }) => Stopped::Trimmed { first },
            Err(journal::Error::Corrupt(reason)) => Stopped::Failed(Error::Corrupt(reason)),
            Err(journal::Error::Io(reason)) => Stopped::Failed(Error::Io(reason)),
            Err(_) => Stopped::Failed(Error::Closed),
        };
        idle.cancel();
        (stopped, keeper.await.expect("the keeper does not panic, and nobody aborts it"))
    }

    fn applied(&self) -> Lsn {
        self.replicas.served()[0].frontier.applied().lsn
    }

    /// What comes next is trimmed here: goes on from a newer snapshot, and where the journal does not lead on from that
    /// either, with what other members have. Answers what to read then, if not the journal here.
    async fn close_gap(&mut self, first: Lsn) -> Result<Option<Entries>, Error> {
        warn!(
            first = first.0,
            "the journal was trimmed before it was applied, starting again from a snapshot"
        );
        self.start_again()?;
        loop {
            let gap = Gap { applied: self.applied(), first };
            if first <= gap.applied.next() {
                return Ok(None);
            }
            let Some(helpers) = &mut self.helpers else {
                return Err(Error::Missing { next: gap.applied.next(), first });
            };
            match helpers.close(gap, self.folder.as_ref()).await? {
                Way::Set => self.start_again()?,
                Way::Bridge(there) => {
                    let (there, here) = (Entries::Journal(there), self.feed.entries(first));
                    let bridge = Bridge::new(there, here, first, self.feed.clock());
                    return Ok(Some(Entries::Bridge(Box::new(bridge))));
                }
            }
        }
    }

    /// Goes on from the newest snapshot, if that is further. Watchers read on from its history.
    fn start_again(&self) -> Result<(), Error> {
        let served = self.replicas.served();
        let ranges: Vec<_> = served.iter().map(|replica| replica.partition.range().clone()).collect();
        let Start { applied, partitions } = load(self.folder.as_deref(), &ranges)?;
        if applied.lsn <= self.applied() {
            return Ok(());
        }
        let mut wakes = Wakes::default();
        for (replica, partition) in served.iter().zip(partitions) {
            replica.partition.replace(partition);
            replica.hub.skip_to(applied.revision, &mut wakes);
        }
        served.iter().for_each(|replica| replica.frontier.advance(applied));
        wakes.wake();
        Ok(())
    }

    fn snapshots(&self) -> Option<Snapshots> {
        let folder = self.folder.clone()?;
        let (feed, reach) = (self.feed.clone(), self.reach.clone());
        Some(Snapshots { folder, feed, reach, cluster: self.cluster, due: self.due })
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
