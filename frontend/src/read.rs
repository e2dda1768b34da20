//! Reading at one revision of the whole store.
//!
//!     linearizable     a barrier asked for after the read arrived: what it proves is read, and is the header
//!     serializable     what this endpoint has, but nothing older than it has shown before
//!
//! The header's revision is the store's and not a partition's: clients read a key only to learn it.

use journal::{Bug, KeyRange};

use crate::answer::{Answered, Position, RangeAnswer};
use crate::error::Error;
use crate::evaluate::Found;
use crate::operation::Range;
use crate::routes::View;
use crate::store::Store;

impl Store {
    /// # Errors
    /// `Compacted` and `FutureRevision` where the range names a revision; `TimedOut`, `Stopped`.
    pub async fn range(&self, range: &Range) -> Result<Answered<RangeAnswer>, Error> {
        self.answer_read(self.range_now(range)).await
    }

    /// Goes on reading at a moment that was answered before.
    pub(crate) async fn range_again(
        &self,
        range: &Range,
        at: Position,
    ) -> Result<Answered<RangeAnswer>, Error> {
        self.answer_read(async { Ok(Answered { answer: self.range_at(range, at).await?, at }) }).await
    }

    async fn range_now(&self, range: &Range) -> Result<Answered<RangeAnswer>, Error> {
        loop {
            let at = self.moment(range).await?;
            match self.range_at(range, at).await {
                // What was current is compacted by now: there is something newer to read.
                Err(Error::Compacted) if range.past().is_none() => {}
                answer => return answer.map(|answer| Answered { answer, at }),
            }
        }
    }

    /// The moment at which a range is answered.
    async fn moment(&self, range: &Range) -> Result<Position, Error> {
        let is_local = range.serializable || Bug::ReadWithoutBarrier.is_planted();
        if is_local { self.local([&range.keys]).await } else { self.barrier().await }
    }

    /// What this endpoint has of `keys`, not before what it has shown.
    pub(crate) async fn local<'a>(
        &self,
        keys: impl IntoIterator<Item = &'a KeyRange>,
    ) -> Result<Position, Error> {
        let (lsn, mut revision) = (self.shared.seen.lsn(), self.shared.seen.revision());
        for keys in keys {
            revision = self.shared.routes.common(keys, lsn, revision).await?.revision;
        }
        let term = self.shared.journal.status_now().term;
        Ok(Position { lsn, revision, term })
    }

    async fn range_at(&self, range: &Range, at: Position) -> Result<RangeAnswer, Error> {
        let Found { mut kvs, count, .. } = self.find_range(range, at).await?;
        let more = range.arrange(&mut kvs);
        Ok(RangeAnswer { revision: at.revision, kvs, more, count })
    }

    /// What a range asks for, at its own revision or else at the given moment. Rests on nothing that can change.
    pub(crate) async fn find_range(&self, range: &Range, at: Position) -> Result<Found, Error> {
        let revision = range.past().unwrap_or(at.revision);
        if revision > at.revision {
            return Err(Error::FutureRevision);
        }
        let view = View::At { revision, lsn: at.lsn };
        let mut found = self.shared.routes.find(&range.keys, range.fetch(), view).await?;
        if range.past().is_some() {
            found.parts.clear();
        }
        Ok(found)
    }
}
