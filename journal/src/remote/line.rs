//! One conversation with one node: questions go out many a message, answers come back in any order.
//!
//! It ends when the node or the way to it fails, or when another node is to be asked. What was sent and not answered
//! is then lost: an append may or may not happen.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proto::journal::journal_client::JournalClient;
use proto::journal::{Answers, Question, Questions};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use tonic::transport::Channel;

use super::COMMANDS_AT_ONCE;
use crate::client::{Command, Expired, LeaseStatus};
use crate::error::Error;
use crate::member::{LeaderMoved, MembersChanged};
use crate::record::LeaseId;
use crate::verdict::{Barrier, Fate, Verdict};
use crate::wire::answers::Answer;
use crate::wire::questions::Asked;
use crate::wire::{MESSAGE_BYTES_MAX, answers, questions};

/// Messages on their way out. What does not fit waits in the queue, where it can still be refused.
const MESSAGES_MAX: usize = 4;
/// Where a message of questions ends, in bytes of what they change. A larger append travels alone.
const MESSAGE_BYTES: usize = 1 << 20;

/// How long a node may take until a conversation by one of its URLs is open.
const OPEN_MAX: Duration = Duration::from_secs(1);

/// Where an answer goes.
enum Waiter {
    Append(oneshot::Sender<Verdict>),
    Fate(oneshot::Sender<Result<Fate, Error>>),
    Barrier(oneshot::Sender<Result<Barrier, Error>>),
    KeepAlive(oneshot::Sender<Result<Option<i64>, Error>>),
    Lease(oneshot::Sender<Result<Option<LeaseStatus>, Error>>),
    Leases(oneshot::Sender<Result<Vec<(Duration, LeaseId)>, Error>>),
    Expired(oneshot::Sender<Result<Vec<Expired>, Error>>),
    Members(oneshot::Sender<Result<MembersChanged, Error>>),
    MoveLeader(oneshot::Sender<Result<LeaderMoved, Error>>),
}

/// The ways to one node: a channel for each of its URLs.
pub(super) struct Ways {
    pub(super) channels: Vec<Channel>,
    /// Place of the one that worked last, which is tried first. Kept from one line to the next.
    pub(super) preferred: Arc<AtomicUsize>,
}

pub(super) struct Line {
    ways: Ways,
    cluster: u64,
    commands: mpsc::Receiver<Command>,
    /// Taken from the queue and not yet sent.
    taken: Vec<Command>,
    /// What was sent, by its id.
    waiting: HashMap<u64, Waiter>,
    ids: u64,
}

impl Line {
    pub(super) fn new(ways: Ways, cluster: u64, commands: mpsc::Receiver<Command>) -> Line {
        Line { ways, cluster, commands, taken: Vec::new(), waiting: HashMap::new(), ids: 0 }
    }

    /// Until `ends` at the latest: a node that is frozen neither answers nor hangs up.
    pub(super) async fn run(mut self, ends: CancellationToken) {
        if let Some(Err(error)) = ends.run_until_cancelled(self.converse()).await {
            tracing::debug!(%error, "the line to the journal's leader broke");
        }
        self.waiting.drain().for_each(|(_, waiter)| waiter.lose());
        self.commands.close();
        let unsent = self.taken.drain(..).chain(std::iter::from_fn(|| self.commands.try_recv().ok()));
        unsent.for_each(|command| command.refuse(Error::NotLeader { hint: None }));
    }

    /// Opens the conversation by the first URL that answers. Meanwhile everything waits in the queue.
    async fn open(&self) -> Result<(mpsc::Sender<Questions>, Streaming<Answers>), tonic::Status> {
        let Ways { channels, preferred } = &self.ways;
        let first = preferred.load(Ordering::Relaxed);
        let mut failure = tonic::Status::unavailable("nobody knows where the node is");
        for place in (first..first + channels.len()).map(|place| place % channels.len()) {
            let mut client = JournalClient::new(channels[place].clone())
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX);
            let (out, messages) = mpsc::channel(MESSAGES_MAX);
            let answers = tokio::time::timeout(OPEN_MAX, client.ask(ReceiverStream::new(messages))).await;
            match answers.unwrap_or_else(|_| Err(tonic::Status::deadline_exceeded("it does not answer"))) {
                Ok(answers) => {
                    preferred.store(place, Ordering::Relaxed);
                    return Ok((out, answers.into_inner()));
                }
                Err(status) => failure = status,
            }
        }
        Err(failure)
    }

    async fn converse(&mut self) -> Result<(), tonic::Status> {
        let (out, mut answers) = self.open().await?;
        loop {
            tokio::select! {
                biased;
                message = answers.message() => self.answered(message?)?,
                // Nothing is taken from the queue before what was taken is sent.
                room = out.reserve(), if !self.taken.is_empty() => {
                    let room = room.map_err(|_| tonic::Status::unavailable("the node has hung up"))?;
                    let rest = self.taken.split_off(Line::fits(&self.taken));
                    let sent = std::mem::replace(&mut self.taken, rest);
                    let questions = sent.into_iter().map(|command| self.question(command)).collect();
                    room.send(Questions { cluster: self.cluster, questions });
                }
                count = self.commands.recv_many(&mut self.taken, COMMANDS_AT_ONCE), if self.taken.is_empty() => {
                    if count == 0 {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// How many of them one message takes, at least one.
    fn fits(commands: &[Command]) -> usize {
        let mut bytes = 0;
        let over = commands.iter().position(|command| {
            if let Command::Append { append, .. } = command {
                bytes += crate::codec::append_bytes(append);
            }
            bytes > MESSAGE_BYTES
        });
        over.unwrap_or(commands.len()).max(1)
    }

    fn question(&mut self, command: Command) -> Question {
        let (asked, waiter) = match command {
            Command::Append { append, reply } => (Asked::Append(append), Waiter::Append(reply)),
            Command::Fate { origin, reply } => (Asked::Fate(origin), Waiter::Fate(reply)),
            Command::Barrier { reply } => (Asked::Barrier, Waiter::Barrier(reply)),
            Command::KeepAlive { lease, reply } => (Asked::KeepAlive(lease), Waiter::KeepAlive(reply)),
            Command::Lease { lease, reply } => (Asked::Lease(lease), Waiter::Lease(reply)),
            Command::Leases { reply } => (Asked::Leases, Waiter::Leases(reply)),
            Command::Expired { reply } => (Asked::Expired, Waiter::Expired(reply)),
            Command::Members { change, reply } => (Asked::Members(change), Waiter::Members(reply)),
            Command::MoveLeader { to, reply } => (Asked::MoveLeader(to), Waiter::MoveLeader(reply)),
        };
        self.ids += 1;
        self.waiting.insert(self.ids, waiter);
        questions::write(self.ids, &asked)
    }

    /// `None`: the node has ended the conversation.
    fn answered(&mut self, message: Option<Answers>) -> Result<(), tonic::Status> {
        let Some(message) = message else {
            return Err(tonic::Status::unavailable("the node has ended the conversation"));
        };
        for answer in message.answers {
            let (id, answer) = answers::read(answer)?;
            let waiter = self.waiting.remove(&id);
            waiter.and_then(|waiter| waiter.tell(answer)).ok_or_else(|| {
                tonic::Status::invalid_argument(format!("the answer to question {id} answers another one"))
            })?;
        }
        Ok(())
    }
}

impl Waiter {
    /// `None` where this is no answer to what was asked.
    fn tell(self, answer: Answer) -> Option<()> {
        match (self, answer) {
            (Waiter::Append(reply), Answer::Verdict(verdict)) => drop(reply.send(verdict)),
            (Waiter::Fate(reply), Answer::Fate(fate)) => drop(reply.send(Ok(fate))),
            (Waiter::Barrier(reply), Answer::Barrier(barrier)) => drop(reply.send(Ok(barrier))),
            (Waiter::KeepAlive(reply), Answer::KeepAlive(ttl)) => drop(reply.send(Ok(ttl))),
            (Waiter::Lease(reply), Answer::Lease(lease)) => drop(reply.send(Ok(lease))),
            (Waiter::Leases(reply), Answer::Leases(leases)) => drop(reply.send(Ok(leases))),
            (Waiter::Expired(reply), Answer::Expired(expired)) => drop(reply.send(Ok(expired))),
            (Waiter::Members(reply), Answer::Members(changed)) => drop(reply.send(Ok(changed))),
            (Waiter::MoveLeader(reply), Answer::LeaderMoved(moved)) => drop(reply.send(Ok(moved))),
            (waiter, Answer::Refused(error)) => waiter.refuse(error),
            _ => return None,
        }
        Some(())
    }

    /// Nobody knows whether it was heard.
    fn lose(self) {
        self.refuse(Error::NotLeader { hint: None });
    }

    fn refuse(self, error: Error) {
        match self {
            Waiter::Append(reply) => drop(reply.send(Verdict::Unknown)),
            Waiter::Fate(reply) => drop(reply.send(Err(error))),
            Waiter::Barrier(reply) => drop(reply.send(Err(error))),
            Waiter::KeepAlive(reply) => drop(reply.send(Err(error))),
            Waiter::Lease(reply) => drop(reply.send(Err(error))),
            Waiter::Leases(reply) => drop(reply.send(Err(error))),
            Waiter::Expired(reply) => drop(reply.send(Err(error))),
            Waiter::Members(reply) => drop(reply.send(Err(error))),
            Waiter::MoveLeader(reply) => drop(reply.send(Err(error))),
        }
    }
}
