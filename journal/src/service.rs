//! What a node answers to other processes.
//!
//!     Ask      a conversation each, with a bounded number of questions under way
//!     Tail     a cursor each: a slow reader delays nobody
//!     Status   at once when leader, members, alarms or routes change, else twice a second
//!
//! A node that another cluster's process calls refuses, and says whose it is.

mod conversation;
mod pending;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use proto::journal::journal_server::{Journal as Rpc, JournalServer};
use proto::journal::{Answers, Questions, StatusPart, StatusRequest, TailPart, TailRequest};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Streaming};

use self::conversation::Conversation;
use crate::client::{Journal, Status};
use crate::clock::Clock;
use crate::error::Error;
use crate::lsn::Lsn;
use crate::pause;
use crate::record::Entry;
use crate::wire::{MESSAGE_BYTES_MAX, entries, status};

/// Messages that wait for a connection. When it is full, its stream stands still.
const MESSAGES_MAX: usize = 4;
/// How often a tail without entries gives a sign of life.
const SIGN_OF_LIFE: Duration = Duration::from_millis(100);
/// How often a status is told that differs only in positions and sizes.
const STATUS_EVERY: Duration = Duration::from_millis(500);
/// About where a message of a tail ends. A larger entry travels alone.
const PART_BYTES: usize = 2 << 20;

type Out<T> = Pin<Box<dyn Stream<Item = Result<T, tonic::Status>> + Send>>;

/// The service of one node.
pub struct JournalService {
    journal: Journal,
    clock: Arc<dyn Clock>,
}

impl JournalService {
    pub(crate) fn of(journal: Journal, clock: Arc<dyn Clock>) -> JournalServer<JournalService> {
        JournalServer::new(JournalService { journal: journal.passed_on(), clock })
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn check(&self, cluster: u64) -> Result<(), tonic::Status> {
        check(self.journal.status_now().cluster, cluster)
    }
}

fn check(ours: u64, asked: u64) -> Result<(), tonic::Status> {
    if asked == ours {
        return Ok(());
    }
    Err(tonic::Status::failed_precondition(format!(
        "this journal node belongs to cluster {ours:x}, and you asked for {asked:x}: look at the addresses you gave"
    )))
}

#[tonic::async_trait]
impl Rpc for JournalService {
    type AskStream = Out<Answers>;
    type TailStream = Out<TailPart>;
    type StatusStream = Out<StatusPart>;

    async fn ask(
        &self,
        request: Request<Streaming<Questions>>,
    ) -> Result<Response<Self::AskStream>, tonic::Status> {
        let (out, answers) = mpsc::channel(MESSAGES_MAX);
        let cluster = self.journal.status_now().cluster;
        let conversation = Conversation::new(self.journal.clone(), cluster, request.into_inner());
        pause::spawn(conversation.run(out));
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn tail(&self, request: Request<TailRequest>) -> Result<Response<Self::TailStream>, tonic::Status> {
        let TailRequest { cluster, from } = request.into_inner();
        self.check(cluster)?;
        let (out, parts) = mpsc::channel(MESSAGES_MAX);
        pause::spawn(serve_tail(self.journal.clone(), self.clock.clone(), Lsn(from), out));
        Ok(Response::new(Box::pin(ReceiverStream::new(parts))))
    }

    async fn status(
        &self,
        request: Request<StatusRequest>,
    ) -> Result<Response<Self::StatusStream>, tonic::Status> {
        let StatusRequest { cluster } = request.into_inner();
        if cluster != 0 {
            self.check(cluster)?;
        }
        let (out, parts) = mpsc::channel(MESSAGES_MAX);
        pause::spawn(serve_status(self.journal.clone(), self.clock.clone(), out));
        Ok(Response::new(Box::pin(ReceiverStream::new(parts))))
    }
}

/// Ends where the reader has gone, the journal closes, or nobody has led for so long that what this node takes for
/// the end of the journal may be far behind it.
async fn serve_tail(
    journal: Journal,
    clock: Arc<dyn Clock>,
    from: Lsn,
    out: mpsc::Sender<Result<TailPart, tonic::Status>>,
) {
    let status = journal.status();
    let mut tail = journal.tail(from);
    let mut leaderless = Duration::ZERO;
    loop {
        let read = tokio::select! {
            () = out.closed() => return,
            read = tail.next() => read,
            () = clock.until(clock.now() + SIGN_OF_LIFE) => Ok(Vec::new()),
        };
        leaderless =
            if status.borrow().leader.is_some() { Duration::ZERO } else { leaderless + SIGN_OF_LIFE };
        let parts = match read {
            Ok(_) if leaderless > crate::remote::SILENCE_MAX => return,
            Ok(entries) => cut(&entries),
            Err(Error::Trimmed { first }) => {
                vec![TailPart { entries: Vec::new(), trimmed_first: Some(first.0) }]
            }
            Err(error) => {
                drop(out.send(Err(tonic::Status::unavailable(error.to_string()))).await);
                return;
            }
        };
        for part in parts {
            let ends = part.trimmed_first.is_some();
            if out.send(Ok(part)).await.is_err() || ends {
                return;
            }
        }
    }
}

/// Messages of about `PART_BYTES`; one without entries where there are none.
fn cut(read: &[Entry]) -> Vec<TailPart> {
    let mut parts = vec![TailPart::default()];
    let mut bytes = 0;
    for entry in read {
        let entry = entries::write(entry);
        if bytes > 0 && bytes + entry.batch.len() > PART_BYTES {
            parts.push(TailPart::default());
            bytes = 0;
        }
        bytes += entry.batch.len().max(1);
        parts.last_mut().expect("there is one").entries.push(entry);
    }
    parts
}

async fn serve_status(
    journal: Journal,
    clock: Arc<dyn Clock>,
    out: mpsc::Sender<Result<StatusPart, tonic::Status>>,
) {
    let mut changes = journal.status();
    loop {
        let told = changes.borrow_and_update().clone();
        if out.send(Ok(status::write(&told))).await.is_err() {
            return;
        }
        tokio::select! {
            () = out.closed() => return,
            matters = changes.wait_for(|now| matters(now, &told)) => {
                if matters.is_err() {
                    return;
                }
            }
            () = clock.until(clock.now() + STATUS_EVERY) => {}
        }
    }
}

/// Whether somebody waits to be told.
fn matters(now: &Status, told: &Status) -> bool {
    let what = |status: &Status| (status.leader, status.term, status.compacted);
    what(now) != what(told)
        || now.members != told.members
        || now.alarms != told.alarms
        || now.routes.version() != told.routes.version()
}
