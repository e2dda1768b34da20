//! Changing the journaled routes, whoever else does: look, work out what they would be, and try; look again where
//! somebody was quicker.

use std::sync::Arc;

use journal::{Append, Journal, Origin, RouteRefusal, Routes, SysOp};

use crate::error::Error;
use crate::interregnum::Interregnum;
use crate::write::Landing;

/// Why the routes were not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotChanged {
    #[error("{0}")]
    Refused(#[from] RouteRefusal),
    #[error("{0}")]
    Failed(#[from] Error),
}

/// Whoever changes them. Its requests have names of their own.
pub(crate) struct RouteChanger {
    journal: Journal,
    frontend: u64,
    requests: u64,
}

impl RouteChanger {
    pub(crate) fn new(journal: Journal) -> RouteChanger {
        RouteChanger { journal, frontend: rand::random(), requests: 0 }
    }

    /// The routes as far as this process knows.
    pub(crate) fn known(&self) -> Arc<Routes> {
        self.journal.status_now().routes.clone()
    }

    /// Makes the routes what `wish` says of those there are, and answers them once this process knows of them. `None`:
    /// they are as they should be. It waits while nobody leads, so it needs a deadline.
    ///
    /// # Errors
    /// What `wish` says against it; `Stopped`.
    pub(crate) async fn change(
        &mut self,
        wish: impl Fn(&Routes) -> Result<Option<Routes>, RouteRefusal>,
    ) -> Result<Arc<Routes>, NotChanged> {
        let mut interregnum = Interregnum::default();
        let mut known = self.known();
        while let Some(next) = wish(&known)? {
            let (from, version) = (known.version(), next.version());
            let append = self.append(next);
            match Landing::of(&self.journal, append, &mut interregnum).await {
                Ok(Landing::Committed { .. }) => return Ok(self.later_than(version - 1).await?),
                // It may be that a request that was given up has made it: that, too, is in the routes then.
                Err(Error::RoutesChanged) => known = self.later_than(from).await?,
                Ok(Landing::Never | Landing::Lost(_) | Landing::Forgotten) | Err(Error::Overloaded) => {
                    known = self.known();
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(known)
    }

    fn append(&mut self, routes: Routes) -> Append {
        self.requests += 1;
        let origin = Origin { frontend: self.frontend, seq: self.requests, attempt: 1 };
        let sysop = Some(SysOp::Routes(routes.into()));
        Append { origin, reads: Vec::new(), writes: Vec::new(), sysop, reserve: false }
    }

    async fn later_than(&self, version: u64) -> Result<Arc<Routes>, Error> {
        let mut status = self.journal.status();
        let later = status.wait_for(|status| version < status.routes.version()).await;
        later.map(|status| status.routes.clone()).map_err(|_| Error::Stopped)
    }
}
