//! One caller's questions, and their answers as they come: many a message, in any order.
//!
//! Lists of leases may be longer than any message. They go in parts, one list after the other, between the answers to
//! everything else.

use std::collections::VecDeque;
use std::time::Duration;
use std::vec::IntoIter;

use futures_util::future::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use prost::Message;
use proto::journal::{Answers, Questions};
use tokio::sync::mpsc;
use tonic::Streaming;

use super::pending::Pending;
use crate::client::Journal;
use crate::error::Error;
use crate::record::LeaseId;
use crate::wire::answers::{self, Answer};
use crate::wire::questions::{self, Asked};

/// Questions of one caller under way. When there are so many, no more are read, and the caller's wait with it.
const UNDER_WAY_MAX: usize = 8_192;
/// Answers that one message takes.
const ANSWERS_AT_ONCE: usize = 1_024;
/// Where a message of answers ends, in bytes. A larger answer travels with the few before it.
const ANSWERS_BYTES: usize = 1 << 20;
/// Leases that one message takes, of at most 24 bytes each.
const LEASES_AT_ONCE: usize = ANSWERS_BYTES / 24;

pub(super) struct Conversation {
    journal: Journal,
    cluster: u64,
    questions: Streaming<Questions>,
    under_way: FuturesUnordered<Pending>,
    /// Questions for lists that wait for the one before.
    lists: VecDeque<u64>,
    list: Option<List>,
}

/// A list of leases, of which a caller is sent one at a time: each takes memory for all leases there are.
enum List {
    Asked(Pending),
    Leaving(u64, IntoIter<(Duration, LeaseId)>),
    Refused(u64, Error),
}

impl Conversation {
    pub(super) fn new(journal: Journal, cluster: u64, questions: Streaming<Questions>) -> Conversation {
        let (under_way, lists) = (FuturesUnordered::new(), VecDeque::new());
        Conversation { journal, cluster, questions, under_way, lists, list: None }
    }

    /// Until the caller has asked everything and heard everything, or is gone.
    pub(super) async fn run(mut self, out: mpsc::Sender<Result<Answers, tonic::Status>>) {
        let mut asking = true;
        while asking || !self.under_way.is_empty() || self.list.is_some() {
            let has_room = self.under_way.len() + self.lists.len() < UNDER_WAY_MAX;
            tokio::select! {
                () = out.closed() => return,
                message = self.questions.message(), if asking && has_room => {
                    match self.take(message).await {
                        Ok(more) => asking = more,
                        Err(refusal) => {
                            drop(out.send(Err(refusal)).await);
                            return;
                        }
                    }
                }
                Some((id, answer)) = self.under_way.next(), if !self.under_way.is_empty() => {
                    let mut message = Answers { answers: vec![answers::write(id, answer)] };
                    // Only lists of members are long here.
                    let mut bytes = message.encoded_len();
                    while message.answers.len() < ANSWERS_AT_ONCE
                        && bytes < ANSWERS_BYTES
                        && let Some(Some((id, answer))) = self.under_way.next().now_or_never()
                    {
                        let answer = answers::write(id, answer);
                        bytes += answer.encoded_len();
                        message.answers.push(answer);
                    }
                    if out.send(Ok(message)).await.is_err() {
                        return;
                    }
                }
                answer = next_of_list(&mut self.list, &out), if self.list.is_some() => {
                    let Some((room, answer, is_last)) = answer else { return };
                    room.send(Ok(Answers { answers: vec![answer] }));
                    if is_last {
                        self.next_list().await;
                    }
                }
            }
        }
    }

    /// Asks what the message asks. Answers whether more may come.
    async fn take(
        &mut self,
        message: Result<Option<Questions>, tonic::Status>,
    ) -> Result<bool, tonic::Status> {
        let Some(message) = message? else { return Ok(false) };
        super::check(self.cluster, message.cluster)?;
        for question in message.questions {
            let (id, asked) = questions::read(question)?;
            if asked == Asked::Leases {
                self.lists.push_back(id);
            } else {
                self.under_way.push(Pending::ask(id, asked, &self.journal).await);
            }
        }
        if self.list.is_none() {
            self.next_list().await;
        }
        Ok(true)
    }

    async fn next_list(&mut self) {
        self.list = match self.lists.pop_front() {
            Some(id) => Some(List::Asked(Pending::ask(id, Asked::Leases, &self.journal).await)),
            None => None,
        };
    }
}

type Room<'a> = mpsc::Permit<'a, Result<Answers, tonic::Status>>;

/// The next part of a list once there is room for it, and whether it is the last. `None`: the caller is gone. May be given
/// up at any moment.
async fn next_of_list<'a>(
    list: &mut Option<List>,
    out: &'a mpsc::Sender<Result<Answers, tonic::Status>>,
) -> Option<(Room<'a>, proto::journal::Answer, bool)> {
    if let Some(List::Asked(pending)) = list {
        *list = Some(match pending.await {
            (id, Answer::Leases { leases, .. }) => List::Leaving(id, leases.into_iter()),
            (id, Answer::Refused(error)) => List::Refused(id, error),
            (id, _) => List::Refused(id, Error::Closed),
        });
    }
    let room = out.reserve().await.ok()?;
    let (answer, is_last) = match list.as_mut()? {
        List::Leaving(id, rest) => {
            let leases = rest.by_ref().take(LEASES_AT_ONCE).collect();
            let more = rest.len() > 0;
            (answers::write(*id, Answer::Leases { leases, more }), !more)
        }
        List::Refused(id, error) => (answers::write(*id, Answer::Refused(error.clone())), true),
        List::Asked(_) => unreachable!("it was waited for"),
    };
    Some((room, answer, is_last))
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[tokio::test]
    async fn a_list_of_any_number_of_leases_goes_in_messages_that_a_line_takes() {
        const LEASES: i64 = 200_000;
        let leases: Vec<_> = (0..LEASES).map(|lease| (Duration::MAX, LeaseId(-1 - lease))).collect();
        let mut list = Some(List::Leaving(7, leases.into_iter()));
        let (out, _messages) = mpsc::channel(10);
        let mut told = 0;
        loop {
            let (_, answer, is_last) = next_of_list(&mut list, &out).await.expect("the caller is there");
            let bytes = answer.encoded_len();
            assert!(bytes <= ANSWERS_BYTES + 100, "{bytes}");
            let (7, Answer::Leases { leases, more }) = answers::read(answer).expect("what was written")
            else {
                panic!("it is the answer to another question");
            };
            told += leases.len();
            assert_eq!(more, !is_last);
            if is_last {
                break;
            }
        }
        assert_eq!(told, 200_000);
    }
}
