//! What the journal is applied to: the replicas that are served, and those that wait to be.
//!
//!     builders ──► join ──► followed ──► all that a change needs stand with the follower ──► served
//!                             ▲                                                               │
//!                          follower                                         retire ◄── what they replace
//!
//! All of this happens on the memstore's thread, between two entries. So what is served changes at once, and at a
//! position where the old replicas and the new ones hold the same.

use std::sync::Arc;

use journal::{Batch, Entry, Lsn, machine};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tracing::info;

use crate::building::{Building, Source};
use crate::frontier::Applied;
use crate::partition_id::{PartitionId, PartitionRange};
use crate::replica::Replica;
use crate::replicas::Replicas;
use crate::wanted::{Exchange, exchange};
use crate::watch::{Wakes, WatchLimits};
use crate::work::Work;

/// Everything that this memstore holds.
pub(crate) struct Holding {
    replicas: Arc<Replicas>,
    limits: WatchLimits,
    work: Arc<Work>,
    state: Mutex<Followed>,
    begun: Notify,
    lost: Notify,
}

/// What the follower applies entries to.
pub(crate) struct Followed {
    /// How far it is. `None` before there is anything to apply to: then the first to join says where to begin.
    pub(crate) applied: Option<Applied>,
    /// Each at `applied` or ahead of it.
    replicas: Vec<Arc<Replica>>,
    /// Those of them that are not shown before they were compared with what they take the places of.
    doubted: Vec<PartitionRange>,
    wanted: Vec<PartitionRange>,
    /// Thrown away, and with them what was made of them: they are not built of snapshots of this memstore, if anybody else
    /// has some.
    distrusted: Vec<PartitionRange>,
    /// What is served may have to change.
    unsettled: bool,
}

impl Holding {
    /// What is served stands at one position, and is what is wanted.
    pub(crate) fn new(replicas: Arc<Replicas>, limits: WatchLimits, work: Arc<Work>) -> Holding {
        let followed: Vec<_> = replicas.served().to_vec();
        let applied = followed.first().map(|replica| replica.frontier.applied());
        let same = followed.iter().all(|replica| Some(replica.frontier.applied()) == applied);
        assert!(same, "all partitions start at the same position");
        let wanted = replicas.ranges().to_vec();
        let state = Followed {
            applied,
            replicas: followed,
            doubted: Vec::new(),
            wanted,
            distrusted: Vec::new(),
            unsettled: false,
        };
        Holding {
            replicas,
            limits,
            work,
            state: Mutex::new(state),
            begun: Notify::new(),
            lost: Notify::new(),
        }
    }

    pub(crate) fn replicas(&self) -> &Arc<Replicas> {
        &self.replicas
    }

    /// What is served, or shall be.
    pub(crate) fn held(&self) -> Vec<PartitionRange> {
        let followed = self.state.lock();
        followed.wanted.iter().chain(self.replicas.ranges().iter()).cloned().collect()
    }

    pub(crate) fn followed(&self) -> MutexGuard<'_, Followed> {
        self.state.lock()
    }

    /// Waits until there is something to apply to.
    pub(crate) async fn begun(&self) {
        self.begun.notified().await;
    }

    /// Waits until something has to be built again.
    pub(crate) async fn lost(&self) {
        self.lost.notified().await;
    }

    /// Wants these from now on. Answers those that have to be built.
    pub(crate) fn want(&self, wanted: Vec<PartitionRange>) -> Vec<PartitionRange> {
        let mut followed = self.state.lock();
        let served = self.replicas.ranges();
        let keeps = |range: &PartitionRange| served.contains(range) || wanted.contains(range);
        let unwanted = followed.replicas.extract_if(.., |replica| !keeps(replica.partition.range()));
        free(unwanted.collect());
        followed.doubted.retain(|range| wanted.contains(range));
        followed.wanted = wanted;
        followed.unsettled = true;
        self.settle(&mut followed);
        let held = |range: &&PartitionRange| followed.holds(range);
        followed.wanted.iter().filter(|range| !held(range)).cloned().collect()
    }

    /// What a replica of `range` can be copied from in this memstore, in the order of the keys.
    pub(crate) fn sources(&self, range: &PartitionRange) -> Vec<Source> {
        let served = self.replicas.served();
        let sources = served.iter().filter_map(|replica| {
            let own = replica.partition.range();
            let end = match (&own.end, &range.end) {
                (Some(one), Some(other)) => Some(one.min(other).clone()),
                (one, other) => one.clone().or_else(|| other.clone()),
            };
            let start = own.start.clone().max(range.start.clone());
            let (applied, compacted) = (replica.frontier.applied(), replica.partition.compacted());
            let partition = replica.partition.clone();
            let range = own.overlaps(range).then_some(PartitionRange { id: range.id, start, end })?;
            Some(Source { range, partition, applied, compacted })
        });
        sources.collect()
    }

    /// Takes a replica in, which the follower goes on with from here. If it is `doubted`, it is not served before
    /// somebody vouches for it.
    ///
    /// # Errors
    /// It is given back where it is not yet as far as the others.
    pub(crate) fn join(&self, building: Building, doubted: bool) -> Result<(), Box<Building>> {
        let mut followed = self.state.lock();
        let at = building.applied();
        let behind = followed.applied.is_some_and(|applied| at.lsn < applied.lsn);
        if behind || !building.is_whole() {
            return Err(Box::new(building));
        }
        if followed.holds(building.range()) || !followed.wanted.contains(building.range()) {
            return Ok(());
        }
        if doubted {
            followed.doubted.push(building.range().clone());
        }
        let replica = Replica::new(building.into_partition(), at, self.limits);
        followed.replicas.push(Arc::new(replica));
        if followed.applied.is_none() {
            followed.applied = Some(at);
            self.begun.notify_one();
        }
        followed.unsettled = true;
        self.settle(&mut followed);
        Ok(())
    }

    /// One that is doubted, and what is served of its keys now. `None` where it was lost.
    pub(crate) fn doubted(&self, range: &PartitionRange) -> Option<(Arc<Replica>, Vec<Source>)> {
        let followed = self.state.lock();
        let replica = followed.replicas.iter().find(|replica| replica.partition.range() == range)?;
        Some((replica.clone(), self.sources(range)))
    }

    /// A doubted one holds what it should, or else is forgotten. False where it was lost while it was compared.
    pub(crate) fn vouch(&self, compared: &Replica, is_same: bool) -> bool {
        let mut followed = self.state.lock();
        if followed.replicas.iter().all(|replica| replica.number != compared.number) {
            return false;
        }
        followed.doubted.retain(|doubted| doubted != compared.partition.range());
        if !is_same {
            let wrong = followed.replicas.extract_if(.., |replica| replica.number == compared.number);
            free(wrong.collect());
        }
        followed.unsettled = true;
        self.settle(&mut followed);
        true
    }

    /// Serves a partition no longer, because the replica of that number does not hold what it should. False where another
    /// one has its place by now, or it is about to leave anyway.
    pub(crate) fn throw_away(&self, id: PartitionId, number: u64) -> bool {
        let mut followed = self.state.lock();
        let Ok(replica) = self.replicas.get(id) else { return false };
        let range = replica.partition.range().clone();
        if replica.number != number || !followed.wanted.contains(&range) {
            return false;
        }
        self.replicas.throw_away(id);
        self.serve(&mut followed, &[], std::slice::from_ref(&range));
        followed.distrusted.push(range);
        true
    }

    /// Whether it was thrown away and not yet built again; asked once.
    pub(crate) fn take_distrusted(&self, range: &PartitionRange) -> bool {
        let mut followed = self.state.lock();
        let before = followed.distrusted.len();
        followed.distrusted.retain(|distrusted| distrusted != range);
        followed.distrusted.len() < before
    }

    /// All that the journal is applied to.
    pub(crate) fn ranges(&self) -> Vec<PartitionRange> {
        self.state.lock().replicas.iter().map(|replica| replica.partition.range().clone()).collect()
    }

    /// Goes on with what is served alone, which was brought to `applied`.
    pub(crate) fn begin_again(&self, applied: Option<Applied>) {
        let mut followed = self.state.lock();
        let before = std::mem::replace(&mut followed.replicas, self.replicas.served().to_vec());
        free(before);
        followed.doubted.clear();
        followed.applied = applied;
        self.lost.notify_one();
    }

    /// Changes what is served, if everything is there that this takes.
    pub(crate) fn settle(&self, followed: &mut Followed) {
        let Some(applied) = followed.applied.filter(|_| followed.unsettled) else { return };
        let ranges = self.replicas.ranges();
        let Exchange { enter, leave } = exchange(&ranges, &followed.wanted, &followed.there(applied.lsn));
        if !enter.is_empty() || !leave.is_empty() {
            self.serve(followed, &enter, &leave);
            // What came may hold what is compacted.
            self.work.compact_now();
            let names = |ranges: &[PartitionRange]| ranges.iter().map(|range| range.id.0).collect::<Vec<_>>();
            info!(position = applied.lsn.0, new = ?names(&enter), old = ?names(&leave), "other partitions are served");
        }
        // Until the next one joins or something else is wanted, unless one is waiting for the follower.
        followed.unsettled = followed.replicas.iter().any(|replica| !replica.stands_at(applied.lsn));
    }

    fn serve(&self, followed: &mut Followed, enter: &[PartitionRange], leave: &[PartitionRange]) {
        let (left, mut serves): (Vec<_>, Vec<_>) = self
            .replicas
            .served()
            .iter()
            .cloned()
            .partition(|replica| leave.contains(replica.partition.range()));
        let enters = |replica: &&Arc<Replica>| enter.contains(replica.partition.range());
        serves.extend(followed.replicas.iter().filter(enters).cloned());
        // Before the old ones are told of it: who hears that one is gone finds the others.
        self.replicas.serve(serves);
        followed.replicas.retain(|replica| !leave.contains(replica.partition.range()));
        let mut wakes = Wakes::default();
        left.iter().for_each(|replica| replica.retire(&mut wakes));
        wakes.wake();
        free(left);
    }
}

/// Lets go of replicas. Freeing takes long where there are many keys, and nobody shall wait for it here.
fn free(replicas: Vec<Arc<Replica>>) {
    if !replicas.is_empty() {
        machine::spawn_blocking(move || drop(replicas));
    }
}

impl Followed {
    /// The next entry comes. Answers where that leads, and what takes effect there.
    pub(crate) fn goes_on<'e>(&mut self, entry: &'e Entry) -> (Applied, Option<&'e Arc<Batch>>) {
        let before = self.applied.expect("there is something to apply to");
        assert_eq!(entry.lsn, before.lsn.next(), "entries are applied in order");
        let effects = entry.effects(before.revision);
        let revision = effects.map_or(before.revision, |batch| batch.last_revision());
        (*self.applied.insert(Applied { lsn: entry.lsn, revision }), effects)
    }

    /// Those that have yet to apply `lsn`.
    pub(crate) fn lacking(&self, lsn: Lsn) -> impl Iterator<Item = &Arc<Replica>> {
        self.replicas.iter().filter(move |replica| replica.frontier.applied().lsn < lsn)
    }

    fn holds(&self, range: &PartitionRange) -> bool {
        self.replicas.iter().any(|replica| replica.partition.range() == range)
    }

    /// Those that stand with the follower and may be shown.
    fn there(&self, lsn: Lsn) -> Vec<PartitionRange> {
        let there = self.replicas.iter().filter(|replica| replica.stands_at(lsn));
        let there = there.map(|replica| replica.partition.range());
        there.filter(|range| !self.doubted.contains(range)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::Partition;
    use crate::work::Held;

    #[tokio::test]
    async fn one_that_is_lost_while_it_is_compared_has_to_be_built_again() {
        let replicas = Arc::new(Replicas::new(Vec::new()));
        let work = Arc::new(Work::new(Held::by(&replicas.served())));
        let holding = Holding::new(replicas, WatchLimits::default(), work);
        let range = PartitionRange::split(&[]).remove(0);
        let join = || {
            let building = Building::whole(Partition::new(range.clone()), Applied::default());
            assert!(holding.join(building, true).is_ok());
            holding.doubted(&range).expect("it has just joined").0
        };
        assert_eq!(holding.want(vec![range.clone()]).len(), 1);
        let lost = join();
        holding.begin_again(None);
        assert!(!holding.vouch(&lost, true), "it is not held");
        let other = join();
        assert!(!holding.vouch(&lost, true), "another one has its place");
        assert!(holding.replicas().ranges().is_empty(), "the other one was not compared");
        assert!(holding.vouch(&other, true));
        assert_eq!(holding.replicas().ranges()[..], [range]);
    }
}
