//! What runs on a memstore's thread, from its start to its end.

use std::sync::Arc;

use journal::Lsn;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::restart::{Start, load};
use crate::error::Error;
use crate::feed::Feed;
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
    pub(crate) async fn run(self) -> Result<(), Error> {
        // Also when something panics: nobody shall wait for what will never come.
        let closing = Closing { replicas: self.replicas.clone(), closed: self.closed.clone() };
        loop {
            let (stopped, keeper) = self.follow().await;
            match stopped {
                Stopped::Asked => {
                    drop(closing);
                    keeper.close().await;
                    return Ok(());
                }
                Stopped::Trimmed { first } => self.start_again(first).inspect_err(stops)?,
                Stopped::Failed(error) => {
                    stops(&error);
                    return Err(error);
                }
            }
        }
    }

    /// Follows the journal for as long as that goes. The keeper is idle when this returns.
    async fn follow(&self) -> (Stopped, Keeper) {
        let served = self.replicas.served();
        let work = Arc::new(Work::new(Held::by(&served)));
        let keeper = Keeper::new(self.replicas.clone(), work.clone(), self.snapshots());
        let idle = CancellationToken::new();
        let keeper = tokio::spawn(keeper.run(idle.clone()));
        let from = served[0].frontier.applied().lsn.next();
        let entries = self.feed.entries(from);
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

    /// What comes next is trimmed: goes on from a newer snapshot. Watchers read on from its history.
    fn start_again(&self, first: Lsn) -> Result<(), Error> {
        warn!(
            first = first.0,
            "the journal was trimmed before it was applied, starting again from a snapshot"
        );
        let served = self.replicas.served();
        let ranges: Vec<_> = served.iter().map(|replica| replica.partition.range().clone()).collect();
        let Start { applied, partitions } = load(self.folder.as_deref(), &ranges, first)?;
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
