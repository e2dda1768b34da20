//! One watch of an embedding program: changes come out, whole revisions at a time.

use std::sync::Arc;

use journal::{KeyRange, Revision};
use memstore::Event;

use crate::error::Error;
use crate::store::Store;
use crate::watch::{Answer, Create, Session};

/// The watch. Dropping it ends it. One that is not read holds no events: they are taken from history later.
pub struct Watch {
    session: Session,
}

impl Watch {
    pub(super) fn new(store: Store, keys: KeyRange, from: Option<Revision>) -> Watch {
        let mut session = Session::new(store);
        session.create(Create {
            keys,
            from,
            puts: true,
            deletes: true,
            prev_kv: true,
            progress_notify: false,
            id: None,
            fragment: false,
        });
        Watch { session }
    }

    /// What happened next: never nothing, in order, and all that a revision has of these keys. Each event has
    /// the key as it was before, unless that is compacted. Safe to give up and call again.
    ///
    /// # Errors
    /// `Compacted`: what would have been next is forgotten, and the watch is over. `EmptyKey`: no key is in the
    /// range. `Stopped`.
    pub async fn next(&mut self) -> Result<Vec<Arc<Event>>, Error> {
        loop {
            match self.session.next().await {
                Answer::Events { events, .. } => return Ok(events),
                Answer::Compacted { .. } => return Err(Error::Compacted),
                Answer::Refused { .. } => return Err(Error::EmptyKey),
                Answer::Closed | Answer::Canceled { .. } => return Err(Error::Stopped),
                Answer::Created { .. } | Answer::Progress { .. } => {}
            }
        }
    }
}
