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
                Ok(Landing::Never | Landing::Lost(_) | Landing::Forgotten) => known = self.known(),
                // A journal that has too much to do is not asked again at once: it would have more.
                Err(Error::Overloaded) => {
                    interregnum.wait(&self.journal).await;
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::future::FutureExt;
    use journal::{Config, Node, Storage, SystemClock, Verdict};

    use super::*;

    #[tokio::test]
    async fn a_journal_that_has_too_much_to_do_is_not_asked_again_at_once() {
        let node = Node::start(Config::single(1, 1, Storage::Memory), Arc::new(SystemClock::default()));
        let node = node.await.expect("a node in memory");
        let journal = node.handle();
        let origin = |seq| Origin { frontend: 7, seq, attempt: 1 };
        let append =
            |seq| Append { origin: origin(seq), reads: vec![], writes: vec![], sysop: None, reserve: false };
        let mut seq = 1;
        // The journal has this thread, too, and takes nothing before it is its turn.
        while journal.append(append(seq)).now_or_never().is_none() {
            seq += 1;
        }
        let refused = journal.append(append(seq)).now_or_never();
        assert!(matches!(refused, Some(Verdict::Overloaded { .. })), "{refused:?}");
        let mut changer = RouteChanger::new(journal);
        let wishes = Cell::new(0);
        let wish = |_: &Routes| {
            wishes.set(wishes.get() + 1);
            Ok((wishes.get() < 100).then(Routes::default))
        };
        let mut change = Box::pin(changer.change(wish));
        assert!(change.as_mut().now_or_never().is_none());
        assert_eq!(wishes.get(), 1);
    }
}
