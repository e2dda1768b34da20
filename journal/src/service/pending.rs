//! A question that a node has taken and not yet answered.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::client::{Command, Expired, Journal, LeaseStatus};
use crate::error::Error;
use crate::member::{LeaderMoved, MembersChanged};
use crate::record::LeaseId;
use crate::verdict::{Barrier, Fate, Verdict};
use crate::wire::answers::Answer;
use crate::wire::questions::Asked;

enum Reply {
    Append(oneshot::Receiver<Verdict>),
    Fate(oneshot::Receiver<Result<Fate, Error>>),
    Barrier(oneshot::Receiver<Result<Barrier, Error>>),
    KeepAlive(oneshot::Receiver<Result<Option<i64>, Error>>),
    Lease(oneshot::Receiver<Result<Option<LeaseStatus>, Error>>),
    Leases(oneshot::Receiver<Result<Vec<(Duration, LeaseId)>, Error>>),
    Expired(oneshot::Receiver<Result<Vec<Expired>, Error>>),
    Members(oneshot::Receiver<Result<MembersChanged, Error>>),
    MoveLeader(oneshot::Receiver<Result<LeaderMoved, Error>>),
}

/// Resolves to the answer, with the question's id.
pub(super) struct Pending {
    id: u64,
    reply: Reply,
}

impl Pending {
    /// Asks. An append is refused where there is no room; everything else waits for room.
    pub(super) async fn ask(id: u64, asked: Asked, journal: &Journal) -> Pending {
        let (command, reply) = split(asked);
        match command {
            Command::Append { .. } => journal.try_send(command),
            command => journal.send(command).await,
        }
        Pending { id, reply }
    }
}

fn split(asked: Asked) -> (Command, Reply) {
    match asked {
        Asked::Append(append) => {
            let (reply, answer) = oneshot::channel();
            (Command::Append { append, reply }, Reply::Append(answer))
        }
        Asked::Fate(origin) => {
            let (reply, answer) = oneshot::channel();
            (Command::Fate { origin, reply }, Reply::Fate(answer))
        }
        Asked::Barrier => {
            let (reply, answer) = oneshot::channel();
            (Command::Barrier { reply }, Reply::Barrier(answer))
        }
        Asked::KeepAlive(lease) => {
            let (reply, answer) = oneshot::channel();
            (Command::KeepAlive { lease, reply }, Reply::KeepAlive(answer))
        }
        Asked::Lease(lease) => {
            let (reply, answer) = oneshot::channel();
            (Command::Lease { lease, reply }, Reply::Lease(answer))
        }
        Asked::Leases => {
            let (reply, answer) = oneshot::channel();
            (Command::Leases { reply }, Reply::Leases(answer))
        }
        Asked::Expired => {
            let (reply, answer) = oneshot::channel();
            (Command::Expired { reply }, Reply::Expired(answer))
        }
        Asked::Members(change) => {
            let (reply, answer) = oneshot::channel();
            (Command::Members { change, reply }, Reply::Members(answer))
        }
        Asked::MoveLeader(to) => {
            let (reply, answer) = oneshot::channel();
            (Command::MoveLeader { to, reply }, Reply::MoveLeader(answer))
        }
    }
}

impl Future for Pending {
    type Output = (u64, Answer);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<(u64, Answer)> {
        let answer = match &mut self.reply {
            Reply::Append(reply) => {
                Answer::Verdict(ready!(Pin::new(reply).poll(context)).unwrap_or(Verdict::Unknown))
            }
            Reply::Fate(reply) => said(ready!(Pin::new(reply).poll(context)), Answer::Fate),
            Reply::Barrier(reply) => said(ready!(Pin::new(reply).poll(context)), Answer::Barrier),
            Reply::KeepAlive(reply) => said(ready!(Pin::new(reply).poll(context)), Answer::KeepAlive),
            Reply::Lease(reply) => said(ready!(Pin::new(reply).poll(context)), Answer::Lease),
            Reply::Leases(reply) => {
                let whole = |leases| Answer::Leases { leases, more: false };
                said(ready!(Pin::new(reply).poll(context)), whole)
            }
            Reply::Expired(reply) => said(ready!(Pin::new(reply).poll(context)), Answer::Expired),
            Reply::Members(reply) => said(ready!(Pin::new(reply).poll(context)), Answer::Members),
            Reply::MoveLeader(reply) => said(ready!(Pin::new(reply).poll(context)), Answer::LeaderMoved),
        };
        Poll::Ready((self.id, answer))
    }
}

/// An answer that never comes is the node's end.
fn said<T>(
    answer: Result<Result<T, Error>, oneshot::error::RecvError>,
    says: impl FnOnce(T) -> Answer,
) -> Answer {
    answer.unwrap_or(Err(Error::Closed)).map_or_else(Answer::Refused, says)
}
