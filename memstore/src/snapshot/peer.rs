//! Another member, as one that has what this one lacks.

use std::sync::Arc;
use std::time::Duration;

use journal::{Clock, Dialer, Lsn, machine};
use proto::snapshots::snapshots_client::SnapshotsClient;
use proto::snapshots::{Chunk, ListRequest, ReadRequest};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Streaming};

use super::incoming::{Incoming, Wanted};
use super::leaving::Leaving;
use super::piece::Piece;
use super::{Folder, wire};
use crate::error::Error;
use crate::partition_id::{PartitionId, PartitionRange};

/// How long a member may take to answer, or to send the next chunk.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// A larger answer is refused unread: it names some ten thousand pieces.
const LIST_BYTES_MAX: usize = 1 << 20;
/// Chunks on their way to a member that does not take them yet. When it is full, no more is read from disk.
const CHUNKS_MAX: usize = 2;
/// How long a member may take to write a whole set. A peer that has gone silent is found out sooner.
const WRITE_MAX: Duration = Duration::from_secs(1_800);
const CHUNK_BYTES_MAX: usize = 2 << 20;
/// How often a stream that breaks is opened again without anything having come meanwhile.
const TRIES_MAX: u32 = 3;
/// How often progress is told of: a hundredth part of this each time.
const TOLD_PERCENT: u64 = 10;

/// Why nothing is had from a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It may answer otherwise when it is asked again.
    Silent(String),
    /// What it has is of no use.
    Useless(String),
    /// This member's own disk. Nobody else can help.
    Here(Error),
}

/// What a member has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) pieces: Vec<Piece>,
    /// The first position that its journal still has.
    pub(crate) journal_first: Lsn,
}

/// A member at one of its addresses.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) url: String,
    client: SnapshotsClient<Channel>,
    cluster: u64,
    clock: Arc<dyn Clock>,
}

impl Peer {
    pub(crate) fn at(
        url: &str,
        dialer: &Dialer,
        cluster: u64,
        clock: Arc<dyn Clock>,
    ) -> Result<Peer, Refusal> {
        let channel = dialer.channel(url).map_err(|error| Refusal::Useless(error.to_string()))?;
        let client = SnapshotsClient::new(channel).max_decoding_message_size(CHUNK_BYTES_MAX);
        Ok(Peer { url: url.to_owned(), client, cluster, clock })
    }

    pub(crate) async fn offer(&self) -> Result<Offer, Refusal> {
        let mut client = self.client.clone().max_decoding_message_size(LIST_BYTES_MAX);
        let answer = self.timely(client.list(ListRequest { cluster: self.cluster })).await?.into_inner();
        // What it is numbered by there is of no meaning here.
        let read = |piece| wire::read(piece, self.cluster, PartitionId(0));
        let pieces = answer.pieces.iter().map(read).collect();
        Ok(Offer { pieces, journal_first: Lsn(answer.journal_first) })
    }

    /// Brings pieces of one position into the folder. Where a stream breaks, the next one begins where it ended.
    pub(crate) async fn fetch(&self, folder: &Arc<Folder>, pieces: Vec<Piece>) -> Result<(), Refusal> {
        let mut incoming = folder.receive(pieces).map_err(Refusal::from)?;
        let (mut tries, mut told) = (0, 0);
        while let Some(wanted) = incoming.wanted().map_err(Refusal::from)? {
            let before = incoming.progress().0;
            let read = self.read(wanted, &mut incoming, &mut told).await;
            tries = if before < incoming.progress().0 { 0 } else { tries + 1 };
            match read {
                Err(Refusal::Silent(reason)) if tries < TRIES_MAX => {
                    tracing::debug!(url = self.url, reason, "a snapshot's stream broke and is opened again");
                }
                Err(refusal) => return Err(refusal),
                Ok(()) if tries == TRIES_MAX => {
                    return Err(Refusal::Useless("its snapshot is shorter than it says".into()));
                }
                Ok(()) => {}
            }
        }
        let finished = machine::spawn_blocking(|| incoming.finish()).await;
        finished.map_err(|error| Refusal::Silent(error.to_string()))?.map_err(Refusal::from)
    }

    /// Leaves those pieces of a set of the folder there that have these keys. They are whole and durable there when this
    /// returns.
    pub(crate) async fn write(
        &self,
        folder: &Arc<Folder>,
        lsn: Lsn,
        ranges: Vec<PartitionRange>,
    ) -> Result<(), Refusal> {
        let folder = folder.clone();
        let leaving = machine::spawn_blocking(move || Leaving::open(&folder, lsn, &ranges)).await;
        let leaving = leaving.map_err(|error| Refusal::Silent(error.to_string()))?.map_err(Refusal::Here)?;
        let (out, parts) = mpsc::channel(CHUNKS_MAX);
        let mut client = self.client.clone();
        let written = client.write(ReceiverStream::new(parts));
        let both = async {
            let (sent, written) = tokio::join!(leaving.send(out), written);
            sent.map_err(Refusal::Here)?;
            written.map_err(refusal)
        };
        tokio::select! {
            both = both => both.map(|_| ()),
            () = self.clock.until(self.clock.now() + WRITE_MAX) => {
                Err(Refusal::Silent(format!("it does not take the snapshot within {WRITE_MAX:?}")))
            }
        }
    }

    /// Reads one stream to its end, or to the end of what was wanted.
    async fn read(&self, wanted: Wanted, incoming: &mut Incoming, told: &mut u64) -> Result<(), Refusal> {
        let Wanted { lsn, start, end, offset } = wanted.clone();
        let end = Some(end.unwrap_or_default());
        let request = ReadRequest { cluster: self.cluster, lsn: lsn.0, start, offset, end };
        let mut client = self.client.clone();
        let mut stream = self.timely(client.read(request)).await?.into_inner();
        while let Some(chunk) = self.next(&mut stream).await? {
            incoming.take(&chunk.data).map_err(Refusal::from)?;
            let (here, all) = incoming.progress();
            let percent = here.saturating_mul(100) / all.max(1);
            if *told + TOLD_PERCENT <= percent {
                *told = percent;
                tracing::info!(
                    position = lsn.0,
                    percent,
                    bytes = all,
                    "a snapshot comes from another member"
                );
            }
        }
        Ok(())
    }

    async fn next(&self, stream: &mut Streaming<Chunk>) -> Result<Option<Chunk>, Refusal> {
        self.timely(stream.message()).await
    }

    async fn timely<T>(&self, answer: impl Future<Output = Result<T, tonic::Status>>) -> Result<T, Refusal> {
        tokio::select! {
            biased;
            answer = answer => answer.map_err(refusal),
            () = self.clock.until(self.clock.now() + ANSWER_MAX) => {
                Err(Refusal::Silent(format!("it does not answer within {ANSWER_MAX:?}")))
            }
        }
    }
}

fn refusal(status: tonic::Status) -> Refusal {
    let reason = status.message().to_owned();
    match status.code() {
        Code::FailedPrecondition | Code::Unimplemented | Code::OutOfRange => Refusal::Useless(reason),
        _ => Refusal::Silent(reason),
    }
}

/// What is wrong with what came, or with the disk that it came to.
impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        match error {
            Error::Corrupt(reason) => Refusal::Useless(reason),
            error => Refusal::Here(error),
        }
    }
}
