//! What runs on a memstore's thread, from its start to its end.

use std::panic::resume_unwind;
use std::sync::Arc;

use journal::Lsn;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::builder::Builder;
use super::gap::{Gap, Helpers, Way};
use super::restart::{Start, load};
use crate::error::Error;
use crate::feed::{Entries, Feed};
use crate::follower::Follower;
use crate::holding::Holding;
use crate::keeper::{Keeper, Snapshots};
use crate::metrics::ApplyMetrics;
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
        if let Wanted::Told(wanted) = &self.wanted {
            let Run { holding, feed, helpers, folder, .. } = &self;
            let (holding, feed) = (holding.clone(), feed.clone());
            let builder = Builder { holding, feed, helpers: helpers.clone(), folder: folder.clone() };
            builders.spawn(builder.run(wanted.clone()));
        }
        let keeper = tokio::select! {
            keeper = self.stay() => keeper?,
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
        let keeper = Keeper::new(self.holding.replicas().clone(), self.work.clone(), self.snapshots());
        let idle = CancellationToken::new();
        let keeper = tokio::spawn(keeper.run(idle.clone()));
        let follower = Follower::new(self.feed.clone(), self.holding.clone(), self.work.clone(), self.due);
        let follower = follower.measured(self.metrics.clone());
        let followed = follower.run(bridge, self.cancel.clone()).await;
        idle.cancel();
        let keeper = keeper.await.expect("the keeper does not panic, and nobody aborts it");
        (followed.map_or_else(Stopped::from, |()| Stopped::Asked), keeper)
    }

    /// What comes next is trimmed here: goes on from a newer snapshot, and where the journal does not lead on from that
    /// either, with what other members have. Answers what to read then, if not the journal here.
    async fn close_gap(&mut self, first: Lsn) -> Result<Option<Entries>, Error> {
        warn!(
            first = first.0,
            "the journal was trimmed before it was applied, starting again from a snapshot"
        );
        self.start_again().await?;
        loop {
            let Some(applied) = self.applied() else { return Ok(None) };
            let gap = Gap { applied, first };
            if first <= gap.applied.next() {
                return Ok(None);
            }
            let Some(helpers) = &mut self.helpers else {
                return Err(Error::Missing { next: gap.applied.next(), first });
            };
            match helpers.close(gap, self.folder.as_ref()).await? {
                Way::Set => self.start_again().await?,
                Way::Bridge(there) => return Ok(Some(self.feed.bridge(there, first))),
            }
        }
    }

    /// `None` where nothing is followed.
    fn applied(&self) -> Option<Lsn> {
        self.holding.followed().applied.map(|applied| applied.lsn)
    }

    /// Goes on from the newest snapshot, if that is further. Watchers read on from its history.
    async fn start_again(&self) -> Result<(), Error> {
        let replicas = self.holding.replicas();
        let _undisturbed = replicas.upkeep().await;
        let served = replicas.served();
        if served.is_empty() {
            self.holding.begin_again(None);
            return Ok(());
        }
        let Start { applied, partitions } = load(self.folder.as_deref(), &replicas.ranges())?;
        if self.applied().is_some_and(|reached| applied.lsn <= reached) {
            return Ok(());
        }
        let mut wakes = Wakes::default();
        for (replica, partition) in served.iter().zip(partitions) {
            replica.partition.replace(partition);
            replica.hub.skip_to(applied.revision, &mut wakes);
        }
        served.iter().for_each(|replica| replica.frontier.advance(applied));
        self.work.begin_anew(Held::by(&served));
        self.holding.begin_again(Some(applied));
        wakes.wake();
        Ok(())
    }

    fn snapshots(&self) -> Option<Snapshots> {
        let folder = self.folder.clone()?;
        let (feed, reach) = (self.feed.clone(), self.reach.clone());
        let nodes = self.helpers.as_ref().and_then(Helpers::journal_nodes);
        let (cluster, due) = (self.cluster, self.due);
        Some(Snapshots { folder, feed, nodes, reach, cluster, due })
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
