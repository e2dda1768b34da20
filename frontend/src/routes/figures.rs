//! What the memstores hold, all together: each key counts once, however many replicas it has.

use std::sync::Arc;
use std::time::{Duration, Instant};

use journal::{KeyRange, Lsn, Revision};
use memstore::{Applied, Error, Hash, Memstore, PartitionRange, PartitionStats, Stats, hash_over};

use super::Routes;
use super::asking::{RETRY_PAUSE, another_knows};
use super::holders::{Choice, Held, Look, all_of, first_of};

/// Memstores elsewhere tell of sizes twice a second, so that these need not be summed up more often than this.
const SUM_EVERY: Duration = Duration::from_millis(100);
/// How long those who serve something may take to say what it holds by now.
const SIZES_MAX: Duration = Duration::from_secs(1);

impl Routes {
    /// The one in this process, where there is no other.
    pub(super) fn only_one(&self) -> Option<Memstore> {
        match &self.list.borrow()[..] {
            [held] if held.memstore.is_here() => Some(held.memstore.clone()),
            _ => None,
        }
    }

    /// The furthest that any of them has applied.
    pub(crate) fn reached(&self) -> Applied {
        let applied = |held: &Arc<Held>| held.memstore.reached();
        self.list.borrow().iter().map(applied).max_by_key(|applied| applied.lsn).unwrap_or_default()
    }

    /// Sizes, by partition and in total.
    pub(crate) fn stats(&self) -> Stats {
        if let Some(memstore) = self.only_one() {
            return memstore.stats();
        }
        let stats = |choice: &Choice| choice.held.memstore.partition_stats(choice.range.id).ok();
        Stats::sum(self.look().cover().iter().filter_map(stats).collect())
    }

    /// The partitions, each by one memstore that serves it: what it holds there, and how far it is.
    pub(crate) fn covered(&self) -> Vec<(PartitionRange, PartitionStats, Lsn)> {
        let figures = |Choice { held, range, .. }: Choice| {
            let stats = held.memstore.partition_stats(range.id).ok()?;
            let applied = held.memstore.applied(range.id).ok()?;
            Some((range, stats, applied.lsn))
        };
        self.look().cover().into_iter().filter_map(figures).collect()
    }

    /// What all partitions hold, as `stats` has it; those that are lost what they last held. Cheap enough to ask at each
    /// write: up to `SUM_EVERY` old where there are several memstores.
    pub(crate) fn bytes_in_use(&self) -> u64 {
        if let Some(memstore) = self.only_one() {
            return memstore.bytes_in_use();
        }
        let (mut sizes, now) = (self.sizes.lock(), Instant::now());
        if sizes.heard.is_none_or(|heard| SUM_EVERY <= now.duration_since(heard)) {
            sizes.heard = Some(now);
            for Choice { held, range, .. } in self.look().cover() {
                if let Ok(bytes) = held.memstore.partition_bytes_in_use(range.id) {
                    sizes.hear(&range, bytes);
                }
            }
        }
        sizes.sum()
    }

    /// The same, once everything up to `lsn` is in it, as far as those say so in time who serve it.
    ///
    /// # Errors
    /// `Stopped`.
    pub(crate) async fn bytes_in_use_at(&self, lsn: Lsn) -> Result<u64, crate::error::Error> {
        let ask = |memstore: Memstore, id| async move { memstore.bytes_in_use_at(id, lsn).await };
        if self.only_one().is_some() {
            let mut sum = 0;
            self.walk(&KeyRange::all(), lsn, ask, |bytes| sum += bytes).await?;
            return Ok(sum);
        }
        self.bytes_in_use();
        let deadline = tokio::time::Instant::now() + SIZES_MAX;
        let asked = self.look().cover().into_iter().map(|choice| {
            Box::pin(async move {
                let ask = |memstore, range: PartitionRange| ask(memstore, range.id);
                let asked = self.ask(&choice.range.start, lsn, ask);
                // What is lost, or goes while it is asked, counts with what it last held.
                if let Ok(Ok((range, bytes))) = tokio::time::timeout_at(deadline, asked).await {
                    self.sizes.lock().hear(&range, bytes);
                }
            })
        });
        all_of(asked.collect()).await;
        Ok(self.sizes.lock().sum())
    }

    /// Whether any of them has no memory for more.
    pub(crate) fn is_short_of_memory(&self) -> bool {
        self.list.borrow().iter().any(|held| held.memstore.is_short_of_memory())
    }

    /// Resolves when that is otherwise than `short`.
    pub(crate) async fn memory_turned_from(&self, short: bool) {
        let mut lists = self.list.subscribe();
        loop {
            let list = lists.borrow_and_update().clone();
            let states: Vec<bool> = list.iter().map(|held| held.memstore.is_short_of_memory()).collect();
            if states.contains(&true) != short {
                return;
            }
            let turns = list
                .iter()
                .zip(states)
                .map(|(held, short)| Box::pin(held.memstore.memory_turned_from(short)));
            tokio::select! {
                () = first_of(turns.collect()) => {}
                // The list is there for as long as this one.
                _ = lists.changed() => {}
            }
        }
    }

    /// etcd's HashKV of everything, up to `upto`, once `lsn` is applied.
    ///
    /// # Errors
    /// `Compacted` and `FutureRevision`; `Closed`.
    pub(crate) async fn hash_kv(&self, upto: Revision, lsn: Lsn) -> Result<Hash, Error> {
        loop {
            let look = self.look();
            match hash(&look, upto, lsn).await {
                Some(Err(error)) if self.is_worth_another_try(&error) => {}
                Some(hash) => return hash,
                None => {}
            }
            tokio::select! {
                () = self.changed(&look) => {}
                () = tokio::time::sleep(RETRY_PAUSE) => {}
            }
        }
    }

    fn is_worth_another_try(&self, error: &Error) -> bool {
        self.list.borrow().iter().all(|held| another_knows(&held.memstore, error))
    }
}

/// Of one that has everything, or else of several. `None`: not every key is served.
async fn hash(look: &Look, upto: Revision, lsn: Lsn) -> Option<Result<Hash, Error>> {
    let whole = look.whole();
    if let Some(held) = whole.iter().max_by_key(|held| held.memstore.reached().lsn) {
        return Some(held.memstore.hash_kv(upto, lsn).await);
    }
    let cover = look.cover();
    let ends = cover.iter().map(|choice| choice.range.end.as_ref());
    let starts = cover.iter().skip(1).map(|choice| Some(&choice.range.start)).chain([None]);
    let begins = cover.first().is_some_and(|first| first.range.start.is_empty());
    if !begins || !ends.eq(starts) {
        return None;
    }
    let partitions: Vec<_> =
        cover.into_iter().map(|choice| (choice.held.memstore.clone(), choice.range.id)).collect();
    Some(hash_over(&partitions, upto, lsn).await)
}
