//! A change and its attempts: drafted and appended until it is certain what became of it.
//!
//!     draft ──► append ──► Committed ──► answer
//!      ▲ │        ├─ lost against another change: wait as the change says, or give up
//!      │ │        └─ never happened, which is known and not guessed: see `Landing`
//!      └─┼────────┘
//!        └──► nothing to append ──► answer
//!
//! Every append of a frontend goes through here, so how attempts are named and when a footprint is reserved is
//! decided once. The deadline is the one of the request around it: `Store::answer`.

use journal::{Append, Read, SysOp, Write};

use super::landing::{Landing, Loss};
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
        loop {
            let (Draft { reads, writes, sysop }, basis) = match change.draft().await? {
                Drafted::Append { draft, basis } => (draft, basis),
                Drafted::Nothing(answered) => return Ok(answered),
            };
            let reserve = conflicts >= CONFLICTS_BEFORE_RESERVING;
            let append = Append { origin, reads, writes, sysop, reserve };
            match Landing::of(self.journal(), append, &mut interregnum).await? {
                Landing::Committed(at) => return Ok(Answered { answer: change.answer(basis, at), at }),
                Landing::Lost(loss) => {
                    conflicts += u32::from(matches!(loss, Loss::Conflict(_)));
                    change.lose(&basis, loss).await?;
                }
                Landing::Never => {}
            }
            origin.attempt += 1;
        }
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
