//! The store as its clients see it: typed operations in, typed answers out, whatever is behind.
//!
//!     read     barrier ─► partitions ─► arrange
//!     write    partitions ─► evaluate ─► journal ─► answer       see `write`
//!
//! The gRPC services, the embedding API and the tests all come in here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use journal::{Alarm, Journal, Lsn, Origin, Revision, Status, SysOp};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::answer::{Answered, Position};
use crate::barriers::Barriers;
use crate::error::Error;
use crate::interregnum::Interregnum;
use crate::metrics::activity::{Activity, count};
use crate::quota::{Admitted, Effect, Quota};
use crate::routes::Routes;
use crate::seen::Seen;

/// What may have been answered before the memstores have applied it: as much as waits in the sequencer at the most.
const LAG_BYTES: u64 = 64 << 20;

/// The handle, cheap to clone.
#[derive(Clone)]
pub struct Store {
    pub(crate) shared: Arc<Shared>,
    pub(crate) barriers: Barriers,
}

pub(crate) struct Shared {
    pub(crate) journal: Journal,
    pub(crate) routes: Routes,
    pub(crate) seen: Seen,
    pub(crate) quota: Quota,
    pub(crate) activity: Arc<Activity>,
    /// Random, so that no two processes ever have the same.
    frontend: u64,
    requests: AtomicU64,
    /// How long a request may take. Behind it, its outcome is unknown.
    patience: Duration,
    cancel: CancellationToken,
}

impl Store {
    /// A store over a journal and the memstores that follow it. Its barriers are asked for on the current runtime,
    /// until `cancel`. `patience` is how long a request may take; etcd's is 5 s and two election timeouts.
    #[must_use]
    pub fn new(
        journal: Journal,
        routes: impl Into<Routes>,
        patience: Duration,
        cancel: CancellationToken,
    ) -> Store {
        let activity = Arc::<Activity>::default();
        let barriers = Barriers::start(journal.clone(), activity.clone(), cancel.clone());
        let shared = Shared {
            journal,
            routes: routes.into(),
            seen: Seen::default(),
            quota: Quota::default(),
            activity,
            frontend: rand::random(),
            requests: AtomicU64::new(1),
            patience,
            cancel,
        };
        Store { shared: Arc::new(shared), barriers }
    }

    /// The same store with its barriers asked for on the current runtime: for each thread of a frontend its own.
    #[must_use]
    pub fn on_this_runtime(&self) -> Store {
        let Shared { journal, activity, cancel, .. } = &*self.shared;
        let barriers = Barriers::start(journal.clone(), activity.clone(), cancel.clone());
        Store { shared: self.shared.clone(), barriers }
    }

    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.shared.journal
    }

    /// The one memstore that a test has.
    #[cfg(test)]
    pub(crate) fn memstore(&self) -> memstore::Memstore {
        self.shared.routes.any_memstore()
    }

    #[must_use]
    pub fn routes(&self) -> &Routes {
        &self.shared.routes
    }

    #[must_use]
    pub fn quota(&self) -> &Quota {
        &self.shared.quota
    }

    /// The furthest that this endpoint has shown a client or has applied. Whoever is told this from now on is told
    /// nothing older later.
    #[must_use]
    pub(crate) fn seen(&self) -> Position {
        let applied = self.routes().reached();
        let term = self.journal().status_now().term;
        self.shared.seen.show(Position { lsn: applied.lsn, revision: applied.revision, term });
        Position { lsn: self.shared.seen.lsn(), revision: self.shared.seen.revision(), term }
    }

    /// Remembers that a client is about to be told of this revision.
    pub(crate) fn told(&self, revision: Revision) {
        self.shared.seen.show(Position { revision, ..Position::default() });
    }

    /// The name of a new request's first attempt.
    pub(crate) fn origin(&self) -> Origin {
        let seq = self.shared.requests.fetch_add(1, Relaxed);
        Origin { frontend: self.shared.frontend, seq, attempt: 1 }
    }

    /// Proof of how far the journal is. Waits while nobody leads.
    ///
    /// # Errors
    /// `Stopped`.
    pub async fn barrier(&self) -> Result<Position, Error> {
        let mut interregnum = Interregnum::default();
        loop {
            match self.barriers.barrier().await {
                Ok(barrier) => return Ok(barrier.into()),
                Err(error) => interregnum.ride_out(self.journal(), error).await?,
            }
        }
    }

    /// Waits until all that is committed can be read, and answers its revision: nobody is told anything older from then on.
    ///
    /// # Errors
    /// `Stopped`.
    pub(crate) async fn ready(&self) -> Result<Revision, Error> {
        let at = self.barrier().await?;
        self.routes().reach_everywhere(at.lsn).await?;
        self.shared.seen.show(at);
        Ok(at.revision)
    }

    /// The same of the keys that anybody serves: with one partition of many lost, the others are there to be asked. A
    /// memstore in this process loses all or nothing.
    ///
    /// # Errors
    /// `Stopped`.
    pub(crate) async fn ready_in_part(&self) -> Result<Revision, Error> {
        if self.routes().is_own() {
            return self.ready().await;
        }
        let at = self.barrier().await?;
        self.routes().reach_somewhere(at.lsn).await;
        self.shared.seen.show(at);
        Ok(at.revision)
    }

    /// The journal's status once it has everything up to `lsn`.
    ///
    /// # Errors
    /// `Stopped`.
    pub(crate) async fn status_at(&self, lsn: Lsn) -> Result<Status, Error> {
        let mut status = self.journal().status();
        let status = status.wait_for(|status| lsn <= status.applied).await;
        status.map(|status| status.clone()).map_err(|_| Error::Stopped)
    }

    /// The same with everything that is committed by now.
    ///
    /// # Errors
    /// `TimedOut` where nobody leads for too long, `Stopped`.
    pub(crate) async fn status_by_now(&self) -> Result<Status, Error> {
        self.within(async { self.status_at(self.barrier().await?.lsn).await }).await
    }

    /// Lets a change in that the alarms and the quota allow, and gives it its deadline. It holds its room until it has
    /// been answered.
    ///
    /// # Errors
    /// Those of the change; `NoSpace`, once the alarm is there that tells it, and `CorruptCluster`; `TimedOut`, `Stopped`.
    pub(crate) async fn admitted<T>(
        &self,
        effect: Effect,
        change: impl Future<Output = Result<Answered<T>, Error>>,
    ) -> Result<Answered<T>, Error> {
        let deadline = Instant::now() + self.shared.patience;
        let _admitted = self.admit(effect, deadline).await.inspect_err(|error| self.count_failed(error))?;
        self.answer_by(deadline, change).await
    }

    async fn admit(&self, effect: Effect, deadline: Instant) -> Result<Admitted<'_>, Error> {
        let (quota, routes) = (self.quota(), self.routes());
        let admitted = quota.reserve(effect)?;
        // Far from the quota nobody waits for what was answered and is not applied yet.
        if admitted.fits(|| routes.bytes_in_use().saturating_add(LAG_BYTES)) {
            return Ok(admitted);
        }
        // Whoever has let go of their room by now has shown what they wrote.
        let used = Box::pin(routes.bytes_in_use_at(self.shared.seen.lsn()));
        let used = tokio::time::timeout_at(deadline, used).await.map_err(|_| Error::TimedOut)??;
        if admitted.fits(|| used) {
            return Ok(admitted);
        }
        if let Some(miss) = quota.miss(admitted.bytes) {
            let member = self.journal().status_now().node;
            self.alarm_full(member, used).await;
            miss.told();
        }
        Err(Error::NoSpace)
    }

    /// Raises the NOSPACE alarm of a member.
    pub(crate) async fn alarm_full(&self, member: u64, used: u64) {
        match self.change(SysOp::AlarmRaise { member, alarm: Alarm::NoSpace }).await {
            Ok(_) => {
                self.quota().raise(Alarm::NoSpace);
                tracing::warn!(
                    used,
                    "the store is full and takes nothing that makes it grow (alarm NOSPACE): delete keys and compact, \
                     or start with a larger --quota-backend-bytes"
                );
            }
            Err(error) => {
                self.quota().forget();
                tracing::warn!(%error, "the NOSPACE alarm could not be raised; it is tried again");
            }
        }
    }

    /// What is counted of this endpoint's doings.
    pub(crate) fn activity(&self) -> &Arc<Activity> {
        &self.shared.activity
    }

    /// Gives a write its deadline, and remembers what its answer shows.
    pub(crate) async fn answer<T>(
        &self,
        request: impl Future<Output = Result<Answered<T>, Error>>,
    ) -> Result<Answered<T>, Error> {
        self.answer_by(Instant::now() + self.shared.patience, request).await
    }

    async fn answer_by<T>(
        &self,
        deadline: Instant,
        request: impl Future<Output = Result<Answered<T>, Error>>,
    ) -> Result<Answered<T>, Error> {
        let answered = tokio::time::timeout_at(deadline, request).await.unwrap_or(Err(Error::TimedOut));
        let answered = answered.inspect_err(|error| self.count_failed(error))?;
        self.shared.seen.show(answered.at);
        Ok(answered)
    }

    fn count_failed(&self, error: &Error) {
        if matches!(error, Error::TimedOut | Error::Overloaded | Error::NoLeader | Error::Stopped) {
            count(&self.activity().proposals_failed);
        }
    }

    /// The same of a read.
    pub(crate) async fn answer_read<T>(
        &self,
        request: impl Future<Output = Result<Answered<T>, Error>>,
    ) -> Result<Answered<T>, Error> {
        let answered = self.within(request).await?;
        self.shared.seen.show(answered.at);
        Ok(answered)
    }

    /// As long as a request may take.
    pub(crate) async fn within<T>(
        &self,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::time::timeout(self.shared.patience, request).await.map_err(|_| Error::TimedOut)?
    }
}
