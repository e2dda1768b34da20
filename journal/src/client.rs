//! The handle on the journal: the only way in for memstores and frontends.
//!
//! It is cheap to clone and promises the same whether the node lives in this process or in another:
//! questions go over a bounded channel to the node's sequencer, and what is committed comes back as a tail.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::error::Error;
use crate::lsn::Lsn;
use crate::member::Member;
use crate::origin::Origin;
use crate::record::{Alarm, Append, LeaseId};
use crate::revision::Revision;
use crate::tail::{Tail, TailSource};
use crate::verdict::{Barrier, Fate, Verdict};

/// Questions that wait for the sequencer. When full, an `append` is refused with `Overloaded` and
/// everything else waits for room.
pub(crate) const COMMANDS_MAX: usize = 8_192;

/// A question to the sequencer and where its answer goes.
pub(crate) enum Command {
    Append { append: Append, reply: oneshot::Sender<Verdict> },
    Fate { origin: Origin, reply: oneshot::Sender<Result<Fate, Error>> },
    Barrier { reply: oneshot::Sender<Result<Barrier, Error>> },
    KeepAlive { lease: LeaseId, reply: oneshot::Sender<Result<Option<i64>, Error>> },
    Lease { lease: LeaseId, reply: oneshot::Sender<Result<Option<LeaseStatus>, Error>> },
    Leases { reply: oneshot::Sender<Result<Vec<(Duration, LeaseId)>, Error>> },
    Expired { reply: oneshot::Sender<Vec<Expired>> },
}

/// A lease as its lessor sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseStatus {
    pub granted_seconds: i64,
    pub remaining_seconds: i64,
}

/// A lease that has ended and is frozen: whoever takes it must append its revocation with the keys it holds,
/// as `SysOp::LeaseRevoke { expired_in: Some(term) }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    pub lease: LeaseId,
    pub term: u64,
}

/// What a node knows of itself and of its cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    pub cluster: u64,
    pub node: u64,
    /// In the order of their ids, as of `applied`. Only a cluster that is reached over the network has any.
    pub members: Vec<Member>,
    pub leader: Option<u64>,
    pub term: u64,
    /// The last committed and applied position.
    pub applied: Lsn,
    /// The revision at `applied`.
    pub revision: Revision,
    pub compacted: Revision,
    pub alarms: Vec<(u64, Alarm)>,
    /// The first position still kept.
    pub first: Lsn,
    pub disk_bytes: u64,
}

/// The handle.
#[derive(Clone)]
pub struct Journal {
    commands: mpsc::Sender<Command>,
    status: watch::Receiver<Status>,
    tail: TailSource,
}

impl Journal {
    pub(crate) fn new(
        commands: mpsc::Sender<Command>,
        status: watch::Receiver<Status>,
        tail: TailSource,
    ) -> Journal {
        Journal { commands, status, tail }
    }

    /// Makes the effects durable at the next revision, unless something they rest on has changed.
    /// A caller that gives up waiting must ask for the `fate` before it tries again.
    pub async fn append(&self, append: Append) -> Verdict {
        let (reply, answer) = oneshot::channel();
        match self.commands.try_send(Command::Append { append, reply }) {
            Ok(()) => answer.await.unwrap_or(Verdict::Unknown),
            Err(mpsc::error::TrySendError::Full(_)) => {
                Verdict::Overloaded { retry_after: std::time::Duration::from_millis(10) }
            }
            // Nobody took it, so nothing was appended.
            Err(mpsc::error::TrySendError::Closed(_)) => Verdict::NotLeader { hint: None },
        }
    }

    /// What became of an append whose verdict was lost. Only a leader confirmed after the question answers.
    ///
    /// # Errors
    /// `NotLeader`, `NoQuorum` or `Closed`: ask again, or elsewhere.
    pub async fn fate(&self, origin: Origin) -> Result<Fate, Error> {
        self.ask(|reply| Command::Fate { origin, reply }).await?
    }

    /// How far the journal had committed at some moment after this call began.
    ///
    /// # Errors
    /// `NotLeader`, `NoQuorum` or `Closed`.
    pub async fn barrier(&self) -> Result<Barrier, Error> {
        self.ask(|reply| Command::Barrier { reply }).await?
    }

    /// Starts the lease's time again. Answers its seconds, or `None` where there is no such lease.
    ///
    /// # Errors
    /// `NotLeader`, `NoQuorum` or `Closed`: the lease may end.
    pub async fn keep_alive(&self, lease: LeaseId) -> Result<Option<i64>, Error> {
        self.ask(|reply| Command::KeepAlive { lease, reply }).await?
    }

    /// # Errors
    /// `NotLeader`, `NoQuorum` or `Closed`.
    pub async fn lease(&self, lease: LeaseId) -> Result<Option<LeaseStatus>, Error> {
        self.ask(|reply| Command::Lease { lease, reply }).await?
    }

    /// Every lease there is, the one that ends first before the others.
    ///
    /// # Errors
    /// `NotLeader`, `NoQuorum` or `Closed`.
    pub async fn leases(&self) -> Result<Vec<LeaseId>, Error> {
        let mut leases = self.ask(|reply| Command::Leases { reply }).await??;
        // Here, because the sequencer has better to do.
        leases.sort_unstable();
        Ok(leases.into_iter().map(|(_, lease)| lease).collect())
    }

    /// Waits until leases have ended, and hands them to the caller. One that is not revoked is handed out again.
    ///
    /// # Errors
    /// `Closed`.
    pub async fn expired(&self) -> Result<Vec<Expired>, Error> {
        self.ask(|reply| Command::Expired { reply }).await
    }

    /// Everything committed from `from` on, in order.
    #[must_use]
    pub fn tail(&self, from: Lsn) -> Tail {
        self.tail.open(from)
    }

    /// The node's status as of its last change; the receiver also tells of the next one.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)
    }
}
