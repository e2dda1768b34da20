//! Taking turns under a name: whoever joined first goes first.
//!
//!     name/1f    name/2a    name/30       a key for each who joined, under its lease
//!     made at 5  made at 8  made at 9
//!     its turn   ◄─ waits   ◄─ waits      for the one just before, so that one who leaves wakes one
//!
//! Locks and elections are both this. The keys are those of etcd's own clients, which do the same by themselves: all
//! of them stand in one queue. A place ends with its lease.

use bytes::Bytes;
use journal::{KeyRange, LeaseId, Revision};
use memstore::{EventKind, KeyValue};
use tokio_util::sync::CancellationToken;

use super::Client;
use crate::answer::{Answered, OpAnswer, Position};
use crate::error::Error;
use crate::operation::{Bounds, Compare, DeleteRange, Op, Put, Range, Relation, Sort, SortBy, Subject, Txn};

/// What a lease is granted for where none is brought: etcd's.
const LEASE_TTL_SECONDS: i64 = 60;

/// The queues of a store.
#[derive(Clone)]
pub(crate) struct Turns {
    client: Client,
    stops: CancellationToken,
}

/// Where someone stands: its key, and when that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) key: Bytes,
    pub(crate) made: i64,
}

/// How joining went.
pub(crate) struct Joined {
    pub(crate) place: Place,
    /// What the place says: what was brought, unless the lease had a place already.
    pub(crate) value: Bytes,
    /// Nobody was there before.
    pub(crate) is_first: bool,
}

impl Turns {
    /// Whoever waits is sent away when `stops`.
    pub(crate) fn new(client: Client, stops: CancellationToken) -> Turns {
        Turns { client, stops }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The lease that was brought, or a new one.
    pub(crate) async fn lease(&self, brought: LeaseId) -> Result<LeaseId, Error> {
        match brought {
            LeaseId::NONE => Ok(self.client.grant(LEASE_TTL_SECONDS).await?.lease),
            brought => Ok(brought),
        }
    }

    /// Joins at the end, or finds the place that the lease has.
    pub(crate) async fn join(
        &self,
        name: &[u8],
        lease: LeaseId,
        value: Bytes,
    ) -> Result<Answered<Joined>, Error> {
        let key = key(name, lease);
        let oldest = Op::Range(one(name, Bounds::default(), false));
        let put = Put { lease, ..Put::new(key.clone(), value.clone()) };
        let txn = Txn {
            compares: vec![made_at(&key, 0)],
            success: vec![Op::Put(put), oldest.clone()],
            failure: vec![Op::Range(Range::all(KeyRange::Single(key.clone()))), oldest],
        };
        let Answered { answer, at } = self.client.txn_at(&txn).await?;
        let [mine, oldest] = answer.answers.try_into().expect("a plan of two operations has two answers");
        let (made, value) = match mine {
            OpAnswer::Put(put) => (put.revision, value),
            other => {
                let mine = first_key(other).expect("it was made before, or the other branch were taken");
                (mine.create_revision, mine.value)
            }
        };
        let is_first = first_key(oldest).is_none_or(|oldest| oldest.create_revision == made);
        Ok(Answered { answer: Joined { place: Place { key, made: made.to_wire() }, value, is_first }, at })
    }

    /// Waits until everyone who joined before is gone. A place whose owner gives up waiting is given up, too.
    pub(crate) async fn wait(&self, name: &[u8], place: &Place) -> Result<(), Error> {
        let mut leaves = Leaves { turns: self, place: Some(place) };
        let waited = self.stops.run_until_cancelled(self.wait_for_all(name, place));
        Box::pin(waited).await.unwrap_or(Err(Error::Stopped))?;
        leaves.place = None;
        Ok(())
    }

    async fn wait_for_all(&self, name: &[u8], place: &Place) -> Result<(), Error> {
        // No bound would be no key's.
        let before = Bounds { max_create: place.made.saturating_sub(1), ..Bounds::default() };
        loop {
            let Answered { answer, at } = self.client.range_at(&one(name, before, true)).await?;
            let Some(kv) = answer.kvs.into_iter().next() else { return Ok(()) };
            self.wait_for(kv.key, at.revision).await?;
        }
    }

    /// Waits until `key`, which was there at `seen`, is deleted, or may have been.
    async fn wait_for(&self, key: Bytes, seen: Revision) -> Result<(), Error> {
        let mut watch = self.client.watch(KeyRange::Single(key), Some(seen.next()));
        loop {
            match watch.next().await {
                Ok(events) if events.iter().all(|event| event.kind == EventKind::Put) => {}
                // What happened is forgotten, so that whoever waits looks again.
                Ok(_) | Err(Error::Compacted) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Where the store is, if the place is still there.
    pub(crate) async fn holds(&self, place: &Place) -> Result<Option<Position>, Error> {
        let range = Range::all(KeyRange::Single(place.key.clone()));
        let Answered { answer, at } = self.client.range_at(&range).await?;
        Ok((!answer.kvs.is_empty()).then_some(at))
    }

    /// Changes what a place says. Tells whether it was there.
    pub(crate) async fn say(
        &self,
        place: &Place,
        lease: LeaseId,
        value: Bytes,
    ) -> Result<Answered<bool>, Error> {
        let put = Put { lease, ..Put::new(place.key.clone(), value) };
        self.if_there(place, Op::Put(put)).await
    }

    /// Gives a place up, if it is there.
    pub(crate) async fn leave(&self, place: &Place) -> Result<Answered<bool>, Error> {
        let keys = KeyRange::Single(place.key.clone());
        self.if_there(place, Op::DeleteRange(DeleteRange { keys, prev_kv: false })).await
    }

    async fn if_there(&self, place: &Place, op: Op) -> Result<Answered<bool>, Error> {
        let compares = vec![made_at(&place.key, place.made)];
        let txn = Txn { compares, success: vec![op], failure: Vec::new() };
        let Answered { answer, at } = self.client.txn_at(&txn).await?;
        Ok(Answered { answer: answer.succeeded, at })
    }

    /// Whose turn it is.
    pub(crate) async fn first(&self, name: &[u8]) -> Result<Answered<Option<KeyValue>>, Error> {
        let Answered { answer, at } = self.client.range_at(&one(name, Bounds::default(), false)).await?;
        Ok(Answered { answer: answer.kvs.into_iter().next(), at })
    }
}

/// Gives a place up when whoever waits at it goes away or fails, so that nobody waits for nobody.
struct Leaves<'a> {
    turns: &'a Turns,
    place: Option<&'a Place>,
}

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        let Some(place) = self.place.take().cloned() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let turns = self.turns.clone();
        runtime.spawn(async move {
            if let Err(error) = turns.leave(&place).await {
                tracing::debug!(%error, "a place in a queue was not given up; it ends with its lease");
            }
        });
    }
}

fn key(name: &[u8], lease: LeaseId) -> Bytes {
    let sign = if lease.0 < 0 { "-" } else { "" };
    [name, format!("/{sign}{:x}", lease.0.unsigned_abs()).as_bytes()].concat().into()
}

/// Everyone under a name.
pub(crate) fn everyone(name: &[u8]) -> KeyRange {
    KeyRange::Range { start: [name, b"/"].concat().into(), end: [name, b"0"].concat().into() }
}

/// The oldest place under a name, or the youngest.
fn one(name: &[u8], bounds: Bounds, youngest: bool) -> Range {
    let sort = Sort { by: SortBy::Create, descending: youngest, within_limit: false };
    Range { limit: 1, sort: Some(sort), bounds, ..Range::all(everyone(name)) }
}

fn made_at(key: &Bytes, revision: i64) -> Compare {
    let (keys, subject) = (KeyRange::Single(key.clone()), Subject::Create(revision));
    Compare { keys, subject, relation: Relation::Equal }
}

fn first_key(answer: OpAnswer) -> Option<KeyValue> {
    match answer {
        OpAnswer::Range(range) => range.kvs.into_iter().next(),
        OpAnswer::Put(_) | OpAnswer::DeleteRange(_) | OpAnswer::Txn(_) => None,
    }
}

#[cfg(test)]
mod tests;
