//! A change that reads first: evaluated against what the partitions have, and appended unless that has changed.
//!
//!     read ─► evaluate ─► effects? ── yes ─► a draft, whose footprint is what was read
//!      ▲                    │ no, or refused
//!      └───── barrier: read at its revision, and then that is the answer
//!
//! What is first read is what the partitions happen to have. A request that then has effects is right if nothing
//! it read has changed, which the sequencer knows. One that has none, or is refused, may only have looked too
//! early, so it looks again at a moment that a barrier proves to be current.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use futures_util::future::try_join_all;
use journal::{Bug, KeyRange, LeaseId, Lsn, Revision};

use super::attempts::{Change, Draft, Drafted};
use super::landing::{CATCH_UP_MAX, Loss, PENDING_PAUSE};
use crate::answer::{Answered, Position, TxnAnswer};
use crate::arrange::Fetch;
use crate::error::Error;
use crate::evaluate::{Answers, Found, Look, Outcome, Plan, Refused, choose, evaluate, looks_of_compares};
use crate::operation::{DeleteRange, Put, Range, Txn};
use crate::routes::View;
use crate::store::Store;

/// Reads of one evaluation that go out together; further ones wait for those.
const READS_AT_ONCE: usize = 256;

/// What there is to evaluate.
#[derive(Clone, Copy, Debug)]
pub(super) enum Job<'a> {
    Put(&'a Put),
    DeleteRange(&'a DeleteRange),
    Txn(&'a Txn),
}

/// The change.
pub(super) struct Evaluated<'a> {
    pub(super) store: &'a Store,
    pub(super) job: Job<'a>,
    /// A revision that is applied somewhere and has to be read.
    floor: AtomicU64,
}

impl<'a> Evaluated<'a> {
    pub(super) fn new(store: &'a Store, job: Job<'a>) -> Evaluated<'a> {
        Evaluated { store, job, floor: AtomicU64::new(0) }
    }
}

impl<'a> Change for Evaluated<'a> {
    type Basis = (Plan<'a>, Answers);
    type Answer = TxnAnswer;

    async fn draft(&self) -> Result<Drafted<Self::Basis, TxnAnswer>, Error> {
        let mut moment = self.first_moment().await?;
        loop {
            let (plan, outcome) = match self.evaluate(moment).await {
                // What was current is compacted by now: there is something newer to read.
                Err(Error::Compacted) => {
                    moment = Some(self.store.barrier().await?);
                    continue;
                }
                evaluated => evaluated?,
            };
            match (outcome, moment) {
                (Ok(Outcome { writes, footprint: reads, answers }), _) if !writes.is_empty() => {
                    return Ok(Drafted::Append {
                        draft: Draft { reads, writes, sysop: None },
                        basis: (plan, answers),
                    });
                }
                (Ok(Outcome { answers, .. }), None) if Bug::AnswerStaleTxn.is_planted() => {
                    let at = self.store.local([&KeyRange::all()]).await?;
                    return Ok(Drafted::Nothing(Answered { answer: answers.settle(&plan, at.revision), at }));
                }
                (Ok(Outcome { answers, .. }), Some(at)) => {
                    let answer = answers.settle(&plan, at.revision);
                    return Ok(Drafted::Nothing(Answered { answer, at }));
                }
                (Err(refused), Some(_)) => return Err(self.reason(refused).await?),
                (_, None) => moment = Some(self.store.barrier().await?),
            }
        }
    }

    async fn lose(&self, (plan, _): &Self::Basis, loss: Loss) -> Result<(), Error> {
        match loss {
            Loss::Conflict(wait) => self.catch_up(plan, wait).await,
            // A lease that the key had is ending and takes the key with it: then there is something new to read.
            Loss::LeaseNotFound(lease) if !self.job.names(lease) => {
                tokio::time::sleep(PENDING_PAUSE).await;
                Ok(())
            }
            Loss::LeaseNotFound(_) => Err(Error::LeaseNotFound),
        }
    }

    fn answer(&self, (plan, answers): Self::Basis, at: Position) -> TxnAnswer {
        answers.settle(&plan, at.revision)
    }
}

impl<'a> Evaluated<'a> {
    /// `None` where it is worth trying what the partitions happen to have.
    async fn first_moment(&self) -> Result<Option<Position>, Error> {
        let Job::Txn(txn) = self.job else { return Ok(None) };
        if txn.is_serializable() {
            return self.store.local(txn.keys()).await.map(Some);
        }
        // A revision that was acknowledged as compacted must not be read any more, though it would harm nobody.
        if txn.reads_past() || !txn.writes() {
            return self.store.barrier().await.map(Some);
        }
        Ok(None)
    }

    /// Reads and evaluates. `Compacted` tells that the moment itself is compacted.
    async fn evaluate(
        &self,
        moment: Option<Position>,
    ) -> Result<(Plan<'a>, Result<Outcome, Refused>), Error> {
        let view = moment.map_or(self.latest(), |at| View::At { revision: at.revision, lsn: at.lsn });
        let plan = match self.job {
            Job::Put(put) => Plan::of_put(put),
            Job::DeleteRange(delete) => Plan::of_delete(delete),
            Job::Txn(txn) => {
                let found = self.find_all(&looks_of_compares(txn), view).await?;
                let lsn = moment.map_or(Lsn::ZERO, |at| at.lsn);
                let never = txn.reads_past() && Box::pin(self.store.routes().never_compacted(lsn)).await?;
                choose(txn, &found, never)
            }
        };
        let found = self.find_all(&plan.looks, view).await?;
        let mut ranges = Vec::with_capacity(plan.ranges.len());
        for some in plan.ranges.chunks(READS_AT_ONCE) {
            let reads = some.iter().map(|range| Box::pin(self.find_in_txn(range, moment)));
            ranges.extend(try_join_all(reads).await?);
        }
        let outcome = evaluate(&plan, found, ranges);
        Ok((plan, outcome))
    }

    /// Whoever lost once doesn't read what it lost by again, though another replica may have no more than that.
    fn latest(&self) -> View {
        View::Latest { floor: Revision(self.floor.load(Relaxed)) }
    }

    /// Reads that wait for each other would take a trip each, and a reservation ends before a hundred of them.
    async fn find_all(&self, looks: &[Look], view: View) -> Result<Vec<Found>, Error> {
        let mut found = Vec::with_capacity(looks.len());
        for some in looks.chunks(READS_AT_ONCE) {
            let reads = some.iter().map(|look| {
                let fetch = Fetch::all(look.projection);
                Box::pin(self.find(&look.keys, fetch, view))
            });
            found.extend(try_join_all(reads).await?);
        }
        Ok(found)
    }

    async fn find(&self, keys: &KeyRange, fetch: Fetch, view: View) -> Result<Found, Error> {
        Ok(Box::pin(self.store.shared.routes.find(keys, fetch, view)).await?)
    }

    /// The inner error is the client's, who named the revision.
    async fn find_in_txn(&self, range: &Range, at: Option<Position>) -> Result<Result<Found, Error>, Error> {
        let Some(at) = at else {
            return self.find(&range.keys, range.fetch(), self.latest()).await.map(Ok);
        };
        match Box::pin(self.store.find_range(range, at)).await {
            Err(error @ (Error::Compacted | Error::FutureRevision)) if range.past().is_some() => {
                Ok(Err(error))
            }
            found => found.map(Ok),
        }
    }

    /// Waits until what an append lost against can be read.
    async fn catch_up(&self, plan: &Plan<'_>, wait: Revision) -> Result<(), Error> {
        let reach = async {
            let all: Vec<&KeyRange> = plan.keys().collect();
            for some in all.chunks(READS_AT_ONCE) {
                let reaching = some.iter().map(|keys| Box::pin(self.store.shared.routes.reach(keys, wait)));
                try_join_all(reaching).await?;
            }
            Ok(())
        };
        // What it lost against may itself be lost with its leader, and then that revision may be long in coming.
        let Ok(reached) = tokio::time::timeout(CATCH_UP_MAX, Box::pin(reach)).await else { return Ok(()) };
        self.floor.fetch_max(wait.0, Relaxed);
        reached
    }

    /// etcd looks at the lease of each put on its way to what it refuses.
    async fn reason(&self, refused: Refused) -> Result<Error, Error> {
        for lease in refused.leases {
            if !self.store.is_leased(lease).await? {
                return Ok(Error::LeaseNotFound);
            }
        }
        Ok(refused.error)
    }
}

impl Job<'_> {
    /// Whether the client named this lease.
    fn names(self, lease: LeaseId) -> bool {
        match self {
            Job::Put(put) => put.lease == lease,
            Job::DeleteRange(_) => false,
            Job::Txn(txn) => txn.names(lease),
        }
    }
}
