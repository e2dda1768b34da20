//! Leases: granting, keeping, looking at and ending them.
//!
//!     lessor (journal's leader)  ──expired──►  Reaper  ──keys of the lease──►  memstores
//!              ▲                                  │
//!              └───── revoke + deletions ─────────┘   one record, whose footprint is the lease and its keys
//!
//! A lease and its keys end at one revision. What is attached or detached in between makes the append
//! conflict, and the keys are collected again.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use journal::{Bug, KeyRange, LeaseId, LeaseStatus, Read, Revision, SysOp, Write};

use crate::answer::{Answered, Position};
use crate::error::Error;
use crate::interregnum::Interregnum;
use crate::metrics::activity::count;
use crate::quota::Effect;
use crate::store::Store;
use crate::write::{CATCH_UP_MAX, Change, Draft, Drafted, Loss};

mod reaper;

pub(crate) use reaper::Reaper;

/// etcd's bound on a TTL, in seconds.
const TTL_SECONDS_MAX: i64 = 9_000_000_000;

/// A lease as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub status: LeaseStatus,
    /// Sorted; empty unless they were asked for.
    pub keys: Vec<Bytes>,
}

/// A lease that was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    pub lease: LeaseId,
    pub ttl_seconds: i64,
}

impl Store {
    /// Grants a lease of at least `ttl_seconds_min`. `LeaseId::NONE`: the store chooses the name.
    ///
    /// # Errors
    /// `LeaseExists`, `LeaseTtlTooLarge`, and those of every write.
    pub async fn grant(
        &self,
        lease: LeaseId,
        ttl_seconds: i64,
        ttl_seconds_min: i64,
    ) -> Result<Answered<Granted>, Error> {
        self.admitted(Effect::LEASE, async {
            if ttl_seconds > TTL_SECONDS_MAX {
                return Err(Error::LeaseTtlTooLarge);
            }
            let ttl_seconds = ttl_seconds.max(ttl_seconds_min);
            loop {
                let name = if lease == LeaseId::NONE { random_lease() } else { lease };
                let grant = SysOp::LeaseGrant { lease: name, ttl_seconds };
                match self.sysop(grant).await {
                    Ok(Answered { at, .. }) => {
                        self.activity().granted(ttl_seconds);
                        return Ok(Answered { answer: Granted { lease: name, ttl_seconds }, at });
                    }
                    // The store has chosen badly.
                    Err(Error::LeaseExists) if lease == LeaseId::NONE => {}
                    Err(error) => return Err(error),
                }
            }
        })
        .await
    }

    /// Ends a lease, and its keys at one revision.
    ///
    /// # Errors
    /// `LeaseNotFound`, and those of every write.
    pub async fn revoke(&self, lease: LeaseId) -> Result<Answered<()>, Error> {
        self.admitted(Effect::Changes, async {
            if self.journal().lease(lease).await?.is_none() {
                return Err(Error::LeaseNotFound);
            }
            self.end_lease(lease, None).await
        })
        .await
    }

    /// Starts the lease's time again: its seconds, or `None` where there is no such lease.
    ///
    /// # Errors
    /// `NoLeader` and `Stopped`: it may end.
    pub async fn keep_alive(&self, lease: LeaseId) -> Result<Option<i64>, Error> {
        let ttl_seconds = self.journal().keep_alive(lease).await?;
        if ttl_seconds.is_some() {
            count(&self.activity().leases_renewed);
        }
        Ok(ttl_seconds)
    }

    /// What is left of a lease; `None` where there is no such lease.
    ///
    /// # Errors
    /// As `keep_alive`, and those of a read.
    pub async fn lease(&self, lease: LeaseId, with_keys: bool) -> Result<Option<Lease>, Error> {
        let Some(status) = self.journal().lease(lease).await? else { return Ok(None) };
        let keys = if with_keys { self.lease_keys(lease).await?.0 } else { BTreeSet::new() };
        Ok(Some(Lease { status, keys: keys.into_iter().collect() }))
    }

    /// Whether there is such a lease, be it that its time is over.
    ///
    /// # Errors
    /// `Stopped`.
    pub(crate) async fn is_leased(&self, lease: LeaseId) -> Result<bool, Error> {
        let mut interregnum = Interregnum::default();
        loop {
            match self.journal().lease(lease).await {
                Ok(status) => return Ok(status.is_some()),
                Err(error) => interregnum.ride_out(self.journal(), error).await?,
            }
        }
    }

    /// Every lease there is, the one that ends first before the others.
    ///
    /// # Errors
    /// As `keep_alive`.
    pub async fn leases(&self) -> Result<Vec<LeaseId>, Error> {
        Ok(self.journal().leases().await?)
    }

    /// Ends a lease whatever is attached or detached meanwhile. `expired_in`: the term in which its time was over.
    async fn end_lease(&self, lease: LeaseId, expired_in: Option<u64>) -> Result<Answered<()>, Error> {
        let ended = self.land(&Ending { store: self, lease, expired_in }).await?;
        count(&self.activity().leases_revoked);
        if expired_in.is_some() {
            count(&self.activity().leases_expired);
        }
        Ok(ended)
    }

    /// The keys attached to a lease in all partitions, and the smallest revision at which that was so.
    async fn lease_keys(&self, lease: LeaseId) -> Result<(BTreeSet<Bytes>, Revision), Error> {
        let barrier = self.barrier().await?;
        Ok(self.routes().lease_keys(lease, barrier.lsn).await?)
    }

    /// Waits until all partitions have what the end of a lease lost against, which may still be on its way and so
    /// behind the next barrier. Where it is lost with its leader that revision may be long in coming.
    async fn catch_up(&self, wait: Revision) -> Result<(), Error> {
        let everything = KeyRange::all();
        match tokio::time::timeout(CATCH_UP_MAX, self.routes().reach(&everything, wait)).await {
            Ok(reached) => Ok(reached?),
            Err(_) => Ok(()),
        }
    }
}

/// The end of a lease. One by a client ends whatever lease has that name then; one for its time over ends that lease,
/// and is over itself once the lease is gone, was granted again, or has a new lessor.
struct Ending<'a> {
    store: &'a Store,
    lease: LeaseId,
    expired_in: Option<u64>,
}

impl Change for Ending<'_> {
    type Basis = ();
    type Answer = ();

    async fn draft(&self) -> Result<Drafted<(), ()>, Error> {
        let lease = self.lease;
        let (mut keys, at) = self.store.lease_keys(lease).await?;
        if Bug::LeaveAKey.is_planted() {
            keys.pop_last();
        }
        let mut reads = vec![Read::Lease { lease, at }];
        reads.extend(keys.iter().map(|key| Read::Keys { keys: KeyRange::Single(key.clone()), at }));
        let writes = keys.iter().map(|key| Write::delete(key)).collect();
        let sysop = Some(SysOp::LeaseRevoke { lease, expired_in: self.expired_in });
        Ok(Drafted::Append { draft: Draft { reads, writes, sysop }, basis: () })
    }

    async fn lose(&self, (): &(), loss: Loss) -> Result<(), Error> {
        match loss {
            Loss::Conflict(wait) => self.store.catch_up(wait).await,
            Loss::LeaseNotFound(_) => Err(Error::LeaseNotFound),
        }
    }

    fn answer(&self, (): (), _: Position) {}
}

/// etcd's: one and a half election timeouts, rounded up, since a lease has to outlast an election.
pub(crate) fn ttl_seconds_min(election_timeout: Duration) -> i64 {
    let least = (election_timeout * 3 / 2).as_millis().div_ceil(1000);
    i64::try_from(least).unwrap_or(i64::MAX)
}

/// Any name but 0, positive as etcd's are.
fn random_lease() -> LeaseId {
    LeaseId(rand::random::<i64>() & i64::MAX | 1)
}

#[cfg(test)]
mod tests;
