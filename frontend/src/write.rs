//! Writing: evaluate against what the partitions have, and append it unless that has changed.
//!
//!     read ─► evaluate ─► effects? ── yes ─► append ─► Committed ─► answer
//!      ▲                    │ no               │
//!      │                    ▼                  ├─ Conflict, TooOld: wait until it is applied, again
//!      └───── barrier: read at its revision    └─ Unknown: ask for its fate, before anything else
//!
//! What is first read is what the partitions happen to have. A request that then has effects is right if nothing
//! it read has changed, which the sequencer knows. One that has none, or is refused, may only have looked too
//! early, so it looks again at a moment that a barrier proves to be current.

use journal::{Append, KeyRange, LeaseId, Origin, Revision, SysOp, Write};

use crate::answer::{Answered, DeleteAnswer, OpAnswer, Position, PutAnswer, TxnAnswer};
use crate::arrange::Fetch;
use crate::error::Error;
use crate::evaluate::{Found, Outcome, Plan, Refused, choose, evaluate, looks_of_compares};
use crate::operation::{Compact, DeleteRange, Put, Range, Txn};
use crate::quota::Effect;
use crate::routes::View;
use crate::store::Store;

mod landing;

pub(crate) use self::landing::Landing;

/// Conflicts after which the footprint is held for the next attempt.
pub(crate) const CONFLICTS_BEFORE_RESERVING: u32 = 3;

/// What a write that reads is made of.
#[derive(Clone, Copy)]
enum Job<'a> {
    Put(&'a Put),
    DeleteRange(&'a DeleteRange),
    Txn(&'a Txn),
}

impl Store {
    /// # Errors
    /// `LeaseNotFound`, `KeyNotFound`; those of the quota; `Overloaded`, `TimedOut`, `Stopped`.
    pub async fn put(&self, put: Put) -> Result<Answered<PutAnswer>, Error> {
        self.quota().admit(Effect::Grows)?;
        self.answer(self.put_now(put)).await
    }

    /// One trip where it needs to know nothing.
    async fn put_now(&self, put: Put) -> Result<Answered<PutAnswer>, Error> {
        if put.reads() {
            let Answered { answer, at } = self.run(Job::Put(&put)).await?;
            let OpAnswer::Put(answer) = answer.only() else { unreachable!("a put is answered by a put") };
            return Ok(Answered { answer, at });
        }
        let mut origin = self.origin();
        loop {
            let Put { key, value, lease, .. } = put.clone();
            let writes = vec![Write::Put { key, value, lease }];
            let append = Append { origin, reads: Vec::new(), writes, sysop: None, reserve: false };
            match self.land(append).await? {
                Landing::Committed(at) => {
                    let answer = PutAnswer { revision: at.revision, prev_kv: None };
                    return Ok(Answered { answer, at });
                }
                Landing::LeaseNotFound(_) => return Err(Error::LeaseNotFound),
                Landing::Again | Landing::Conflict(_) => origin.attempt += 1,
            }
        }
    }

    /// # Errors
    /// `CorruptCluster`; `Overloaded`, `TimedOut`, `Stopped`.
    pub async fn delete_range(&self, delete: &DeleteRange) -> Result<Answered<DeleteAnswer>, Error> {
        self.quota().admit(Effect::Changes)?;
        self.answer(async {
            let Answered { answer, at } = self.run(Job::DeleteRange(delete)).await?;
            let OpAnswer::DeleteRange(answer) = answer.only() else {
                unreachable!("a deletion is answered by a deletion")
            };
            Ok(Answered { answer, at })
        })
        .await
    }

    /// # Errors
    /// As those of the operations of the branch that is taken, and those of the quota for either branch.
    pub async fn txn(&self, txn: &Txn) -> Result<Answered<TxnAnswer>, Error> {
        if !txn.is_read_only() {
            self.quota().admit(if txn.puts() { Effect::Grows } else { Effect::Changes })?;
        }
        self.answer(self.run(Job::Txn(txn))).await
    }

    /// # Errors
    /// `Compacted`, `FutureRevision`; `CorruptCluster`; `Overloaded`, `TimedOut`, `Stopped`.
    pub async fn compact(&self, compact: Compact) -> Result<Answered<()>, Error> {
        self.quota().admit(Effect::Changes)?;
        self.answer(self.compact_now(compact)).await
    }

    async fn compact_now(&self, compact: Compact) -> Result<Answered<()>, Error> {
        let Some(revision) = u64::try_from(compact.revision).ok().filter(|revision| *revision > 0) else {
            return self.compact_nothing(compact).await;
        };
        let Answered { at, .. } = self.sysop(SysOp::Compact { revision: Revision(revision) }).await?;
        if compact.physical {
            self.shared.routes.reach_everywhere(at.lsn).await?;
        }
        Ok(Answered { answer: (), at })
    }

    /// Below the first revision there is nothing to forget. etcd lets 0 pass in a store that was never compacted.
    async fn compact_nothing(&self, compact: Compact) -> Result<Answered<()>, Error> {
        let at = self.barrier().await?;
        self.shared.routes.reach_everywhere(at.lsn).await?;
        if compact.revision == 0 && self.never_compacted() {
            return Ok(Answered { answer: (), at });
        }
        Err(Error::Compacted)
    }

    fn never_compacted(&self) -> bool {
        self.memstore().stats().total.compacted == Revision::ZERO
    }

    /// Evaluates and appends, again and again, until something is certain.
    async fn run(&self, job: Job<'_>) -> Result<Answered<TxnAnswer>, Error> {
        let mut origin = self.origin();
        let mut conflicts = 0;
        let mut moment = self.first_moment(job).await?;
        loop {
            let (plan, outcome) = match self.evaluate(job, moment).await {
                // What was current is compacted by now: there is something newer to read.
                Err(Error::Compacted) => {
                    moment = Some(self.barrier().await?);
                    continue;
                }
                evaluated => evaluated?,
            };
            let outcome = match (outcome, moment) {
                (Ok(outcome), _) if !outcome.writes.is_empty() => outcome,
                (Ok(Outcome { answers, .. }), Some(at)) => {
                    return Ok(Answered { answer: answers.settle(&plan, at.revision), at });
                }
                (Err(refused), Some(_)) => return Err(self.reason(refused).await?),
                (_, None) => {
                    moment = Some(self.barrier().await?);
                    continue;
                }
            };
            let Outcome { writes, footprint, answers } = outcome;
            let reserve = conflicts >= CONFLICTS_BEFORE_RESERVING;
            let append = Append { origin, reads: footprint, writes, sysop: None, reserve };
            match self.land(append).await? {
                Landing::Committed(at) => {
                    return Ok(Answered { answer: answers.settle(&plan, at.revision), at });
                }
                Landing::Conflict(wait) => {
                    conflicts += 1;
                    self.catch_up(&plan, wait).await?;
                }
                // A lease that the key had is ending and takes the key with it: then there is something new to read.
                Landing::LeaseNotFound(lease) if !job.names(lease) => {
                    tokio::time::sleep(landing::PENDING_PAUSE).await;
                }
                Landing::LeaseNotFound(_) => return Err(Error::LeaseNotFound),
                Landing::Again => {}
            }
            origin.attempt += 1;
            moment = self.first_moment(job).await?;
        }
    }

    /// `None` where it is worth trying what the partitions happen to have.
    async fn first_moment(&self, job: Job<'_>) -> Result<Option<Position>, Error> {
        let Job::Txn(txn) = job else { return Ok(None) };
        if txn.is_serializable() {
            return self.local(&KeyRange::all()).await.map(Some);
        }
        // A revision that was acknowledged as compacted must not be read any more, though it would harm nobody.
        if txn.reads_past() || !txn.writes() {
            return self.barrier().await.map(Some);
        }
        Ok(None)
    }

    /// Reads and evaluates. `Compacted` tells that the moment itself is compacted.
    async fn evaluate<'a>(
        &self,
        job: Job<'a>,
        moment: Option<Position>,
    ) -> Result<(Plan<'a>, Result<Outcome, Refused>), Error> {
        let view = moment.map_or(View::Latest, |at| View::At { revision: at.revision, lsn: at.lsn });
        let plan = match job {
            Job::Put(put) => Plan::of_put(put),
            Job::DeleteRange(delete) => Plan::of_delete(delete),
            Job::Txn(txn) => {
                let mut found = Vec::with_capacity(txn.compares.len());
                for look in looks_of_compares(txn) {
                    found.push(self.find(&look.keys, Fetch::all(look.projection), view).await?);
                }
                choose(txn, &found, txn.reads_past() && self.never_compacted())
            }
        };
        let mut found = Vec::with_capacity(plan.looks.len());
        for look in &plan.looks {
            found.push(self.find(&look.keys, Fetch::all(look.projection), view).await?);
        }
        let mut ranges = Vec::with_capacity(plan.ranges.len());
        for range in &plan.ranges {
            ranges.push(self.find_in_txn(range, moment).await?);
        }
        let outcome = evaluate(&plan, found, ranges);
        Ok((plan, outcome))
    }

    async fn find(&self, keys: &KeyRange, fetch: Fetch, view: View) -> Result<Found, Error> {
        Ok(self.shared.routes.find(keys, fetch, view).await?)
    }

    /// The inner error is the client's, who named the revision.
    async fn find_in_txn(&self, range: &Range, at: Option<Position>) -> Result<Result<Found, Error>, Error> {
        let Some(at) = at else {
            return self.find(&range.keys, range.fetch(), View::Latest).await.map(Ok);
        };
        match self.find_range(range, at).await {
            Err(error @ (Error::Compacted | Error::FutureRevision)) if range.past().is_some() => {
                Ok(Err(error))
            }
            found => found.map(Ok),
        }
    }

    /// Waits until what an append lost against can be read.
    async fn catch_up(&self, plan: &Plan<'_>, wait: Revision) -> Result<(), Error> {
        let reach = async {
            for keys in plan.keys() {
                self.shared.routes.reach(keys, wait).await?;
            }
            Ok(())
        };
        // What it lost against may itself be lost with its leader, and then that revision may be long in coming.
        tokio::time::timeout(landing::CATCH_UP_MAX, reach).await.unwrap_or(Ok(()))
    }

    /// etcd looks at the lease of each put on its way to what it refuses.
    async fn reason(&self, refused: Refused) -> Result<Error, Error> {
        for lease in refused.leases {
            if !self.is_leased(lease).await? {
                return Ok(Error::LeaseNotFound);
            }
        }
        Ok(refused.error)
    }

    async fn is_leased(&self, lease: LeaseId) -> Result<bool, Error> {
        loop {
            match self.shared.journal.lease(lease).await {
                Ok(status) => return Ok(status.is_some()),
                Err(error) => landing::ride_out(error).await?,
            }
        }
    }

    /// Makes a change that is not one of keys, within the time that a request may take.
    ///
    /// # Errors
    /// `Overloaded`, `TimedOut`, `Stopped`, and what the change itself is refused for.
    pub(crate) async fn change(&self, sysop: SysOp) -> Result<Answered<()>, Error> {
        self.answer(self.sysop(sysop)).await
    }

    /// Appends a change that is not one of keys and rests on nothing that was read.
    pub(crate) async fn sysop(&self, sysop: SysOp) -> Result<Answered<()>, Error> {
        let mut origin = self.origin();
        loop {
            let sysop = Some(sysop.clone());
            let append = Append { origin, reads: Vec::new(), writes: Vec::new(), sysop, reserve: false };
            match self.land(append).await? {
                Landing::Committed(at) => return Ok(Answered { answer: (), at }),
                Landing::LeaseNotFound(_) => return Err(Error::LeaseNotFound),
                Landing::Again | Landing::Conflict(_) => origin.attempt += 1,
            }
        }
    }

    /// Appends, and finds out what became of it.
    pub(crate) async fn land(&self, append: Append) -> Result<Landing, Error> {
        let origin: Origin = append.origin;
        Landing::of(&self.shared.journal, origin, append).await
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
