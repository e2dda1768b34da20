//! A change and its attempts: drafted and appended until it is certain what became of it.
//!
//!     draft ──► append ──► Committed ──► answer
//!      ▲ │        ├─ lost against another change: wait as the change says, or give up
//!      │ │        └─ never happened, which is known and not guessed: see `Landing`
//!      └─┼────────┘
//!        └──► nothing to append ──► answer
//!
//! An attempt whose verdict was lost may also come late: after its fate was told, and while the next one looks. So
//! a request that finds nothing to append asks once more, and what happened is answered as that attempt drafted it.
//! A request that is refused while such an attempt may come is fenced before its client learns of the refusal: an
//! empty record of its number commits, and no attempt of that number commits after it.
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
        // Numbered when it is first appended: the journal remembers the numbers of a time, not of a count of requests.
        let mut origin = None;
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
            let named = next_attempt(origin, || self.origin());
            origin = Some(named);
            let reserve = conflicts >= CONFLICTS_BEFORE_RESERVING;
            let append = Append { origin: named, reads, writes, sysop, reserve };
            let landing = Landing::of(self.journal(), append, &mut interregnum).await;
            if refuses(&landing) && !unheard.0.is_empty() {
                let fence = Origin { attempt: named.attempt.saturating_add(1), ..named };
                let (attempt, at) = landing::fence(self.journal(), fence, &mut interregnum).await?;
                if attempt != fence.attempt {
                    return unheard.answer(change, attempt, at);
                }
                unheard.0.clear();
                origin = None;
            }
            match landing {
                Ok(Landing::Committed { attempt, at }) => {
                    unheard.0.push((named.attempt, basis));
                    return unheard.answer(change, attempt, at);
                }
                Ok(Landing::Lost(loss)) => {
                    conflicts += u32::from(matches!(loss, Loss::Conflict(_)));
                    change.lose(&basis, loss).await?;
                }
                Ok(Landing::Never) => unheard.0.push((named.attempt, basis)),
                // Each attempt was refused, and none of this number ever happens.
                Ok(Landing::Forgotten) if unheard.0.is_empty() => origin = None,
                Ok(Landing::Forgotten) => return Err(Error::TimedOut),
                // There may be room for an earlier attempt that comes late.
                Err(Error::Overloaded) if !unheard.0.is_empty() => {
                    tokio::time::sleep(landing::PENDING_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// There is nothing to be changed any more, which may be the doing of an attempt that came late. A leader that
    /// is asked now knows. What it does not know of meets a conflict if it comes later still: something that it
    /// rests on has changed since, or there would be something to be changed.
    async fn late<C: Change>(
        &self,
        change: &C,
        origin: Option<Origin>,
        unheard: &mut Unheard<C::Basis>,
        interregnum: &mut Interregnum,
    ) -> Result<Option<Answered<C::Answer>>, Error> {
        let Some(origin) = origin.filter(|_| !unheard.0.is_empty()) else { return Ok(None) };
        match landing::fate(self.journal(), origin, interregnum).await? {
            Landing::Committed { attempt, at } => unheard.answer(change, attempt, at).map(Some),
            Landing::Lost(_) | Landing::Forgotten | Landing::Never => Ok(None),
        }
    }
}

/// The name of the next attempt: of the same request, or the first of a new one.
fn next_attempt(origin: Option<Origin>, new: impl FnOnce() -> Origin) -> Origin {
    origin.map_or_else(new, |origin| Origin { attempt: origin.attempt.saturating_add(1), ..origin })
}

/// Whether the client is told of this landing that its request has not happened. An earlier attempt that comes late
/// may find what this one did not, such as a lease of that name that is granted again.
fn refuses(landing: &Result<Landing, Error>) -> bool {
    match landing {
        Ok(Landing::Lost(Loss::LeaseNotFound(_))) => true,
        Ok(
            Landing::Committed { .. }
            | Landing::Lost(Loss::Conflict(_))
            | Landing::Forgotten
            | Landing::Never,
        ) => false,
        Err(error) => matches!(
            error,
            Error::LeaseExists
                | Error::Compacted
                | Error::FutureRevision
                | Error::RoutesChanged
                | Error::RequestTooLarge
        ),
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
