//! What a member hands out of its snapshots to others, on the addresses for peers.
//!
//! Files are read beside the runtime that serves them, in chunks and only as fast as they are taken.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use journal::{Journal, Lsn, Status};
use proto::snapshots::snapshots_server::{Snapshots, SnapshotsServer};
use proto::snapshots::{Chunk, ListAnswer, ListRequest, ReadRequest};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status as Refusal};

use super::{Folder, wire};
use crate::error::Error;

/// How much of a file goes into one message.
const CHUNK_BYTES: usize = 1 << 20;
/// Chunks that wait for a connection. When it is full, the file is read no further.
const CHUNKS_MAX: usize = 2;
/// Files that are read at once. Whoever asks for another one is sent away, and asks again or somebody else.
const READS_MAX: usize = 4;

/// The service over one folder.
pub struct SnapshotService {
    folder: Arc<Folder>,
    status: watch::Receiver<Status>,
    reads: Arc<Semaphore>,
}

impl SnapshotService {
    /// Of the snapshots in `folder`, where the memstore of this process keeps them, which follows `journal`.
    #[must_use]
    pub fn of(folder: &Path, journal: &Journal) -> SnapshotsServer<SnapshotService> {
        SnapshotService::with(folder, journal.status())
    }

    pub(crate) fn with(folder: &Path, status: watch::Receiver<Status>) -> SnapshotsServer<SnapshotService> {
        let folder = Arc::new(Folder::at(folder, status.borrow().cluster));
        SnapshotsServer::new(SnapshotService { folder, status, reads: Arc::new(Semaphore::new(READS_MAX)) })
    }

    fn check(&self, asked: u64) -> Result<(), Refusal> {
        let ours = self.folder.cluster;
        if asked == ours {
            return Ok(());
        }
        Err(Refusal::failed_precondition(format!(
            "this member belongs to cluster {ours:x}, and you asked for snapshots of {asked:x}: look at the addresses \
             you gave"
        )))
    }
}

#[tonic::async_trait]
impl Snapshots for SnapshotService {
    type ReadStream = Pin<Box<dyn Stream<Item = Result<Chunk, Refusal>> + Send>>;

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListAnswer>, Refusal> {
        self.check(request.into_inner().cluster)?;
        let journal_first = self.status.borrow().first.0;
        let folder = self.folder.clone();
        let pieces = beside(move || folder.pieces()).await?.into_iter().map(wire::write).collect();
        Ok(Response::new(ListAnswer { pieces, journal_first }))
    }

    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<Self::ReadStream>, Refusal> {
        let ReadRequest { cluster, lsn, start, offset } = request.into_inner();
        self.check(cluster)?;
        let busy = || Refusal::resource_exhausted("this member already hands out as much as it should");
        let permit = self.reads.clone().try_acquire_owned().map_err(|_| busy())?;
        let folder = self.folder.clone();
        let file = beside(move || {
            let Some(mut file) = folder.piece(Lsn(lsn), &start)? else { return Ok(None) };
            file.seek(SeekFrom::Start(offset)).map_err(|error| Error::io(&error))?;
            Ok(Some(file))
        });
        let gone = || Refusal::not_found("this member has no such snapshot, or not any more");
        let file = file.await?.ok_or_else(gone)?;
        let (out, chunks) = mpsc::channel(CHUNKS_MAX);
        tokio::spawn(hand_out(file, out, permit));
        Ok(Response::new(Box::pin(ReceiverStream::new(chunks))))
    }
}

/// Reads to the end, or until nobody takes any more.
async fn hand_out(mut file: File, out: mpsc::Sender<Result<Chunk, Refusal>>, _permit: OwnedSemaphorePermit) {
    while let Ok(place) = out.reserve().await {
        let read = beside(move || {
            let mut data = Vec::with_capacity(CHUNK_BYTES);
            let part = (&mut file).take(CHUNK_BYTES as u64).read_to_end(&mut data);
            part.map_err(|error| Error::io(&error))?;
            Ok((file, Bytes::from(data)))
        });
        match read.await {
            Ok((_, data)) if data.is_empty() => return,
            Ok((rest, data)) => {
                file = rest;
                place.send(Ok(Chunk { data }));
            }
            Err(refusal) => return place.send(Err(refusal)),
        }
    }
}

/// Where waiting for a disk delays nobody.
async fn beside<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Refusal> {
    let read = tokio::task::spawn_blocking(read).await;
    let read = read.map_err(|_| Refusal::unavailable("the member is stopping"))?;
    read.map_err(|error| Refusal::internal(error.to_string()))
}
