//! The store as a typed client in this process: no socket, nothing is encoded.
//!
//!     client.put("a", "1") ─► the same checks as etcd's services make ─► Store
//!
//! Every method has one obvious meaning. What it leaves out is asked for by the types of `operation`, which the
//! methods ending in `_with` take, and `txn`.

mod checks;
mod turns;
mod watch;

use std::time::Duration;

use bytes::Bytes;
use journal::{KeyRange, LeaseId, Revision};
use memstore::KeyValue;

use self::checks::Checks;
pub(crate) use self::turns::{Place, Turns, everyone};
pub use self::watch::Watch;
use crate::answer::{Answered, DeleteAnswer, PutAnswer, RangeAnswer, TxnAnswer};
use crate::config::Config;
use crate::error::Error;
use crate::leases::{Granted, Lease, ttl_seconds_min};
use crate::operation::{Compact, DeleteRange, Put, Range, Txn};
use crate::store::Store;

/// The client, cheap to clone.
#[derive(Clone)]
pub struct Client {
    store: Store,
    checks: Checks,
    election_timeout: Duration,
}

impl Client {
    pub(crate) fn new(store: Store, config: &Config) -> Client {
        let checks = Checks::of(&config.limits);
        Client { store, checks, election_timeout: config.election_timeout }
    }

    /// Writes one key. Tells the revision at which it was written.
    ///
    /// # Errors
    /// `EmptyKey`, `RequestTooLarge`; `NoSpace`, `CorruptCluster`; `Overloaded`, `TimedOut`, `Stopped`.
    pub async fn put(&self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Result<Revision, Error> {
        Ok(self.put_with(Put::new(key, value)).await?.revision)
    }

    /// Writes one key as `put` says: under a lease, or asking for what was there.
    ///
    /// # Errors
    /// As `put`, and `LeaseNotFound`, `KeyNotFound`, `ValueProvided`, `LeaseProvided`.
    pub async fn put_with(&self, put: Put) -> Result<PutAnswer, Error> {
        self.checks.put(&put)?;
        Ok(self.store.put(put).await?.answer)
    }

    /// Reads one key, as it is now.
    ///
    /// # Errors
    /// `EmptyKey`; `TimedOut`, `Stopped`.
    pub async fn get(&self, key: impl Into<Bytes>) -> Result<Option<KeyValue>, Error> {
        Ok(self.range(KeyRange::Single(key.into())).await?.kvs.pop())
    }

    /// Reads keys, as they are now.
    ///
    /// # Errors
    /// As `get`.
    pub async fn range(&self, keys: KeyRange) -> Result<RangeAnswer, Error> {
        self.range_with(&Range::all(keys)).await
    }

    /// Reads keys as `range` says: at a past revision, some of them, in another order.
    ///
    /// # Errors
    /// As `get`, and `Compacted`, `FutureRevision`.
    pub async fn range_with(&self, range: &Range) -> Result<RangeAnswer, Error> {
        Ok(self.range_at(range).await?.answer)
    }

    pub(crate) async fn range_at(&self, range: &Range) -> Result<Answered<RangeAnswer>, Error> {
        checks::keys(&range.keys)?;
        self.store.range(range).await
    }

    /// Deletes keys, and counts them.
    ///
    /// # Errors
    /// `EmptyKey`, `RequestTooLarge`; `CorruptCluster`; `Overloaded`, `TimedOut`, `Stopped`.
    pub async fn delete(&self, keys: KeyRange) -> Result<u64, Error> {
        Ok(self.delete_with(&DeleteRange { keys, prev_kv: false }).await?.deleted)
    }

    /// Deletes keys, and tells what they were where `delete` asks for it.
    ///
    /// # Errors
    /// As `delete`.
    pub async fn delete_with(&self, delete: &DeleteRange) -> Result<DeleteAnswer, Error> {
        Ok(self.delete_at(delete).await?.answer)
    }

    pub(crate) async fn delete_at(&self, delete: &DeleteRange) -> Result<Answered<DeleteAnswer>, Error> {
        self.checks.delete(delete)?;
        self.store.delete_range(delete).await
    }

    /// Takes the one branch or the other, whole and at one revision.
    ///
    /// # Errors
    /// As the operations, and `TooManyOperations`, `DuplicateKey`.
    pub async fn txn(&self, txn: &Txn) -> Result<TxnAnswer, Error> {
        Ok(self.txn_at(txn).await?.answer)
    }

    pub(crate) async fn txn_at(&self, txn: &Txn) -> Result<Answered<TxnAnswer>, Error> {
        self.checks.txn(txn)?;
        self.store.txn(txn).await
    }

    /// Forgets what was before `revision`.
    ///
    /// # Errors
    /// `Compacted`, `FutureRevision`; `CorruptCluster`; `Overloaded`, `TimedOut`, `Stopped`.
    pub async fn compact(&self, revision: Revision) -> Result<(), Error> {
        self.store.compact(Compact { revision: revision.to_wire(), physical: false }).await?;
        Ok(())
    }

    /// Watches keys: every change from `from` on, or where that is `None`, every change after those that this
    /// client has been told of.
    #[must_use]
    pub fn watch(&self, keys: KeyRange, from: Option<Revision>) -> Watch {
        Watch::new(self.store.clone(), keys, from)
    }

    /// Grants a lease. Its time may be longer than was asked for, since it has to outlast an election.
    ///
    /// # Errors
    /// `LeaseTtlTooLarge`; `NoSpace`, `CorruptCluster`; `Overloaded`, `TimedOut`, `Stopped`.
    pub async fn grant(&self, ttl_seconds: i64) -> Result<Granted, Error> {
        let least = ttl_seconds_min(self.election_timeout);
        Ok(self.store.grant(LeaseId::NONE, ttl_seconds, least).await?.answer)
    }

    /// Starts a lease's time again, and tells its seconds; `None` where there is no such lease.
    ///
    /// # Errors
    /// `NoLeader`, `Stopped`: it may end.
    pub async fn keep_alive(&self, lease: LeaseId) -> Result<Option<i64>, Error> {
        self.store.keep_alive(lease).await
    }

    /// What is left of a lease, and its keys; `None` where there is no such lease.
    ///
    /// # Errors
    /// As `keep_alive`.
    pub async fn lease(&self, lease: LeaseId) -> Result<Option<Lease>, Error> {
        self.store.lease(lease, true).await
    }

    /// Ends a lease, and its keys with it.
    ///
    /// # Errors
    /// `LeaseNotFound`; `Overloaded`, `TimedOut`, `Stopped`.
    pub async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        self.store.revoke(lease).await?;
        Ok(())
    }

    /// What is below: with the position of each answer, and without checks of what is asked.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }
}

#[cfg(test)]
mod tests;
