//! What a member hands out of its snapshots to others, on the addresses for peers, and what it takes in.
//!
//! Files are read beside the runtime that serves them, in chunks and only as fast as they are taken. A node of the
//! journal without a memstore keeps sets for those that are elsewhere; any other has a folder that is its memstore's.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use journal::{Journal, Lsn, Status, machine};
use proto::snapshots::snapshots_server::{Snapshots, SnapshotsServer};
use proto::snapshots::{
    Chunk, ListAnswer, ListRequest, Pieces, ReadRequest, WriteAnswer, WriteRequest, write_request,
};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status as Refusal, Streaming};

use super::piece::Piece;
use super::{Folder, wire};
use crate::error::Error;
use crate::partition_id::{PartitionId, PartitionRange};

/// How much of a file goes into one message.
const CHUNK_BYTES: usize = 1 << 20;
/// Chunks that wait for a connection. When it is full, the file is read no further.
const CHUNKS_MAX: usize = 2;
/// Files that are read at once. Whoever asks for another one is sent away, and asks again or somebody else.
const READS_MAX: usize = 4;
/// Memstores that leave pieces, one after the other, of whom each has sent a few megabytes before it is its turn. One
/// more is sent away, and comes again with its next snapshot.
const WAITS_MAX: usize = 16;

/// The service over one folder.
pub struct SnapshotService {
    folder: Arc<Folder>,
    status: watch::Receiver<Status>,
    reads: Arc<Semaphore>,
    /// `None`: nobody but this process writes.
    kept: Option<Kept>,
}

/// What a folder needs that others write to.
#[derive(Clone)]
struct Kept {
    /// Held by whoever writes.
    writes: Arc<Mutex<()>>,
    /// Held by whoever writes or waits for that.
    waits: Arc<Semaphore>,
    /// Told how far the older of its sets reaches.
    reach: watch::Sender<Lsn>,
}

impl SnapshotService {
    /// Of the snapshots in `folder`, where the memstore of this process keeps them, which follows `journal`.
    #[must_use]
    pub fn of(folder: &Path, journal: &Journal) -> SnapshotsServer<SnapshotService> {
        SnapshotService::with(folder, journal.status())
    }

    /// Of a node of `journal` in whose process there is no memstore: those elsewhere leave their snapshots in `folder`.
    /// `reach` is told how far the older of those reaches that are kept: up to there memstores need no journal.
    ///
    /// # Errors
    /// `Io`: the folder cannot be used.
    pub fn keeping(
        folder: &Path,
        journal: &Journal,
        reach: watch::Sender<Lsn>,
    ) -> Result<SnapshotsServer<SnapshotService>, Error> {
        SnapshotService::keeping_with(folder, journal.status(), reach)
    }

    pub(crate) fn with(folder: &Path, status: watch::Receiver<Status>) -> SnapshotsServer<SnapshotService> {
        let folder = Folder::at(folder, status.borrow().cluster);
        SnapshotService::over(folder, status, None)
    }

    pub(crate) fn keeping_with(
        folder: &Path,
        status: watch::Receiver<Status>,
        reach: watch::Sender<Lsn>,
    ) -> Result<SnapshotsServer<SnapshotService>, Error> {
        let folder = Folder::open(folder, status.borrow().cluster)?;
        let kept = Kept { writes: Arc::default(), waits: Arc::new(Semaphore::new(WAITS_MAX)), reach };
        folder.forget(&[PartitionRange::all()])?;
        kept.tell(folder.reach()?);
        Ok(SnapshotService::over(folder, status, Some(kept)))
    }

    fn over(
        folder: Folder,
        status: watch::Receiver<Status>,
        kept: Option<Kept>,
    ) -> SnapshotsServer<SnapshotService> {
        let reads = Arc::new(Semaphore::new(READS_MAX));
        SnapshotsServer::new(SnapshotService { folder: Arc::new(folder), status, reads, kept })
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

impl Kept {
    fn tell(&self, kept: Option<Lsn>) {
        if let Some(kept) = kept {
            self.reach.send_if_modified(|reach| std::mem::replace(reach, kept) != kept);
        }
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
        let ReadRequest { cluster, lsn, start, offset, end } = request.into_inner();
        self.check(cluster)?;
        let busy = || Refusal::resource_exhausted("this member already hands out as much as it should");
        let permit = self.reads.clone().try_acquire_owned().map_err(|_| busy())?;
        let folder = self.folder.clone();
        let file = beside(move || {
            let end = end.map(|end| (!end.is_empty()).then_some(end));
            let Some(mut file) = folder.piece(Lsn(lsn), &start, end.as_ref())? else { return Ok(None) };
            file.seek(SeekFrom::Start(offset)).map_err(|error| Error::io(&error))?;
            Ok(Some(file))
        });
        let gone = || Refusal::not_found("this member has no such snapshot, or not any more");
        let file = file.await?.ok_or_else(gone)?;
        let (out, chunks) = mpsc::channel(CHUNKS_MAX);
        tokio::spawn(hand_out(file, out, permit));
        Ok(Response::new(Box::pin(ReceiverStream::new(chunks))))
    }

    async fn write(
        &self,
        request: Request<Streaming<WriteRequest>>,
    ) -> Result<Response<WriteAnswer>, Refusal> {
        let own = || {
            Refusal::failed_precondition("this member keeps the snapshots of its own memstore and no others")
        };
        let kept = self.kept.as_ref().ok_or_else(own)?;
        let mut parts = request.into_inner();
        let part = parts.message().await?.and_then(|request| request.part);
        let Some(write_request::Part::Begin(Pieces { cluster, pieces })) = part else {
            return Err(Refusal::invalid_argument("what is to come was not said"));
        };
        self.check(cluster)?;
        let busy = |_| Refusal::resource_exhausted("too many memstores leave their snapshots here just now");
        let _waits = kept.waits.try_acquire().map_err(busy)?;
        let _alone = kept.writes.lock().await;
        let pieces = pieces.iter().map(|piece| wire::read(piece, cluster, PartitionId(0)));
        take_in(&self.folder, pieces.collect(), parts).await?;
        let folder = self.folder.clone();
        let reach = beside(move || {
            folder.forget(&[PartitionRange::all()])?;
            folder.reach()
        });
        kept.tell(reach.await?);
        Ok(Response::new(WriteAnswer {}))
    }
}

/// Takes a set in, as long as the writer goes on.
async fn take_in(
    folder: &Arc<Folder>,
    pieces: Vec<Piece>,
    mut parts: Streaming<WriteRequest>,
) -> Result<(), Refusal> {
    let folder = folder.clone();
    let mut incoming = beside(move || folder.receive(pieces)).await?;
    while incoming.wanted().map_err(|error| refusal(&error))?.is_some() {
        let part = parts.message().await?.and_then(|request| request.part);
        let Some(write_request::Part::Chunk(Chunk { data })) = part else {
            return Err(Refusal::invalid_argument("the bytes end before the pieces do"));
        };
        incoming = beside(move || incoming.take(&data).map(|()| incoming)).await?;
    }
    beside(move || incoming.finish()).await
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
    let read = machine::spawn_blocking(read).await;
    let read = read.map_err(|_| Refusal::unavailable("the member is stopping"))?;
    read.map_err(|error| refusal(&error))
}

fn refusal(error: &Error) -> Refusal {
    match error {
        Error::Corrupt(reason) => Refusal::data_loss(reason.clone()),
        error => Refusal::internal(error.to_string()),
    }
}
