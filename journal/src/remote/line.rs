//! One conversation with one node: questions go out many a message, answers come back in any order.
//!
//! It ends when the node or the way to it fails, or when another node is to be asked. What was sent and not answered
//! is then lost: an append may or may not happen.
//!
//! An append comes to the node at most once: a command is moved into one message, and the messages are a stream, which
//! cannot be sent again. A URL is tried before anything is taken from the queue. What a verdict says of an attempt would
//! not stay true otherwise.

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
use crate::key_range::KeyRange;
use crate::member::{LeaderMoved, MembersChanged};
use crate::record::{LeaseId, Read};
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
/// The largest question. What surrounds it in its message needs less than the difference.
const QUESTION_BYTES_MAX: usize = MESSAGE_BYTES_MAX - MESSAGE_BYTES;
/// About what a question needs besides its bytes, and each range that it names.
const AROUND_BYTES: usize = 64;

/// About what a question takes: what it changes, what it looked at, and names and addresses of members.
fn bytes_of(command: &Command) -> usize {
    let bytes = match command {
        Command::Append { append, .. } => {
            let reads = append.reads.iter().map(|read| AROUND_BYTES + read_bytes(read));
            crate::codec::append_bytes(append) + reads.sum::<usize>()
        }
        Command::Members { change, .. } => questions::change_bytes(change),
        Command::Fate { .. }
        | Command::Barrier { .. }
        | Command::KeepAlive { .. }
        | Command::Lease { .. }
        | Command::Leases { .. }
        | Command::Expired { .. }
        | Command::MoveLeader { .. } => 0,
    };
    AROUND_BYTES + bytes
}

fn read_bytes(read: &Read) -> usize {
    match read {
        Read::Keys { keys: KeyRange::Single(start) | KeyRange::From(start), .. } => start.len(),
        Read::Keys { keys: KeyRange::Range { start, end }, .. } => start.len() + end.len(),
        Read::Lease { .. } => 0,
    }
}

/// Where an answer goes.
enum Waiter {
    Append(oneshot::Sender<Verdict>),
    Fate(oneshot::Sender<Result<Fate, Error>>),
    Barrier(oneshot::Sender<Result<Barrier, Error>>),
    KeepAlive(oneshot::Sender<Result<Option<i64>, Error>>),
    Lease(oneshot::Sender<Result<Option<LeaseStatus>, Error>>),
    /// With those that have come so far.
    Leases(oneshot::Sender<Result<Vec<(Duration, LeaseId)>, Error>>, Vec<(Duration, LeaseId)>),
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
                    self.refuse_too_large();
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

    /// How many of them one message takes, at least one where there is one.
    fn fits(commands: &[Command]) -> usize {
        let mut bytes = 0_usize;
        let over = commands.iter().position(|command| {
            bytes = bytes.saturating_add(bytes_of(command));
            bytes > MESSAGE_BYTES
        });
        over.unwrap_or(commands.len()).max(1).min(commands.len())
    }

    /// Refuses what has room in no message: it would break the line for all.
    fn refuse_too_large(&mut self) {
        for command in self.taken.extract_if(.., |command| QUESTION_BYTES_MAX < bytes_of(command)) {
            let bytes = u64::try_from(bytes_of(&command)).expect("a length fits 64 bits");
            match command {
                Command::Append { reply, .. } => {
                    drop(reply.send(Verdict::TooLarge { bytes, bytes_max: QUESTION_BYTES_MAX as u64 }));
                }
                other => {
                    other.refuse(Error::Io(format!("a question takes {bytes} bytes, which is too much")))
                }
            }
        }
    }

    fn question(&mut self, command: Command) -> Question {
        let (asked, waiter) = match command {
            Command::Append { append, reply } => (Asked::Append(append), Waiter::Append(reply)),
            Command::Fate { origin, reply } => (Asked::Fate(origin), Waiter::Fate(reply)),
            Command::Barrier { reply } => (Asked::Barrier, Waiter::Barrier(reply)),
            Command::KeepAlive { lease, reply } => (Asked::KeepAlive(lease), Waiter::KeepAlive(reply)),
            Command::Lease { lease, reply } => (Asked::Lease(lease), Waiter::Lease(reply)),
            Command::Leases { reply } => (Asked::Leases, Waiter::Leases(reply, Vec::new())),
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
            let (id, mut answer) = answers::read(answer)?;
            if let Answer::Leases { leases, more: true } = &mut answer
                && let Some(Waiter::Leases(_, all)) = self.waiting.get_mut(&id)
            {
                all.append(leases);
                continue;
            }
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
            (Waiter::Leases(reply, mut all), Answer::Leases { mut leases, .. }) => {
                all.append(&mut leases);
                drop(reply.send(Ok(all)));
            }
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
            Waiter::Leases(reply, _) => drop(reply.send(Err(error))),
            Waiter::Expired(reply) => drop(reply.send(Err(error))),
            Waiter::Members(reply) => drop(reply.send(Err(error))),
            Waiter::MoveLeader(reply) => drop(reply.send(Err(error))),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use prost::Message;

    use super::*;
    use crate::origin::Origin;
    use crate::record::{Append, Write};
    use crate::revision::Revision;

    fn append(looked_at: &Bytes) -> (Command, oneshot::Receiver<Verdict>) {
        let keys = KeyRange::Range { start: looked_at.clone(), end: looked_at.clone() };
        let reads = vec![Read::Keys { keys, at: Revision(2) }];
        let writes = vec![Write::Delete { key: "k".into() }];
        let append = Append { origin: Origin::default(), reads, writes, sysop: None, reserve: false };
        let (reply, verdict) = oneshot::channel();
        (Command::Append { append, reply }, verdict)
    }

    #[test]
    fn a_list_of_leases_that_comes_in_parts_is_answered_whole() {
        let (_, commands) = mpsc::channel(1);
        let mut line = Line::new(Ways { channels: Vec::new(), preferred: Arc::default() }, 7, commands);
        let (reply, mut leases) = oneshot::channel();
        let id = line.question(Command::Leases { reply }).id;
        let part = |ids: &[i64], more| {
            let leases = ids.iter().map(|id| (Duration::from_secs(1), LeaseId(*id))).collect();
            Some(Answers { answers: vec![answers::write(id, Answer::Leases { leases, more })] })
        };
        for (ids, more) in [(&[1, 2][..], true), (&[3], true), (&[4], false)] {
            assert!(leases.try_recv().is_err());
            line.answered(part(ids, more)).expect("it is the answer to the question");
        }
        let leases = leases.try_recv().expect("all have come").expect("it is no refusal");
        assert_eq!(leases.iter().map(|(_, lease)| lease.0).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert!(line.answered(part(&[5], true)).is_err(), "the question is answered");
    }

    /// What an append looked at counts as what it changes does: one message of more bytes would break the line for all.
    #[test]
    fn appends_that_looked_at_the_largest_keys_go_in_messages_that_a_line_takes() {
        let (_, commands) = mpsc::channel(1);
        let mut line = Line::new(Ways { channels: Vec::new(), preferred: Arc::default() }, 7, commands);
        let sizes = [100, 1_500_000, 200, MESSAGE_BYTES_MAX, 300];
        // Shared by all, and their pages are not touched: a message shares them.
        let keys = sizes.map(|size| Bytes::from(vec![0; size]));
        let mut waits = Vec::new();
        for key in keys.iter().cycle().take(200) {
            let (command, verdict) = append(key);
            line.taken.push(command);
            waits.push(verdict);
        }
        line.refuse_too_large();
        while !line.taken.is_empty() {
            let rest = line.taken.split_off(Line::fits(&line.taken));
            let sent = std::mem::replace(&mut line.taken, rest);
            let questions = sent.into_iter().map(|command| line.question(command)).collect();
            let bytes = Questions { cluster: 7, questions }.encoded_len();
            assert!(bytes <= 4 * MESSAGE_BYTES, "{bytes}");
        }
        assert_eq!(line.waiting.len(), 160);
        let refused = |verdict: &mut oneshot::Receiver<Verdict>| {
            matches!(verdict.try_recv(), Ok(Verdict::TooLarge { .. }))
        };
        let refused: Vec<bool> = waits.iter_mut().map(refused).collect();
        assert!(refused.chunks(sizes.len()).all(|part| part == [false, false, false, true, false]));
    }
}
