//! Key range → partition → memstore.
//!
//!     keys          [··············)
//!     partitions  [ 0    )[ 1  )[ 2     )
//!     parts          [···)[····)[··)          in the order of their keys, each from whoever serves it
//!
//! What several partitions answer is put together here, so that nobody above knows how the keys are divided, nor who
//! holds them. One memstore in this process is asked as directly as if there were no others.

mod asking;
mod figures;
mod holders;
mod merge;
mod sizes;
#[cfg(test)]
pub(crate) mod tests;
mod watches;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use journal::{Bug, KeyRange, LeaseId, Lsn, Revision};
use memstore::{Answer, Applied, At, Error, Memstore, PartitionId, PartitionRange, Projection, Query};
use parking_lot::Mutex;
use tokio::sync::watch;

use self::holders::{Choice, Held, List, Look, first_of};
use self::sizes::Sizes;
use crate::arrange::Fetch;
use crate::evaluate::{Found, Part};

pub use self::holders::Holder;
pub(crate) use self::watches::{News, Watch, WatchKey, Watches};

/// How long until partitions are asked again of which none has answered.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The moment to read at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// Each partition as far as it is, but at least here.
    Latest { floor: Revision },
    /// All of them at one revision, once they have applied the position.
    At { revision: Revision, lsn: Lsn },
}

impl View {
    fn lsn(self) -> Lsn {
        match self {
            View::Latest { .. } => Lsn::ZERO,
            View::At { lsn, .. } => lsn,
        }
    }
}

/// The partitions and where they are. Cheap to clone.
#[derive(Clone)]
pub struct Routes {
    list: Arc<watch::Sender<List>>,
    /// Where this process stands. Empty: nobody knows.
    zone: Arc<str>,
    sizes: Arc<Mutex<Sizes>>,
}

impl From<Memstore> for Routes {
    /// One memstore that has everything.
    fn from(memstore: Memstore) -> Routes {
        let routes = Routes::new("");
        routes.set_memstores(vec![Holder { id: 0, zone: String::new(), memstore }]);
        routes
    }
}

impl Routes {
    /// Without memstores: until there are some, requests wait.
    #[must_use]
    pub fn new(zone: &str) -> Routes {
        Routes { list: Arc::new(watch::Sender::new(Arc::from([]))), zone: zone.into(), sizes: Arc::default() }
    }

    /// From now on these are asked, by what they say that they serve. What is under way at others goes on.
    pub fn set_memstores(&self, holders: Vec<Holder>) {
        let known = self.list.borrow().clone();
        let held = |holder: Holder| match known.iter().find(|held| held.is(&holder)) {
            Some(held) => held.clone(),
            None => Arc::new(Held::new(holder, &self.zone)),
        };
        self.list.send_replace(holders.into_iter().map(held).collect());
    }

    /// The registered memstore of that id. `None`: this process knows of none such.
    pub(crate) fn registered(&self, id: u64) -> Option<Memstore> {
        let list = self.list.borrow();
        let held = list.iter().find(|held| held.id == id && !held.memstore.is_here());
        held.map(|held| held.memstore.clone())
    }

    /// Resolves when a memstore comes, goes, or serves something else than at the time of the call.
    pub(crate) fn news(&self) -> impl Future<Output = ()> + Send + use<> {
        let (routes, look) = (self.clone(), self.look());
        async move { routes.changed(&look).await }
    }

    /// Whether all is answered from a memstore in this process, so that nothing is known of others.
    pub(crate) fn is_own(&self) -> bool {
        self.only_one().is_some()
    }

    /// Questions that wait for the answer of a memstore.
    #[cfg(test)]
    pub(crate) fn questions_under_way(&self) -> usize {
        self.list.borrow().iter().map(|held| held.questions()).sum()
    }

    #[cfg(test)]
    pub(crate) fn any_memstore(&self) -> Memstore {
        self.list.borrow()[0].memstore.clone()
    }

    fn look(&self) -> Look {
        Look::at(self.list.borrow().clone())
    }

    /// Waits until there is something else to see than `look`.
    async fn changed(&self, look: &Look) {
        let mut list = self.list.subscribe();
        tokio::select! {
            _ = list.wait_for(|list| !Arc::ptr_eq(list, &look.list)) => {}
            () = look.changed() => {}
        }
    }

    /// Reads `keys`.
    pub(crate) async fn find(&self, keys: &KeyRange, fetch: Fetch, view: View) -> Result<Found, Error> {
        let mut found = Found::default();
        let mut rest = (!keys.is_empty()).then(|| keys.clone());
        while let Some(keys) = rest {
            let left = fetch.limit.saturating_sub(found.kvs.len());
            // Once the limit is reached, the rest only counts.
            let (fetch, left) = match fetch.limit > 0 && left == 0 {
                true => (Fetch { projection: Projection::CountOnly, ..fetch }, 0),
                false => (fetch, left),
            };
            let ask = |memstore: Memstore, range: PartitionRange| {
                let query = range.clip(&keys).map(|keys| query(keys, fetch, view, left));
                async move { read(&memstore, range.id, query.ok_or(Error::WrongPartition)?, view).await }
            };
            let (range, answer) = self.ask(keys.start(), view.lsn(), ask).await?;
            found.count += answer.count;
            if found.kvs.is_empty() {
                found.kvs = answer.kvs;
            } else {
                found.kvs.extend(answer.kvs);
            }
            found.parts.extend(range.clip(&keys).map(|keys| Part { keys, at: answer.at }));
            rest = behind(&range, &keys);
        }
        if Bug::ReadAtTheNewest.is_planted() {
            let newest = found.parts.iter().map(|part| part.at).max().unwrap_or_default();
            found.parts.iter_mut().for_each(|part| part.at = newest);
        }
        if found.parts.is_empty() {
            Box::pin(self.probe(view)).await?;
        }
        Ok(found)
    }

    /// A revision that cannot be read is refused also where no key is asked for. Any partition knows.
    async fn probe(&self, view: View) -> Result<(), Error> {
        let (key, fetch) = (self.look().first_served(), Fetch::all(Projection::CountOnly));
        let ask = |memstore: Memstore, range: PartitionRange| {
            let query = query(KeyRange::Single(range.start.clone()), fetch, view, 0);
            async move { read(&memstore, range.id, query, view).await }
        };
        self.ask(&key, view.lsn(), ask).await.map(|_| ())
    }

    /// Whether nothing was ever compacted, as of `lsn`.
    pub(crate) async fn never_compacted(&self, lsn: Lsn) -> Result<bool, Error> {
        match self.probe(View::At { revision: Revision::ZERO, lsn }).await {
            Ok(()) => Ok(true),
            Err(Error::Compacted { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Waits until every partition with keys of `keys` has applied `revision`.
    pub(crate) async fn reach(&self, keys: &KeyRange, revision: Revision) -> Result<(), Error> {
        let reach = |memstore: Memstore, id| async move { memstore.reach(id, Lsn::ZERO, revision).await };
        self.walk(keys, Lsn::ZERO, reach, |_| ()).await
    }

    /// The smallest moment at or behind `lsn` and `revision` that all partitions with keys of `keys` have reached.
    pub(crate) async fn common(
        &self,
        keys: &KeyRange,
        lsn: Lsn,
        revision: Revision,
    ) -> Result<Applied, Error> {
        let mut common = Applied { lsn, revision };
        let wait = |memstore: Memstore, id| async move { memstore.wait(id, lsn).await };
        self.walk(keys, lsn, wait, |applied| common.revision = common.revision.max(applied.revision)).await?;
        Ok(common)
    }

    /// Waits until any partition has applied `lsn`: the others may have nobody who serves them.
    pub(crate) async fn reach_somewhere(&self, lsn: Lsn) {
        loop {
            let look = self.look();
            let reached = |choice: Choice| {
                Box::pin(async move {
                    if choice.held.memstore.wait(choice.range.id, lsn).await.is_err() {
                        std::future::pending::<()>().await;
                    }
                })
            };
            tokio::select! {
                () = first_of(look.cover().into_iter().map(reached).collect()) => return,
                () = self.changed(&look) => {}
                // One that is up may have been asked in vain.
                () = tokio::time::sleep(ASK_AGAIN_AFTER) => {}
            }
        }
    }

    /// Waits until all partitions have applied `lsn`.
    pub(crate) async fn reach_everywhere(&self, lsn: Lsn) -> Result<(), Error> {
        self.common(&KeyRange::all(), lsn, Revision::ZERO).await.map(|_| ())
    }

    /// The keys attached to a lease in all partitions, and the smallest revision at which that was so.
    pub(crate) async fn lease_keys(
        &self,
        lease: LeaseId,
        lsn: Lsn,
    ) -> Result<(BTreeSet<Bytes>, Revision), Error> {
        let (mut all, mut smallest) = (BTreeSet::new(), Revision(u64::MAX));
        let ask = |memstore: Memstore, id| async move { memstore.lease_keys(id, lease, lsn).await };
        let add = |(at, keys): (Revision, Vec<Bytes>)| {
            smallest = smallest.min(at);
            all.extend(keys);
        };
        self.walk(&KeyRange::all(), lsn, ask, add).await?;
        Ok((all, smallest))
    }

    /// Asks each partition with keys of `keys`, one after the other.
    async fn walk<T, F: Future<Output = Result<T, Error>>>(
        &self,
        keys: &KeyRange,
        lsn: Lsn,
        ask: impl Fn(Memstore, PartitionId) -> F,
        mut hear: impl FnMut(T),
    ) -> Result<(), Error> {
        let mut rest = (!keys.is_empty()).then(|| keys.clone());
        while let Some(keys) = rest {
            let ask = |memstore, range: PartitionRange| ask(memstore, range.id);
            let (range, answer) = self.ask(keys.start(), lsn, ask).await?;
            hear(answer);
            rest = behind(&range, &keys);
        }
        Ok(())
    }
}

/// The keys that come after those of a partition.
fn behind(range: &PartitionRange, keys: &KeyRange) -> Option<KeyRange> {
    keys.clip(range.end.as_ref()?, None)
}

/// A replica that has yet to reach the view's revision, which exists, is waited for: another may be as far behind.
async fn read(memstore: &Memstore, id: PartitionId, query: Query, view: View) -> Result<Answer, Error> {
    match view {
        View::Latest { floor } => {
            if floor > Revision::ZERO {
                Box::pin(memstore.reach(id, Lsn::ZERO, floor)).await?;
            }
            memstore.range(id, query).await
        }
        View::At { revision, lsn } => match memstore.range(id, query.clone()).await {
            Err(Error::FutureRevision { .. }) => {
                Box::pin(async {
                    memstore.reach(id, lsn, revision).await?;
                    memstore.range(id, query).await
                })
                .await
            }
            answer => answer,
        },
    }
}

fn query(keys: KeyRange, fetch: Fetch, view: View, limit: usize) -> Query {
    let (at, min_lsn) = match view {
        View::Latest { .. } => (At::Latest, Lsn::ZERO),
        View::At { revision, lsn } => (At::Revision(revision), lsn),
    };
    Query { keys, at, min_lsn, limit, projection: fetch.projection, bounds: fetch.bounds }
}
