//! One caller's questions, and their answers as they come: many a message, in any order.
//!
//!     questions ──► under way ──► answers on their way out, in turn ──► messages of about 1 MiB
//!
//! An answer that is longer than a part goes to the end of the queue after each, so that short ones pass it. A
//! caller that does not read its answers is asked for no more questions.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;

use futures_util::future::{AbortHandle, Abortable, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use proto::memstore::{Answers, Questions};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use crate::client::Memstore;
use crate::farewell::Busy;
use crate::memory::{Memory, MemoryReservation};
use crate::wire::answers::{Cut, PART_BYTES, Part, Said};
use crate::wire::questions::{self, Asked};

/// Questions of one caller under way or being answered. When there are so many, no more are read, and the caller's
/// wait with it.
const UNDER_WAY_MAX: usize = 8_192;
/// The same of what they take: their keys stay for as long as they are under way. One message may bring more.
const UNDER_WAY_BYTES_MAX: usize = 64 << 20;
/// Pieces of answers that one message takes.
const PIECES_AT_ONCE: usize = 1_024;

/// An answer, its question's id, and the memory that it takes.
type Answered = (u64, Said, Arc<MemoryReservation>);
type Pending = Pin<Box<dyn Future<Output = Answered> + Send>>;

pub(super) struct Conversation {
    memstore: Memstore,
    memory: Arc<Memory>,
    cluster: u64,
    questions: Streaming<Questions>,
    under_way: FuturesUnordered<Abortable<Pending>>,
    /// Of those under way, with what they take.
    handles: HashMap<u64, (AbortHandle, usize)>,
    /// What all of them take.
    bytes: usize,
    leaving: VecDeque<Cut>,
    busy: Busy,
}

impl Conversation {
    pub(super) fn new(
        memstore: Memstore,
        cluster: u64,
        questions: Streaming<Questions>,
        busy: Busy,
    ) -> Conversation {
        let (under_way, handles, leaving) = (FuturesUnordered::new(), HashMap::new(), VecDeque::new());
        let memory = memstore.memory();
        Conversation { memstore, memory, cluster, questions, under_way, handles, bytes: 0, leaving, busy }
    }

    /// Until the caller has asked everything and heard everything, or is gone.
    pub(super) async fn run(mut self, out: mpsc::Sender<Result<Answers, Status>>) {
        if let Err(refusal) = self.converse(&out).await {
            drop(out.send(Err(refusal)).await);
        }
    }

    async fn converse(&mut self, out: &mpsc::Sender<Result<Answers, Status>>) -> Result<(), Status> {
        let mut asking = true;
        while asking || !self.under_way.is_empty() || !self.leaving.is_empty() {
            let count = self.under_way.len() + self.leaving.len();
            self.busy.is(count);
            let has_room = count < UNDER_WAY_MAX && self.bytes < UNDER_WAY_BYTES_MAX;
            tokio::select! {
                () = out.closed() => return Ok(()),
                message = self.questions.message(), if asking && has_room => {
                    asking = self.take(message?)?;
                }
                Some(answered) = self.under_way.next(), if !self.under_way.is_empty() => {
                    self.leave(answered);
                    // Those that are answered by now share a message.
                    while let Some(Some(answered)) = self.under_way.next().now_or_never() {
                        self.leave(answered);
                    }
                }
                room = out.reserve(), if !self.leaving.is_empty() => match room {
                    Ok(room) => room.send(Ok(message(&mut self.leaving))),
                    Err(_) => return Ok(()),
                },
            }
        }
        Ok(())
    }

    /// Asks what the message asks. Answers whether more may come.
    fn take(&mut self, message: Option<Questions>) -> Result<bool, Status> {
        let Some(Questions { cluster, questions, given_up }) = message else { return Ok(false) };
        super::check(self.cluster, cluster)?;
        for question in questions {
            let (id, asked) = questions::read(question)?;
            let (handle, registration) = AbortHandle::new_pair();
            let bytes = asked.bytes();
            let (memstore, reservation) = (self.memstore.clone(), MemoryReservation::of(&self.memory));
            let pending: Pending = Box::pin(async move {
                let said = reservation.clone().scope(answer(memstore, asked)).await;
                (id, said, reservation)
            });
            self.under_way.push(Abortable::new(pending, registration));
            self.bytes += bytes;
            if let Some((_, replaced)) = self.handles.insert(id, (handle, bytes)) {
                self.bytes -= replaced;
            }
        }
        for id in given_up {
            match self.handles.remove(&id) {
                Some((handle, bytes)) => {
                    handle.abort();
                    self.bytes -= bytes;
                }
                None => self.leaving.retain(|cut| cut.id() != id),
            }
        }
        Ok(true)
    }

    fn leave<E>(&mut self, answered: Result<Answered, E>) {
        // One that was given up has no answer.
        let Ok((id, said, reservation)) = answered else { return };
        if let Some((_, bytes)) = self.handles.remove(&id) {
            self.bytes -= bytes;
        }
        self.leaving.push_back(Cut::new(id, said, reservation));
    }
}

/// The next message of what is leaving. A large piece has one of its own: the reader's memory holds all of a message for as
/// long as any of it is wanted.
fn message(leaving: &mut VecDeque<Cut>) -> Answers {
    let (mut answers, mut sum) = (Vec::new(), 0);
    while let Some(mut cut) = leaving.pop_front_if(|cut| answers.is_empty() || !cut.is_large()) {
        let is_large = cut.is_large();
        let Part { answer, bytes, is_last } = cut.part();
        answers.push(answer);
        sum += bytes;
        if !is_last {
            leaving.push_back(cut);
        }
        if is_large || sum >= PART_BYTES || answers.len() >= PIECES_AT_ONCE {
            break;
        }
    }
    Answers { answers }
}

async fn answer(memstore: Memstore, asked: Asked) -> Said {
    let said = match asked {
        Asked::Range { partition, query } => memstore.range(partition, query).await.map(Said::Found),
        Asked::GetMany { partition, keys, at, min_lsn } => {
            let got = memstore.get_many(partition, &keys, at, min_lsn).await;
            got.map(|(at, values)| Said::Values(at, values))
        }
        Asked::LeaseKeys { partition, lease, min_lsn } => {
            let keys = memstore.lease_keys(partition, lease, min_lsn).await;
            keys.map(|(at, keys)| Said::LeasedKeys(at, keys))
        }
        Asked::HashKv { upto, min_lsn } => memstore.hash_kv(upto, min_lsn).await.map(Said::Hash),
        Asked::Hashes { partition, asked, min_lsn } => {
            memstore.hashes(partition, asked, min_lsn).await.map(Said::Hashed)
        }
        Asked::Wait { partition, lsn, revision } => {
            memstore.position_at(partition, lsn, revision).await.map(Said::Reached)
        }
    };
    said.unwrap_or_else(Said::Refused)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use journal::Revision;

    use super::*;

    #[test]
    fn what_is_refused_does_not_keep_the_memory_of_another_answer() {
        let keys = |bytes: usize| Said::LeasedKeys(Revision(2), vec![Bytes::from(vec![0; bytes])]);
        let memory = Arc::default();
        let sizes = [10, 70_000, 10, 20, 3_000_000, 70_000, 10];
        let cut = |(id, bytes)| Cut::new(id, keys(bytes), MemoryReservation::of(&memory));
        let mut leaving: VecDeque<Cut> = (0..).zip(sizes).map(cut).collect();
        let mut messages = Vec::new();
        while !leaving.is_empty() {
            messages.push(message(&mut leaving).answers.iter().map(|answer| answer.id).collect::<Vec<u64>>());
        }
        assert_eq!(messages, [vec![0], vec![1], vec![2, 3], vec![4], vec![5], vec![6]]);
    }
}
