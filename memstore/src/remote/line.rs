//! The conversation with another memstore: questions go out many a message, bounded by their number and their bytes;
//! answers come back in any order and in parts.
//!
//! A memstore that is down is asked nothing: every question is `Unreachable` at once. A line that breaks, and a
//! memstore that goes down, make everything that was asked unreachable, and the line is opened again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use journal::Clock;
use proto::memstore::memstore_client::MemstoreClient;
use proto::memstore::{Answers, Questions};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::mirror::Mirror;
use crate::error::Error;
use crate::memory::MemoryReservation;
use crate::wire::answers::{Gathered, Said, read_bytes};
use crate::wire::questions::Asked;
use crate::wire::{MESSAGE_BYTES, MESSAGE_BYTES_MAX, fits, questions};

/// Questions that wait to be sent. When it is full, whoever asks waits.
pub(super) const CALLS_MAX: usize = 4_096;
/// Questions that one message takes.
const CALLS_AT_ONCE: usize = 1_024;
/// Messages on their way out.
const MESSAGES_MAX: usize = 4;
/// The largest question. What surrounds it in its message needs less than the difference.
const QUESTION_BYTES_MAX: usize = MESSAGE_BYTES_MAX - MESSAGE_BYTES;
/// How often it is seen who has given up.
const SWEEP_EVERY: Duration = Duration::from_millis(100);
/// How long until a line that broke is opened again.
const PAUSE: Duration = Duration::from_millis(20);

/// A question on its way.
pub(super) struct Call {
    pub(super) asked: Asked,
    pub(super) reply: oneshot::Sender<Said>,
    /// Where the answer's memory is counted; `None`: nowhere.
    pub(super) reservation: Option<Arc<MemoryReservation>>,
}

/// Where an answer goes.
struct Waiter {
    reply: oneshot::Sender<Said>,
    reservation: Option<Arc<MemoryReservation>>,
    gathered: Gathered,
}

/// Why a conversation ended.
enum End {
    /// Nobody can ask any more.
    Over,
    Broken(Status),
}

pub(super) struct Line {
    channel: Channel,
    cluster: u64,
    clock: Arc<dyn Clock>,
    calls: mpsc::Receiver<Call>,
    mirror: Mirror,
    /// Taken from the queue and not yet sent.
    taken: Vec<Call>,
    /// What was sent, by its id.
    waiting: HashMap<u64, Waiter>,
    /// Questions whose answers did not fit into memory. The memstore is told so with the next sweep.
    refused: Vec<u64>,
    ids: u64,
}

impl Line {
    pub(super) fn new(
        channel: Channel,
        cluster: u64,
        clock: Arc<dyn Clock>,
        calls: mpsc::Receiver<Call>,
        mirror: Mirror,
    ) -> Line {
        Line {
            channel,
            cluster,
            clock,
            calls,
            mirror,
            taken: Vec::new(),
            waiting: HashMap::new(),
            refused: Vec::new(),
            ids: 0,
        }
    }

    /// Until nobody can ask any more.
    pub(super) async fn run(mut self) {
        while self.refuse_until_up().await {
            let end = self.converse().await;
            self.waiting.drain().for_each(|(_, waiter)| refuse(waiter.reply));
            self.refused.clear();
            self.taken.drain(..).for_each(|call| refuse(call.reply));
            match end {
                End::Over => return,
                End::Broken(status) => tracing::debug!(%status, "the line to a memstore broke"),
            }
            let pause = self.clock.until(self.clock.now() + PAUSE);
            self.refuse_until(pause).await;
        }
    }

    /// False: nobody can ask any more.
    async fn refuse_until_up(&mut self) -> bool {
        let up = self.mirror.up();
        self.refuse_until(up).await
    }

    async fn refuse_until(&mut self, moment: impl Future<Output = ()>) -> bool {
        let mut moment = std::pin::pin!(moment);
        loop {
            tokio::select! {
                biased;
                () = &mut moment => return true,
                call = self.calls.recv() => match call {
                    Some(call) => refuse(call.reply),
                    None => return false,
                },
            }
        }
    }

    async fn converse(&mut self) -> End {
        let down = self.mirror.down();
        tokio::select! {
            biased;
            () = down => End::Broken(Status::deadline_exceeded("it says nothing any more")),
            end = self.talk() => end.unwrap_or_else(End::Broken),
        }
    }

    async fn talk(&mut self) -> Result<End, Status> {
        let mut client = MemstoreClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let (out, messages) = mpsc::channel(MESSAGES_MAX);
        let mut answers = client.ask(ReceiverStream::new(messages)).await?.into_inner();
        let mut sweep = self.clock.until(self.clock.now() + SWEEP_EVERY);
        loop {
            tokio::select! {
                biased;
                message = answers.message() => self.answered(message?)?,
                () = &mut sweep, if !self.waiting.is_empty() || !self.refused.is_empty() => {
                    sweep = self.clock.until(self.clock.now() + SWEEP_EVERY);
                    let given_up = self.given_up();
                    if !given_up.is_empty() {
                        let (cluster, questions) = (self.cluster, Vec::new());
                        // Where there is no room, they are answered, and that is thrown away.
                        drop(out.try_send(Questions { cluster, questions, given_up }));
                    }
                }
                // Nothing is taken from the queue before what was taken is sent.
                room = out.reserve(), if !self.taken.is_empty() => {
                    let room = room.map_err(|_| Status::unavailable("the memstore has hung up"))?;
                    let questions = self.next_questions();
                    room.send(Questions { cluster: self.cluster, questions, given_up: Vec::new() });
                }
                count = self.calls.recv_many(&mut self.taken, CALLS_AT_ONCE), if self.taken.is_empty() => {
                    if count == 0 {
                        return Ok(End::Over);
                    }
                }
            }
        }
    }

    /// As many of those taken as a message has room for. What has none in any message is refused.
    fn next_questions(&mut self) -> Vec<proto::memstore::Question> {
        self.taken.retain(|call| !call.reply.is_closed());
        for Call { asked, reply, .. } in
            self.taken.extract_if(.., |call| QUESTION_BYTES_MAX < call.asked.bytes())
        {
            let bytes = asked.bytes();
            drop(reply.send(Said::Refused(Error::Io(format!(
                "a request's keys take {bytes} bytes, and between a frontend and a memstore {QUESTION_BYTES_MAX} is the \
                 most: ask for fewer keys at once"
            )))));
        }
        let rest = self.taken.split_off(fits(self.taken.iter().map(|call| call.asked.bytes())));
        let sent = std::mem::replace(&mut self.taken, rest);
        sent.into_iter().map(|call| self.question(call)).collect()
    }

    fn question(&mut self, Call { asked, reply, reservation }: Call) -> proto::memstore::Question {
        self.ids += 1;
        self.waiting.insert(self.ids, Waiter { reply, reservation, gathered: Gathered::default() });
        questions::write(self.ids, asked)
    }

    /// Those that nobody waits for any more. What still comes of their answers is thrown away.
    fn given_up(&mut self) -> Vec<u64> {
        let given_up = self.waiting.iter().filter(|(_, waiter)| waiter.reply.is_closed());
        let given_up: Vec<u64> = given_up.map(|(id, _)| *id).chain(self.refused.drain(..)).collect();
        given_up.iter().for_each(|id| drop(self.waiting.remove(id)));
        given_up
    }

    /// `None`: the memstore has ended the conversation.
    fn answered(&mut self, message: Option<Answers>) -> Result<(), Status> {
        let Some(message) = message else {
            return Err(Status::new(Code::Unavailable, "the memstore has ended the conversation"));
        };
        for answer in message.answers {
            let id = answer.id;
            let Some(waiter) = self.waiting.get_mut(&id) else { continue };
            let (read, encoded) = read_bytes(&answer);
            let held = waiter.reservation.as_ref();
            let grown = held.map_or(Ok(()), |held| held.grow_with_answer(read, encoded));
            if let Err(error) = grown {
                // What has come of it is dropped here, and the memstore is told to send no more.
                let waiter = self.waiting.remove(&id).expect("it was just looked at");
                drop(waiter.reply.send(Said::Refused(error)));
                self.refused.push(id);
                continue;
            }
            if let Some(said) = waiter.gathered.take(answer)? {
                let waiter = self.waiting.remove(&id).expect("it was just looked at");
                drop(waiter.reply.send(said));
            }
        }
        Ok(())
    }
}

fn refuse(reply: oneshot::Sender<Said>) {
    drop(reply.send(Said::Refused(Error::Unreachable)));
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use journal::{KeyRange, SystemClock};
    use prost::Message;

    use super::*;
    use crate::partition_id::PartitionId;
    use crate::query::Query;

    fn call(key: Bytes) -> (Call, oneshot::Receiver<Said>) {
        let query = Query::latest(KeyRange::Range { start: key.clone(), end: key });
        let (reply, said) = oneshot::channel();
        (Call { asked: Asked::Range { partition: PartitionId(1), query }, reply, reservation: None }, said)
    }

    /// One message of more bytes than a line takes would break it, and with it everything that was asked.
    #[tokio::test]
    async fn many_ranges_with_the_largest_keys_go_in_messages_that_a_line_takes() {
        let channel = tonic::transport::Endpoint::from_static("http://127.0.0.1:1").connect_lazy();
        let (_, calls) = mpsc::channel(1);
        let (_, mirror) = super::super::mirror::mirror();
        let mut line = Line::new(channel, 7, Arc::new(SystemClock::default()), calls, mirror);
        let mut waits = Vec::new();
        let sizes = [100, 1_500_000, 1_500_000, 200, 300, 60 << 20, MESSAGE_BYTES_MAX, 400];
        // Shared by all, and their pages are not touched: nothing is written before a message is.
        let keys = sizes.map(|size| Bytes::from(vec![0; size]));
        for key in keys.into_iter().cycle().take(CALLS_AT_ONCE) {
            let (call, said) = call(key);
            line.taken.push(call);
            waits.push(said);
        }
        let mut sent = 0;
        while !line.taken.is_empty() {
            let questions = Questions { cluster: 7, questions: line.next_questions(), given_up: Vec::new() };
            let bytes = questions.encoded_len();
            assert!(bytes <= MESSAGE_BYTES_MAX, "{bytes}");
            assert!(bytes <= 2 * MESSAGE_BYTES || questions.questions.len() == 1, "what is large goes alone");
            sent += questions.questions.len();
        }
        assert_eq!(sent, CALLS_AT_ONCE - CALLS_AT_ONCE / sizes.len());
        let refused =
            |said: &mut oneshot::Receiver<Said>| matches!(said.try_recv(), Ok(Said::Refused(Error::Io(_))));
        let refused: Vec<bool> = waits.iter_mut().map(refused).collect();
        assert!(
            refused
                .chunks(sizes.len())
                .all(|part| part == [false, false, false, false, false, false, true, false])
        );
    }
}
