//! When the store compacts itself: etcd's two modes, decided without a clock.
//!
//! - *revision*: every five minutes, everything but the newest N revisions.
//! - *periodic*: what was overtaken longer ago than the retention. The revision is noted ten times a retention
//!   (every six minutes where that is above an hour), and at each note the one from a retention ago is compacted.
//!   etcd takes the same notes and uses every tenth; using each keeps the steps small.

use std::collections::VecDeque;
use std::time::Duration;

use journal::Revision;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::config::AutoCompaction;
use crate::error::Error;
use crate::operation::Compact;
use crate::store::Store;

/// How often the revision mode looks.
const REVISION_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// Samples a retention in the periodic mode.
const SAMPLES_PER_RETENTION: u32 = 10;
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Compacts by itself until `closing`.
pub(crate) async fn run(mode: AutoCompaction, store: Store, closing: CancellationToken) {
    let mut compactor = Compactor::new(mode);
    let Some(interval) = compactor.interval() else { return };
    let mut looks = tokio::time::interval(interval);
    // Who stood still has not looked meanwhile: looks in a row would take what is new for what is old.
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = closing.cancelled() => return,
            _ = looks.tick() => {}
        }
        compactor.compacted(store.routes().stats().total.compacted);
        let Some(target) = compactor.look(store.seen().revision) else { continue };
        // Members look alike and one is enough: as in etcd, the one that leads. Frontends that are no members have
        // nobody to leave it to, and whoever is later than another finds it done.
        if store.follows() {
            continue;
        }
        let revision = target.to_wire();
        match store.compact(Compact { revision, physical: false }).await {
            // Somebody else was further already.
            Ok(_) | Err(Error::Compacted) => tracing::info!(revision, "compacted by itself"),
            Err(error) => tracing::warn!(revision, %error, "could not compact; it is tried again"),
        }
    }
}

/// Decides what to compact at, given the revision at each interval.
#[derive(Debug)]
pub(crate) struct Compactor {
    mode: AutoCompaction,
    /// Oldest first, one an interval.
    samples: VecDeque<Revision>,
    done: Revision,
}

impl Compactor {
    pub(crate) fn new(mode: AutoCompaction) -> Compactor {
        Compactor { mode, samples: VecDeque::new(), done: Revision::ZERO }
    }

    /// How long until the next look; `None` when nothing is ever compacted by itself.
    pub(crate) fn interval(&self) -> Option<Duration> {
        match self.mode {
            AutoCompaction::Off => None,
            AutoCompaction::Revision(_) => Some(REVISION_INTERVAL),
            AutoCompaction::Periodic(retention) => {
                // As etcd: a retention above an hour is looked at as if it were one hour long.
                Some(retention.min(HOUR) / SAMPLES_PER_RETENTION)
            }
        }
    }

    /// Takes the revision of this moment, and answers the revision to compact at.
    pub(crate) fn look(&mut self, current: Revision) -> Option<Revision> {
        let target = match self.mode {
            AutoCompaction::Off => return None,
            AutoCompaction::Revision(keep) => Revision(current.0.saturating_sub(keep)),
            AutoCompaction::Periodic(_) => {
                self.samples.push_back(current);
                if self.samples.len() <= self.samples_kept() {
                    return None;
                }
                self.samples.pop_front()?
            }
        };
        (target > self.done).then_some(target)
    }

    /// Remembers that `revision` is compacted, by whomever.
    pub(crate) fn compacted(&mut self, revision: Revision) {
        self.done = self.done.max(revision);
    }

    /// Intervals in a retention, rounded up.
    fn samples_kept(&self) -> usize {
        let (AutoCompaction::Periodic(retention), Some(interval)) = (self.mode, self.interval()) else {
            return 0;
        };
        let intervals = retention.as_nanos().div_ceil(interval.as_nanos().max(1));
        usize::try_from(intervals).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(count: u64) -> Duration {
        Duration::from_secs(count * 60)
    }

    #[test]
    fn the_periodic_mode_compacts_what_was_current_a_retention_ago() {
        let mut compactor = Compactor::new(AutoCompaction::Periodic(minutes(10)));
        assert_eq!(compactor.interval(), Some(minutes(1)));
        let looks: Vec<Option<Revision>> =
            (1..=12).map(|minute| compactor.look(Revision(minute * 100))).collect();
        assert!(looks[..10].iter().all(Option::is_none), "nothing is older than the retention yet");
        assert_eq!(looks[10..], [Some(Revision(100)), Some(Revision(200))]);
    }

    #[test]
    fn a_long_retention_is_looked_at_every_six_minutes() {
        let mut compactor = Compactor::new(AutoCompaction::Periodic(minutes(180)));
        assert_eq!(compactor.interval(), Some(minutes(6)));
        assert!((1..=30).all(|look| compactor.look(Revision(look)).is_none()));
        assert_eq!(compactor.look(Revision(31)), Some(Revision(1)));
    }

    #[test]
    fn an_idle_store_is_compacted_once() {
        let mut compactor = Compactor::new(AutoCompaction::Revision(10));
        assert_eq!(compactor.look(Revision(30)), Some(Revision(20)));
        compactor.compacted(Revision(20));
        assert_eq!(compactor.look(Revision(30)), None);
    }

    #[test]
    fn the_revision_mode_keeps_the_newest() {
        let mut compactor = Compactor::new(AutoCompaction::Revision(1000));
        assert_eq!(compactor.look(Revision(900)), None);
        assert_eq!(compactor.look(Revision(1500)), Some(Revision(500)));
    }
}
