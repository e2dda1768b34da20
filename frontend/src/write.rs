//! Writing: what is changed, told in operations and in answers.
//!
//!     put ───────────────────────────┐ rests on nothing: one trip
//!     put that reads ─┐              │
//!     delete_range    ├─► Evaluated ─┼─► attempts ─► journal
//!     txn ────────────┘              │
//!     compact, change ───────────────┘

use journal::{Revision, SysOp, Write};

use crate::answer::{Answered, DeleteAnswer, OpAnswer, PutAnswer, TxnAnswer};
use crate::error::Error;
use crate::operation::{Compact, DeleteRange, Put, Txn};
use crate::quota::Effect;
use crate::store::Store;

mod attempts;
mod evaluated;
mod landing;

use self::attempts::Blind;
pub(crate) use self::attempts::{Change, Draft, Drafted};
use self::evaluated::{Evaluated, Job};
pub(crate) use self::landing::{CATCH_UP_MAX, Landing, Loss};

impl Store {
    /// # Errors
    /// `LeaseNotFound`, `KeyNotFound`; those of the quota; `Overloaded`, `TimedOut`, `Stopped`.
    pub async fn put(&self, put: Put) -> Result<Answered<PutAnswer>, Error> {
        self.admitted(Effect::of_put(&put), self.put_now(put)).await
    }

    /// One trip where it needs to know nothing.
    async fn put_now(&self, put: Put) -> Result<Answered<PutAnswer>, Error> {
        if put.reads() {
            let Answered { answer, at } = self.evaluate(Job::Put(&put)).await?;
            let OpAnswer::Put(answer) = answer.only() else { unreachable!("a put is answered by a put") };
            return Ok(Answered { answer, at });
        }
        let Put { key, value, lease, .. } = put;
        let write = || Write::Put { key: key.clone(), value: value.clone(), lease };
        let blind = Blind(|| Draft { writes: vec![write()], ..Draft::default() });
        let Answered { at, .. } = self.land(&blind).await?;
        Ok(Answered { answer: PutAnswer { revision: at.revision, prev_kv: None }, at })
    }

    /// # Errors
    /// `CorruptCluster`; `Overloaded`, `TimedOut`, `Stopped`.
    pub async fn delete_range(&self, delete: &DeleteRange) -> Result<Answered<DeleteAnswer>, Error> {
        self.admitted(Effect::Changes, async {
            let Answered { answer, at } = self.evaluate(Job::DeleteRange(delete)).await?;
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
        let evaluated = self.evaluate(Job::Txn(txn));
        match txn.is_read_only() {
            true => self.answer(evaluated).await,
            false => self.admitted(Effect::of_txn(txn), evaluated).await,
        }
    }

    /// # Errors
    /// `Compacted`, `FutureRevision`; `CorruptCluster`; `Overloaded`, `TimedOut`, `Stopped`.
    pub async fn compact(&self, compact: Compact) -> Result<Answered<()>, Error> {
        self.admitted(Effect::Changes, self.compact_now(compact)).await
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
        if compact.revision == 0 && Box::pin(self.routes().never_compacted(at.lsn)).await? {
            return Ok(Answered { answer: (), at });
        }
        Err(Error::Compacted)
    }

    async fn evaluate(&self, job: Job<'_>) -> Result<Answered<TxnAnswer>, Error> {
        self.land(&Evaluated::new(self, job)).await
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
        self.land(&Blind(|| Draft { sysop: Some(sysop.clone()), ..Draft::default() })).await
    }
}
