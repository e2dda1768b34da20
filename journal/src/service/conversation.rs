//! One caller's questions, and their answers as they come: many a message, in any order.

use futures_util::future::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use prost::Message;
use proto::journal::{Answers, Questions};
use tokio::sync::mpsc;
use tonic::Streaming;

use super::pending::Pending;
use crate::client::Journal;
use crate::wire::{answers, questions};

/// Questions of one caller under way. When there are so many, no more are read, and the caller's wait with it.
const UNDER_WAY_MAX: usize = 8_192;
/// Answers that one message takes.
const ANSWERS_AT_ONCE: usize = 1_024;
/// Where a message of answers ends, in bytes. A larger answer travels with the few before it.
const ANSWERS_BYTES: usize = 1 << 20;

pub(super) struct Conversation {
    journal: Journal,
    cluster: u64,
    questions: Streaming<Questions>,
    under_way: FuturesUnordered<Pending>,
}

impl Conversation {
    pub(super) fn new(journal: Journal, cluster: u64, questions: Streaming<Questions>) -> Conversation {
        Conversation { journal, cluster, questions, under_way: FuturesUnordered::new() }
    }

    /// Until the caller has asked everything and heard everything, or is gone.
    pub(super) async fn run(mut self, out: mpsc::Sender<Result<Answers, tonic::Status>>) {
        let mut asking = true;
        while asking || !self.under_way.is_empty() {
            tokio::select! {
                () = out.closed() => return,
                message = self.questions.message(), if asking && self.under_way.len() < UNDER_WAY_MAX => {
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
                    // Only lists are long: of leases, and of members.
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
            self.under_way.push(Pending::ask(id, asked, &self.journal).await);
        }
        Ok(true)
    }
}
