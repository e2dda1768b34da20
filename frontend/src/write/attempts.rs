//! A change and its attempts: drafted and appended until it is certain what became of it.
//!
//!     draft ──► append ──► Committed ──► answer
//!      ▲ │        ├─ lost against another change: wait as the change says, or give up
//!      │ │        └─ never happened, which is known and not guessed: see `Landing`
//!      └─┼────────┘
//!        └──► nothing to append ──► answer
//!
//! An attempt whose verdict was lost may also come late: after its fate was told, and while the next one looks. So
//! whoever finds nothing to append asks once more, and what happened is answered as that attempt drafted it.
//!
//! Every append of a frontend goes through here, so how attempts are named and when a footprint is reserved is
//! decided once. The deadline is the one of the request around it: `Store::answer`.

use journal::{Append, Origin, Read, SysOp, Write};

use super::landing::{self, Landing, Loss};
use crate::answer::{Answered, Position};
use crate::error::Error;
use crate::interregnum::Interregnum;
use crate::store::Store;

/// Conflicts after which the footprint is held for the next attempt.
const CONFLICTS_BEFORE_RESERVING: u32 = 3;

/// What an attempt appends, and what that rests on.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) reads: Vec<Read>,
    pub(crate) writes: Vec<Write>,
    pub(crate) sysop: Option<SysOp>,
}

/// What came of looking.
pub(crate) enum Drafted<B, A> {
    /// `basis` is kept until it is known what became of the draft.
    Append { draft: Draft, basis: B },
    /// Nothing is to be changed, and what was read is the answer.
    Nothing(Answered<A>),
}

/// Something to be changed, however many attempts it takes.
pub(crate) trait Change: Sync {
    /// What the answer is made of once the revision is known.
    type Basis: Send + Sync;
    type Answer: Send;

    /// Looks, and works out what to append. Each attempt looks anew.
    fn draft(&self) -> impl Future<Output = Result<Drafted<Self::Basis, Self::Answer>, Error>> + Send;

    /// Waits until another attempt can do better.
    ///
    /// # Errors
    /// What the client is told where none can.
    fn lose(&self, basis: &Self::Basis, loss: Loss) -> impl Future<Output = Result<(), Error>> + Send;

    /// What to tell, now that it has happened.
    fn answer(&self, basis: Self::Basis, at: Position) -> Self::Answer;
}

impl Store {
    /// Makes the change, or finds that there is nothing to be changed.
    pub(crate) async fn land<C: Change>(&self, change: &C) -> Result<Answered<C::Answer>, Error> {
        let mut origin = self.origin();
        let mut conflicts = 0;
        let mut interregnum = Interregnum::default();
        let mut unheard = Unheard(Vec::new());
        loop {
            let (Draft { reads, writes, sysop }, basis) = match change.draft().await {
                Ok(Drafted::Append { draft, basis }) => (draft, basis),
                Ok(Drafted::Nothing(answered)) => {
                    let late = self.late(change, origin, &mut unheard, &mut interregnum).await?;
                    return Ok(late.unwrap_or(answered));
                }
                Err(error) => {
                    let late = self.late(change, origin, &mut unheard, &mut interregnum).await?;
                    return late.ok_or(error);
                }
            };
            let reserve = conflicts >= CONFLICTS_BEFORE_RESERVING;
            let append = Append { origin, reads, writes, sysop, reserve };
            let landing = Landing::of(self.journal(), append, &mut interregnum).await;
            if self.is_open(&landing, &unheard).await? {
                tokio::time::sleep(landing::PENDING_PAUSE).await;
                origin.attempt += 1;
                continue;
            }
            match landing? {
                Landing::Committed { attempt, at } => {
                    unheard.0.push((origin.attempt, basis));
                    return unheard.answer(change, attempt, at);
                }
                Landing::Lost(loss) => {
                    conflicts += u32::from(matches!(loss, Loss::Conflict(_)));
                    change.lose(&basis, loss).await?;
                }
                Landing::Never => unheard.0.push((origin.attempt, basis)),
            }
            origin.attempt += 1;
        }
    }

    /// Whether a refusal leaves open what becomes of the request: an attempt that nobody has judged may come yet, and
    /// find what this one did not.
    async fn is_open<B>(
        &self,
        landing: &Result<Landing, Error>,
        unheard: &Unheard<B>,
    ) -> Result<bool, Error> {
        match landing {
            _ if unheard.0.is_empty() => Ok(false),
            // There may be room for it.
            Err(Error::Overloaded) => Ok(true),
            // A lease whose time is over begins anew with the next leader, unless it has gone by then.
            Ok(Landing::Lost(Loss::LeaseNotFound(lease))) => self.is_leased(*lease).await,
            Ok(Landing::Committed { .. } | Landing::Lost(Loss::Conflict(_)) | Landing::Never) | Err(_) => {
                Ok(false)
            }
        }
    }

    /// There is nothing to be changed any more, which may be the doing of an attempt that came late. A leader that
    /// is asked now knows. What it does not know of meets a conflict if it comes later still: something that it
    /// rests on has changed since, or there would be something to be changed.
    async fn late<C: Change>(
        &self,
        change: &C,
        origin: Origin,
        unheard: &mut Unheard<C::Basis>,
        interregnum: &mut Interregnum,
    ) -> Result<Option<Answered<C::Answer>>, Error> {
        if unheard.0.is_empty() {
            return Ok(None);
        }
        match landing::fate(self.journal(), origin, interregnum).await? {
            Landing::Committed { attempt, at } => unheard.answer(change, attempt, at).map(Some),
            Landing::Lost(_) | Landing::Never => Ok(None),
        }
    }
}

/// Attempts that nobody has judged, as far as was heard, and what they were drafted on.
struct Unheard<B>(Vec<(u32, B)>);

impl<B> Unheard<B> {
    /// What the attempt did that has happened.
    fn answer<C: Change<Basis = B>>(
        &mut self,
        change: &C,
        attempt: u32,
        at: Position,
    ) -> Result<Answered<C::Answer>, Error> {
        let Some(index) = self.0.iter().position(|(unheard, _)| *unheard == attempt) else {
            tracing::error!(attempt, "an attempt of a request happened that had been refused");
            return Err(Error::Internal("what an earlier attempt did is not known any more".to_owned()));
        };
        let (_, basis) = self.0.swap_remove(index);
        Ok(Answered { answer: change.answer(basis, at), at })
    }
}

/// A change that rests on nothing that was read.
pub(super) struct Blind<F>(pub(super) F);

impl<F: Fn() -> Draft + Sync> Change for Blind<F> {
    type Basis = ();
    type Answer = ();

    async fn draft(&self) -> Result<Drafted<(), ()>, Error> {
        Ok(Drafted::Append { draft: (self.0)(), basis: () })
    }

    async fn lose(&self, (): &(), loss: Loss) -> Result<(), Error> {
        match loss {
            Loss::Conflict(_) => Ok(()),
            Loss::LeaseNotFound(_) => Err(Error::LeaseNotFound),
        }
    }

    fn answer(&self, (): (), _: Position) {}
}

#[cfg(test)]
mod tests;
