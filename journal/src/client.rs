//! The handle on the journal: the only way in for memstores and frontends.
//!
//! It is cheap to clone and promises the same whether the node lives in this process or in another:
//! questions go over a bounded channel to the node's sequencer, and what is committed comes back as a tail.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::Error;
use crate::lsn::Lsn;
use crate::member::{LeaderMoved, Member, MemberChange, MembersChanged};
use crate::origin::Origin;
use crate::record::{Alarm, Append, LeaseId};
use crate::remote::RemoteTails;
use crate::revision::Revision;
use crate::routes::Routes;
use crate::tail::{Tail, TailSource};
use crate::verdict::{Barrier, Fate, Verdict};

/// Questions that wait for the sequencer. When full, an `append` is refused with `Overloaded` and
/// everything else waits for room.
pub(crate) const COMMANDS_MAX: usize = 8_192;

/// A question to the sequencer and where its answer goes. It is no `Clone`: whoever sends it has it no more, so that no
/// append comes to a sequencer twice.
pub(crate) enum Command {
    Append { append: Append, reply: oneshot::Sender<Verdict> },
    Fate { origin: Origin, reply: oneshot::Sender<Result<Fate, Error>> },
    Barrier { reply: oneshot::Sender<Result<Barrier, Error>> },
    KeepAlive { lease: LeaseId, reply: oneshot::Sender<Result<Option<i64>, Error>> },
    Lease { lease: LeaseId, reply: oneshot::Sender<Result<Option<LeaseStatus>, Error>> },
    Leases { reply: oneshot::Sender<Result<Vec<(Duration, LeaseId)>, Error>> },
    Expired { reply: oneshot::Sender<Result<Vec<Expired>, Error>> },
    Members { change: MemberChange, reply: oneshot::Sender<Result<MembersChanged, Error>> },
    MoveLeader { to: u64, reply: oneshot::Sender<Result<LeaderMoved, Error>> },
}

impl Command {
    /// Tells whoever asked that there is no room for the question: an append that it was refused, and everything else
    /// that nobody leads.
    pub(crate) fn turn_away(self) {
        match self {
            Command::Append { reply, .. } => {
                drop(reply.send(Verdict::Overloaded { retry_after: RETRY_AFTER }))
            }
            command => command.refuse(Error::NotLeader { hint: None }),
        }
    }

    /// Tells whoever asked that this node cannot answer. Nothing was appended.
    pub(crate) fn refuse(self, error: Error) {
        match self {
            Command::Append { reply, .. } => {
                let hint = match error {
                    Error::NotLeader { hint } => hint,
                    _ => None,
                };
                drop(reply.send(Verdict::NotLeader { hint }));
            }
            Command::Fate { reply, .. } => drop(reply.send(Err(error))),
            Command::Barrier { reply } => drop(reply.send(Err(error))),
            Command::KeepAlive { reply, .. } => drop(reply.send(Err(error))),
            Command::Lease { reply, .. } => drop(reply.send(Err(error))),
            Command::Leases { reply } => drop(reply.send(Err(error))),
            Command::Expired { reply } => drop(reply.send(Err(error))),
            Command::Members { reply, .. } => drop(reply.send(Err(error))),
            Command::MoveLeader { reply, .. } => drop(reply.send(Err(error))),
        }
    }
}

/// How long whoever finds a queue full should wait.
const RETRY_AFTER: Duration = Duration::from_millis(10);

/// A question as it comes to a node.
pub(crate) struct Call {
    pub(crate) command: Command,
    /// Another node has passed it on: where this one does not lead either, it is refused and not passed on again.
    pub(crate) passed_on: bool,
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
    /// Who should hold which keys, as of `applied`.
    pub routes: Arc<Routes>,
    /// The first position still kept.
    pub first: Lsn,
    pub disk_bytes: u64,
    /// Members whose data directories are known here, in the order of their ids.
    pub bootstrapped: Vec<u64>,
    /// The position up to which the node had acknowledged what it does not have: until a leader has sent it, the node
    /// does not vote.
    pub missing_up_to: Option<Lsn>,
    /// True where the node's process serves clients, so that its member is to have client URLs.
    pub serves_clients: bool,
}

/// The handle.
#[derive(Clone)]
pub struct Journal {
    commands: mpsc::Sender<Call>,
    passed_on: bool,
    status: watch::Receiver<Status>,
    tails: Tails,
}

/// Where tails are read from.
#[derive(Clone)]
pub(crate) enum Tails {
    Here(TailSource),
    There(RemoteTails),
}

impl Journal {
    pub(crate) fn new(
        commands: mpsc::Sender<Call>,
        status: watch::Receiver<Status>,
        tails: Tails,
    ) -> Journal {
        Journal { commands, passed_on: false, status, tails }
    }

    /// The same handle for questions that another node has passed on.
    pub(crate) fn passed_on(self) -> Journal {
        Journal { passed_on: true, ..self }
    }

    /// Puts a question into the queue, behind those that wait there. Without room, or where nobody takes it, it is
    /// answered so at once.
    pub(crate) fn try_send(&self, command: Command) {
        match self.commands.try_send(Call { command, passed_on: self.passed_on }) {
            Ok(()) => {}
            Err(TrySendError::Full(call)) => call.command.turn_away(),
            // Nobody took it, so nothing was appended.
            Err(TrySendError::Closed(call)) => call.command.refuse(Error::NotLeader { hint: None }),
        }
    }

    /// Puts a question into the queue once there is room. Where nobody takes it, it is dropped.
    pub(crate) async fn send(&self, command: Command) {
        drop(self.commands.send(Call { command, passed_on: self.passed_on }).await);
    }

    /// Makes the effects durable at the next revision, unless something they rest on has changed.
    /// A caller that gives up waiting must ask for the `fate` before it tries again.
    pub async fn append(&self, append: Append) -> Verdict {
        let (reply, answer) = oneshot::channel();
        self.try_send(Command::Append { append, reply });
        answer.await.unwrap_or(Verdict::Unknown)
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
    /// `NotLeader` where nobody leads or another node begins to: ask again. `Closed`.
    pub async fn expired(&self) -> Result<Vec<Expired>, Error> {
        self.ask(|reply| Command::Expired { reply }).await?
    }

    /// Changes the cluster, and answers its members once that is committed. A new voter follows without a vote until
    /// it has caught up.
    ///
    /// # Errors
    /// `NotLeader`: ask that node, which may lead because the member to be removed did. `NoQuorum`: nobody knows what
    /// became of it; look at the members. `Closed`.
    pub async fn change_members(&self, change: MemberChange) -> Result<MembersChanged, Error> {
        self.ask(|reply| Command::Members { change, reply }).await?
    }

    /// Lets the voter `to` lead, and answers when it does.
    ///
    /// # Errors
    /// `NotLeader` or `Closed`.
    pub async fn move_leader(&self, to: u64) -> Result<LeaderMoved, Error> {
        self.ask(|reply| Command::MoveLeader { to, reply }).await?
    }

    /// Everything committed from `from` on, in order.
    #[must_use]
    pub fn tail(&self, from: Lsn) -> Tail {
        match &self.tails {
            Tails::Here(source) => source.open(from),
            Tails::There(tails) => Tail::there(tails.open(from)),
        }
    }

    /// The node's status as of its last change; the receiver also tells of the next one.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// The node's status now. To be looked at and let go: it cannot change meanwhile.
    #[must_use]
    pub fn status_now(&self) -> watch::Ref<'_, Status> {
        self.status.borrow()
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply)).await;
        answer.await.map_err(|_| Error::Closed)
    }
}
