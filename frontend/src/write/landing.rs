//! What became of an append: certain, whatever happened on its way.
//!
//! An append whose verdict was lost may have happened. A leader that is confirmed after the question knows, and
//! nothing is tried again, and nobody is answered, before it has said so.

use std::time::Duration;

use journal::{Append, Bug, Fate, Journal, LeaseId, Origin, Revision, Verdict};

use crate::answer::Position;
use crate::error::Error;
use crate::interregnum::Interregnum;

/// Between two questions for something that is still on its way, or is held for somebody else.
pub(super) const PENDING_PAUSE: Duration = Duration::from_millis(5);
/// What an append lost against is waited for this long before it is read again as it is.
pub(crate) const CATCH_UP_MAX: Duration = Duration::from_millis(500);

/// What became of it. Only `Committed` changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Landing {
    /// As it was drafted in this attempt.
    Committed {
        attempt: u32,
        at: Position,
    },
    Lost(Loss),
    /// It was refused for the age of its number, of which no attempt is appended any more.
    Forgotten,
    /// Nobody has it. A copy of it may still be under way, and happen unless something it rests on has changed.
    Never,
}

/// What an append lost against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Something that was read has changed, and can be read anew once this revision is applied.
    Conflict(Revision),
    LeaseNotFound(LeaseId),
}

impl Landing {
    pub(crate) async fn of(
        journal: &Journal,
        append: Append,
        interregnum: &mut Interregnum,
    ) -> Result<Landing, Error> {
        let origin = append.origin;
        match journal.append(append).await {
            Verdict::Committed { lsn, revision, term, attempt } => {
                Ok(Landing::Committed { attempt, at: Position { lsn, revision, term } })
            }
            Verdict::Conflict { wait } | Verdict::TooOld { wait } => Ok(Landing::Lost(Loss::Conflict(wait))),
            Verdict::Reserved => {
                tokio::time::sleep(PENDING_PAUSE).await;
                Ok(Landing::Lost(Loss::Conflict(Revision::ZERO)))
            }
            Verdict::LeaseNotFound(lease) => Ok(Landing::Lost(Loss::LeaseNotFound(lease))),
            Verdict::LeaseExists(_) => Err(Error::LeaseExists),
            Verdict::Compacted { .. } => Err(Error::Compacted),
            Verdict::FutureRevision { .. } => Err(Error::FutureRevision),
            Verdict::RoutesChanged { .. } => Err(Error::RoutesChanged),
            Verdict::Overloaded { .. } => Err(Error::Overloaded),
            Verdict::TooLarge { .. } => Err(Error::RequestTooLarge),
            Verdict::NotLeader { .. } => {
                interregnum.wait(journal).await;
                Ok(Landing::Never)
            }
            Verdict::Forgotten => Ok(Landing::Forgotten),
            Verdict::Unknown if Bug::GuessFate.is_planted() => Ok(Landing::Forgotten),
            Verdict::Unknown => fate(journal, origin, interregnum).await,
        }
    }
}

/// Asks until somebody knows, of any attempt. The request's deadline ends it.
pub(super) async fn fate(
    journal: &Journal,
    origin: Origin,
    interregnum: &mut Interregnum,
) -> Result<Landing, Error> {
    loop {
        match journal.fate(origin).await {
            Ok(Fate::Committed { lsn, revision, term, attempt }) => {
                return Ok(Landing::Committed { attempt, at: Position { lsn, revision, term } });
            }
            Ok(Fate::Pending) => tokio::time::sleep(PENDING_PAUSE).await,
            Ok(Fate::Never) => return Ok(Landing::Never),
            Ok(Fate::Expired) => return Err(Error::TimedOut),
            Err(error) => interregnum.ride_out(journal, error).await?,
        }
    }
}

/// Commits an empty record under the number of a request, so that no attempt of it commits later. Returns the attempt
/// that has committed, which is another than the one of `origin` where the request had happened before.
///
/// # Errors
/// `TimedOut` where the number is forgotten, and what became of it with it; `Stopped`.
pub(super) async fn fence(
    journal: &Journal,
    origin: Origin,
    interregnum: &mut Interregnum,
) -> Result<(u32, Position), Error> {
    loop {
        let empty = Append { origin, reads: Vec::new(), writes: Vec::new(), sysop: None, reserve: false };
        match Landing::of(journal, empty, interregnum).await {
            Ok(Landing::Committed { attempt, at }) => return Ok((attempt, at)),
            Ok(Landing::Forgotten) => return Err(Error::TimedOut),
            Ok(Landing::Lost(_) | Landing::Never) => {}
            Err(Error::Overloaded) => tokio::time::sleep(PENDING_PAUSE).await,
            Err(error) => return Err(error),
        }
    }
}
