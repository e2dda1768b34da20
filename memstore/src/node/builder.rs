//! Building the replicas that are wanted and not there, beside those that are served.
//!
//!     wanted ──► load: own replicas, else snapshots, else nothing ──► a tail of its own ──► join
//!                                     ▲                                     │
//!                                     └────────── trimmed ◄─────────────────┘
//!
//! It runs on the memstore's thread and takes turns with the follower; versions are copied on another.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::gap::{Gap, Helpers, Way};
use super::restart::{distrust, newest};
use super::run::Stopped;
use crate::aside::aside;
use crate::building::{Building, Source};
use crate::comparing::same;
use crate::doubt::{Doubt, Throw};
use crate::error::Error;
use crate::feed::{Entries, Feed};
use crate::holding::Holding;
use crate::partition_id::PartitionRange;
use crate::snapshot::Folder;
use crate::wanted::in_order;

/// How long to wait before what could not be built is tried again: a newer snapshot may be there by then.
const AGAIN: Duration = Duration::from_secs(5);

/// Builds replicas.
#[derive(Clone)]
pub(super) struct Builder {
    pub(super) holding: Arc<Holding>,
    pub(super) feed: Feed,
    /// Who may have what is trimmed here.
    pub(super) helpers: Option<Helpers>,
    pub(super) folder: Option<Arc<Folder>>,
}

impl Builder {
    /// Builds what is wanted, whenever that changes.
    /// Replicas that are `thrown` away are built again.
    pub(super) async fn run(
        self,
        mut wanted: watch::Receiver<Arc<[PartitionRange]>>,
        mut thrown: mpsc::Receiver<Throw>,
    ) {
        let mut builds = JoinSet::new();
        let mut under_way: HashMap<PartitionRange, AbortHandle> = HashMap::new();
        loop {
            match in_order(&wanted.borrow_and_update()) {
                Some(ranges) => self.want(ranges, &mut builds, &mut under_way),
                None => error!("the wanted partitions overlap: what was wanted before is served"),
            }
            loop {
                tokio::select! {
                    Ok(()) = wanted.changed() => break,
                    () = self.holding.lost() => break,
                    Some(throw) = thrown.recv() => {
                        self.throw_away(throw);
                        break;
                    }
                    Some(built) = builds.join_next() => ends(built),
                    else => return,
                }
            }
        }
    }

    fn throw_away(&self, Throw { partition, doubt, reply }: Throw) {
        let Doubt { replica, at, own, others } = doubt;
        let is_thrown = self.holding.throw_away(partition, replica.number);
        if is_thrown {
            error!(
                partition = partition.0,
                position = at.lsn.0,
                revision = at.revision.0,
                set_hash = format!("{own:016x}"),
                set_hash_of_others = format!("{others:016x}"),
                "a replica does not hold what other memstores hold of its partition: it is thrown away and built again from \
                 a snapshot and the journal; look for errors of this machine's memory"
            );
        }
        // Whoever asked may have gone.
        let _ = reply.send(if is_thrown { Ok(()) } else { Err(Error::WrongPartition) });
    }

    fn want(
        &self,
        ranges: Vec<PartitionRange>,
        builds: &mut JoinSet<()>,
        under_way: &mut HashMap<PartitionRange, AbortHandle>,
    ) {
        let missing = self.holding.want(ranges.clone());
        under_way.retain(|range, build| {
            let goes_on = ranges.contains(range) && !build.is_finished();
            if !goes_on {
                build.abort();
            }
            goes_on
        });
        for range in missing {
            let build = || builds.spawn(self.clone().build(range.clone()));
            under_way.entry(range.clone()).or_insert_with(build);
        }
    }

    /// Builds one, as often as that takes.
    async fn build(mut self, range: PartitionRange) {
        let (partition, mut trusts) = (range.id.0, true);
        loop {
            match self.build_once(&range, trusts).await {
                Ok(Built::Differs) => {
                    trusts = false;
                    error!(
                        partition,
                        "a copy of a partition does not hold what the partition holds, which may be damaged: it is                          built again from a snapshot and the journal"
                    );
                }
                Ok(Built::Lost) => {}
                Ok(Built::Joined) | Err(Stopped::Asked | Stopped::Failed(Error::Closed)) => return,
                Err(Stopped::Trimmed { first }) => {
                    warn!(
                        partition,
                        first = first.0,
                        "the journal was trimmed before it was applied, building again"
                    );
                }
                Err(Stopped::Failed(error)) => {
                    error!(partition, %error, "a partition cannot be built; it is tried again in a while");
                    let clock = self.feed.clock();
                    clock.until(clock.now() + AGAIN).await;
                }
            }
        }
    }

    /// `trusts` what this memstore has of it, as far as it compares with that.
    async fn build_once(&mut self, range: &PartitionRange, trusts: bool) -> Result<Built, Stopped> {
        let (mut building, mut entries) = self.begin(range, trusts).await.map_err(Stopped::Failed)?;
        loop {
            building = match self.holding.join(building, trusts) {
                Ok(()) if trusts => return self.compare(range).await.map_err(Stopped::Failed),
                Ok(()) => return Ok(Built::Joined),
                Err(building) => *building,
            };
            for entry in &entries.next().await? {
                building.apply(entry);
            }
            // The follower comes first.
            tokio::task::yield_now().await;
        }
    }

    /// Gathers what there is of `range`, and finds what leads on from there.
    async fn begin(&mut self, range: &PartitionRange, trusts: bool) -> Result<(Building, Entries), Error> {
        loop {
            let building = self.load(range, trusts).await?;
            let (applied, first) = (building.applied().lsn, self.feed.first());
            if first <= applied.next() {
                return Ok((building, self.feed.entries(applied.next())));
            }
            let Some(helpers) = &mut self.helpers else {
                return Err(Error::Missing { next: applied.next(), first });
            };
            let gap = Gap { applied, first, lacking: building.lacking(first) };
            match helpers.close(gap, self.folder.as_ref()).await? {
                Way::Pieces => {}
                Way::Bridge(there) => return Ok((building, self.feed.bridge(there, first))),
            }
        }
    }

    /// Gathers what there is of `range`.
    async fn load(&self, range: &PartitionRange, trusts: bool) -> Result<Building, Error> {
        let _undisturbed = self.holding.replicas().upkeep().await;
        let sources = if trusts { self.holding.sources(range) } else { Vec::new() };
        // What was written of it may be of when it was wrong already.
        let distrusts = self.holding.take_distrusted(range) && self.helpers.is_some();
        let (range, folder) = (range.clone(), self.folder.clone());
        let gathered = aside(move |given_up| {
            if let Some(folder) = folder.as_deref().filter(|_| distrusts) {
                distrust(folder, &range)?;
            }
            gather(range, sources, folder.as_deref(), given_up)
        });
        gathered.await?
    }

    /// Compares one that has joined with what is served of its keys. It is served if they are the same.
    async fn compare(&self, range: &PartitionRange) -> Result<Built, Error> {
        let _undisturbed = self.holding.replicas().upkeep().await;
        let Some((replica, others)) = self.holding.doubted(range) else { return Ok(Built::Lost) };
        let same = aside(move |given_up| same(&replica.partition, &others, given_up)).await?;
        let same = same.ok_or(Error::Closed)?;
        self.holding.vouch(range, same);
        Ok(if same { Built::Joined } else { Built::Differs })
    }
}

/// What became of a replica that was built.
enum Built {
    Joined,
    /// What was followed was forgotten: it has to be built again.
    Lost,
    /// It does not hold what it was copied from.
    Differs,
}

fn gather(
    range: PartitionRange,
    mut sources: Vec<Source>,
    folder: Option<&Folder>,
    given_up: &CancellationToken,
) -> Result<Building, Error> {
    let own: Vec<_> = sources.iter().map(|source| source.range.clone()).collect();
    let others = newest(folder, &range.without(&own))?;
    let building = match sources.is_empty() {
        true => Building::restored(range, others, given_up),
        false => {
            sources.extend(others);
            Building::gather(range, sources, given_up)
        }
    };
    building.ok_or(Error::Closed)
}

/// A build that was called off is over; one that made a mistake takes everything with it.
fn ends(built: Result<(), JoinError>) {
    if let Some(panic) = built.err().and_then(|error| error.try_into_panic().ok()) {
        resume_unwind(panic);
    }
}
