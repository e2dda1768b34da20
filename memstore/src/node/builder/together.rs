//! Replicas that are missing at the same time: they are fed from one tail, so that the journal is read once for all.
//!
//!     load each ──► own replicas, else snapshots, else nothing       they stand at different positions
//!         ▲                                 │
//!         │         ┌──── a tail behind the lowest ────► each applies from its own position on, and joins when it is as far
//!         └─────────┘ trimmed
//!
//! One that needs what others do not goes its own way: where the journal here is not enough for it, where it cannot be
//! loaded, where it has to be built again. Nobody waits for it.

use std::pin::Pin;
use std::time::Duration;

use journal::Lsn;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::super::gap::{Gap, Way};
use super::super::restart::{distrust, newest};
use super::super::run::Stopped;
use super::{Builder, ends};
use crate::aside::aside;
use crate::building::{Building, Source};
use crate::comparing::same;
use crate::error::Error;
use crate::feed::Entries;
use crate::partition_id::PartitionRange;
use crate::snapshot::Folder;

/// How long to wait before what could not be built is tried again: a newer snapshot may be there by then.
const AGAIN: Duration = Duration::from_secs(5);

/// A replica to be built.
pub(super) struct Missing {
    pub(super) range: PartitionRange,
    /// Cancelled when it is there, or not wanted any more.
    pub(super) ticket: CancellationToken,
    /// Whether what this memstore has of it is copied, as far as it compares with that.
    trusts: bool,
}

impl Missing {
    pub(super) fn new(range: PartitionRange) -> Missing {
        Missing { range, ticket: CancellationToken::new(), trusts: true }
    }

    fn is_wanted(&self) -> bool {
        !self.ticket.is_cancelled()
    }

    fn ends(&self) {
        self.ticket.cancel();
    }
}

/// One on its way.
struct Loaded {
    missing: Missing,
    building: Building,
}

impl Loaded {
    /// Whether a journal that begins at `first` leads on from it.
    fn leads_on(&self, first: Lsn) -> bool {
        first <= self.building.applied().lsn.next()
    }
}

/// What became of a replica that was compared.
enum Compared {
    Same,
    /// What was followed was forgotten: it has to be built again.
    Lost,
    /// It does not hold what it was copied from.
    Differs,
}

type Built = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Builder {
    /// Builds them, as often as that takes.
    pub(super) fn build(self, missing: Vec<Missing>) -> Built {
        Box::pin(self.build_together(missing))
    }

    async fn build_together(mut self, mut missing: Vec<Missing>) {
        let mut apart = JoinSet::new();
        while !missing.is_empty() {
            missing = match self.begin(missing, &mut apart).await {
                Some((loaded, entries)) => self.feed(loaded, entries, &mut apart).await,
                None => Vec::new(),
            };
            missing.retain(Missing::is_wanted);
        }
        while let Some(built) = apart.join_next().await {
            ends(built);
        }
    }

    /// Gathers what there is of them, and finds what leads on from the lowest. `None` where nothing is left to be done here.
    async fn begin(
        &mut self,
        missing: Vec<Missing>,
        apart: &mut JoinSet<()>,
    ) -> Option<(Vec<Loaded>, Entries)> {
        let mut loaded = self.load_all(missing, apart).await;
        loop {
            let lowest = loaded.iter().map(|loaded| loaded.building.applied().lsn).min()?;
            let first = self.feed.first();
            let (leading, lacking): (Vec<_>, Vec<_>) =
                loaded.into_iter().partition(|loaded| loaded.leads_on(first));
            if lacking.is_empty() {
                return Some((leading, self.feed.entries(lowest.next())));
            }
            if !leading.is_empty() {
                apart.spawn(self.clone().build(missing_of(lacking)));
                loaded = leading;
                continue;
            }
            let error = match &mut self.helpers {
                None => Error::Missing { next: lowest.next(), first },
                Some(helpers) => {
                    let lacks = lacking.iter().flat_map(|loaded| loaded.building.lacking(first)).collect();
                    let gap = Gap { applied: lowest, first, lacking: lacks };
                    match helpers.close(gap, self.folder.as_ref()).await {
                        Ok(Way::Bridge(there)) => return Some((lacking, self.feed.bridge(there, first))),
                        Ok(Way::Pieces) => {
                            loaded = self.load_all(missing_of(lacking), apart).await;
                            continue;
                        }
                        Err(error) => error,
                    }
                }
            };
            self.give_up(missing_of(lacking), &error, apart);
            return None;
        }
    }

    async fn load_all(&mut self, missing: Vec<Missing>, apart: &mut JoinSet<()>) -> Vec<Loaded> {
        let mut loaded = Vec::new();
        for missing in missing {
            let ticket = missing.ticket.clone();
            match ticket.run_until_cancelled(self.load(&missing.range, missing.trusts)).await {
                None => {}
                Some(Ok(building)) => loaded.push(Loaded { missing, building }),
                Some(Err(error)) => self.give_up(vec![missing], &error, apart),
            }
        }
        loaded
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

    /// Applies the entries to each from its own position on, until all have joined. Answers those that have to be begun
    /// again.
    async fn feed(
        &mut self,
        mut loaded: Vec<Loaded>,
        mut entries: Entries,
        apart: &mut JoinSet<()>,
    ) -> Vec<Missing> {
        loop {
            loaded = self.join(loaded, apart);
            while let Some(built) = apart.try_join_next() {
                ends(built);
            }
            if loaded.is_empty() {
                return Vec::new();
            }
            let entries = match entries.next().await.map_err(Stopped::from) {
                Ok(entries) => entries,
                Err(Stopped::Trimmed { first }) => {
                    let partitions: Vec<_> = loaded.iter().map(|loaded| loaded.missing.range.id.0).collect();
                    warn!(
                        ?partitions,
                        first = first.0,
                        "the journal was trimmed before it was applied, building again"
                    );
                    return missing_of(loaded);
                }
                Err(Stopped::Asked) => return Vec::new(),
                Err(Stopped::Failed(error)) => {
                    self.give_up(missing_of(loaded), &error, apart);
                    return Vec::new();
                }
            };
            let mut further = Vec::with_capacity(loaded.len());
            for Loaded { missing, building } in loaded {
                // `Closed` is the process that ends.
                let Ok(building) = building.go_on(&entries).await else { return Vec::new() };
                further.push(Loaded { missing, building });
                // The follower comes first.
                tokio::task::yield_now().await;
            }
            loaded = further;
        }
    }

    /// Those that are as far join. Answers the others.
    fn join(&self, loaded: Vec<Loaded>, apart: &mut JoinSet<()>) -> Vec<Loaded> {
        let mut behind = Vec::with_capacity(loaded.len());
        for Loaded { missing, building } in loaded.into_iter().filter(|loaded| loaded.missing.is_wanted()) {
            match self.holding.join(building, missing.trusts) {
                Ok(()) if missing.trusts => drop(apart.spawn(self.clone().vouch(missing))),
                Ok(()) => missing.ends(),
                Err(building) => behind.push(Loaded { missing, building: *building }),
            }
        }
        behind
    }

    /// Sees to it that one that has joined is shown once it was compared, or built again.
    async fn vouch(self, missing: Missing) {
        let partition = missing.range.id.0;
        let ticket = missing.ticket.clone();
        let Some(compared) = ticket.run_until_cancelled(self.compare(&missing.range)).await else { return };
        let again = match compared {
            Ok(Compared::Same) => return missing.ends(),
            Ok(Compared::Lost) => missing,
            Ok(Compared::Differs) => {
                error!(
                    partition,
                    "a copy of a partition does not hold what the partition holds, which may be damaged: it is built \
                     again from a snapshot and the journal"
                );
                Missing { trusts: false, ..missing }
            }
            // Nothing else can have ended it.
            Err(_) => return,
        };
        self.build(vec![again]).await;
    }

    /// Compares one that has joined with what is served of its keys. It is served if they are the same.
    async fn compare(&self, range: &PartitionRange) -> Result<Compared, Error> {
        let _undisturbed = self.holding.replicas().upkeep().await;
        let Some((replica, others)) = self.holding.doubted(range) else { return Ok(Compared::Lost) };
        let copy = replica.clone();
        let same = aside(move |given_up| same(&copy.partition, &others, given_up)).await?;
        let same = same.ok_or(Error::Closed)?;
        Ok(match self.holding.vouch(&replica, same) {
            false => Compared::Lost,
            true if same => Compared::Same,
            true => Compared::Differs,
        })
    }

    /// They cannot be built together: each is tried by itself, and one that is alone in a while.
    fn give_up(&self, missing: Vec<Missing>, error: &Error, apart: &mut JoinSet<()>) {
        if *error == Error::Closed {
            return;
        }
        let is_alone = missing.len() == 1;
        for missing in missing {
            let builder = self.clone();
            if is_alone {
                let partition = missing.range.id.0;
                error!(partition, %error, "a partition cannot be built; it is tried again in a while");
            }
            apart.spawn(async move {
                if is_alone {
                    let clock = builder.feed.clock();
                    clock.until(clock.now() + AGAIN).await;
                }
                builder.build(vec![missing]).await;
            });
        }
    }
}

fn missing_of(loaded: Vec<Loaded>) -> Vec<Missing> {
    loaded.into_iter().map(|loaded| loaded.missing).collect()
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
