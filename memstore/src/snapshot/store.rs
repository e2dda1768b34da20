//! Snapshots as objects, in a place that outlives all members: S3, or a folder that they share.
//!
//!     s3://bucket/prefix/
//!     └─ 000000000000beef/                      the cluster
//!        └─ 00000000000000041200/               a position of the journal
//!           └─ 5f0c11aa00000001.partition       a piece; the name tells its keys apart from those of others
//!
//! Objects are written once, and what they are of is read from their first and their last bytes. Nothing of them is
//! believed: what comes is checked as what comes from a member is. Whoever leaves a piece here removes what no key
//! needs any more; several who do so at once remove the same.

mod http;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, TryStreamExt};
use journal::{Clock, Lsn, machine};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload};
use parking_lot::Mutex;
use tracing::{info, warn};

use self::http::Http;
use super::cover::Cover;
use super::format::{SUMMARY_BLOCK_BYTES, get_summary};
use super::incoming::Wanted;
use super::journal_nodes::lacking;
use super::peer::Refusal;
use super::piece::Piece;
use super::reader::Reader;
use super::restore::{Held, named};
use super::{Folder, Header};
use crate::error::Error;
use crate::partition_id::{PartitionId, PartitionRange};

/// How long the store may take for one thing, tries and all.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// What is sent at once: parts of S3 have at least 5 MiB, and an object at most 10,000 parts.
const PART_BYTES: usize = 8 << 20;
/// Where a piece's header is looked for, first and then.
const HEADER_BYTES: [u64; 2] = [4 << 10, 16 << 20];
/// More objects than this are not what we have left there.
const OBJECTS_MAX: usize = 100_000;

/// A place for snapshots, by its URL.
#[derive(Clone)]
pub struct SnapshotStore {
    url: String,
    objects: Arc<dyn ObjectStore>,
    prefix: Path,
}

impl fmt::Debug for SnapshotStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl SnapshotStore {
    /// `s3://bucket/prefix`, where the `AWS_*` variables of the environment say how to get there, or `file:///folder`.
    ///
    /// # Errors
    /// `Io`: what is wrong with it.
    pub fn open(url: &str) -> Result<SnapshotStore, Error> {
        if let Some(folder) = url.strip_prefix("file://") {
            std::fs::create_dir_all(folder).map_err(|error| Error::Io(format!("{url}: {error}")))?;
            let objects = LocalFileSystem::new_with_prefix(folder).map_err(|error| unusable(url, &error))?;
            let objects = Arc::new(objects.with_fsync(true).with_automatic_cleanup(true));
            return Ok(SnapshotStore { url: url.to_owned(), objects, prefix: Path::default() });
        }
        SnapshotStore::s3(url, AmazonS3Builder::from_env())
    }

    pub(crate) fn s3(url: &str, builder: AmazonS3Builder) -> Result<SnapshotStore, Error> {
        let place = url.strip_prefix("s3://").filter(|place| !place.is_empty() && !place.starts_with('/'));
        let place = place.ok_or_else(|| {
            Error::Io(format!("{url} is no place for snapshots: name s3://bucket/prefix or file:///folder"))
        })?;
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint);
        let is_plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
        let builder =
            builder.with_bucket_name(bucket).with_allow_http(is_plain).with_http_connector(Http::new()?);
        let objects = Arc::new(builder.build().map_err(|error| unusable(url, &error))?);
        let prefix =
            Path::parse(prefix.trim_end_matches('/')).map_err(|error| unusable(url, &error.into()))?;
        Ok(SnapshotStore { url: url.to_owned(), objects, prefix })
    }

    /// What is there of a cluster.
    pub(crate) fn of(self, cluster: u64, clock: Arc<dyn Clock>) -> Store {
        let prefix = self.prefix.clone().join(format!("{cluster:016x}"));
        Store { place: self, prefix, cluster, clock, known: Arc::default() }
    }
}

/// The snapshots of one cluster in such a place.
#[derive(Clone)]
pub(crate) struct Store {
    place: SnapshotStore,
    prefix: Path,
    cluster: u64,
    clock: Arc<dyn Clock>,
    /// What the objects hold that were there last. They do not change.
    known: Arc<Mutex<BTreeMap<Path, Piece>>>,
}

impl Store {
    pub(crate) fn url(&self) -> &str {
        &self.place.url
    }

    /// What is there. An object that cannot be used is left out.
    pub(crate) async fn pieces(&self) -> Result<Vec<Piece>, Refusal> {
        let mut objects = self.place.objects.list(Some(&self.prefix));
        let mut found = BTreeMap::new();
        while let Some(object) = self.timely(objects.try_next()).await? {
            if found.len() == OBJECTS_MAX {
                return Err(Refusal::Useless(format!("more than {OBJECTS_MAX} objects are there")));
            }
            if !object.location.as_ref().ends_with(".partition") {
                continue;
            }
            let known = self.known.lock().get(&object.location).cloned();
            match known.filter(|piece| piece.bytes == object.size) {
                Some(piece) => drop(found.insert(object.location, piece)),
                None => match self.read(&object).await? {
                    Ok(piece) => drop(found.insert(object.location, piece)),
                    Err(error) => {
                        warn!(object = %object.location, %error, "an object is no snapshot of ours")
                    }
                },
            }
        }
        let pieces = found.values().cloned().collect();
        *self.known.lock() = found;
        Ok(pieces)
    }

    /// What an object says that it is.
    async fn read(&self, object: &ObjectMeta) -> Result<Result<Piece, Error>, Refusal> {
        let summary_bytes = SUMMARY_BLOCK_BYTES as u64;
        let Some(summary_at) = object.size.checked_sub(summary_bytes) else {
            return Ok(Err(Error::Corrupt("it is shorter than any snapshot".into())));
        };
        let mut header = Err(Error::Corrupt("it has no header".into()));
        for upto in HEADER_BYTES {
            let begin = self.range(&object.location, 0..upto.min(object.size)).await?;
            header = Reader::open(&begin[..], PartitionId(0)).map(|reader| reader.header().clone());
            if header.is_ok() || object.size <= upto {
                break;
            }
        }
        let end = self.range(&object.location, summary_at..object.size).await?;
        Ok(self.piece(object, header, &end))
    }

    fn piece(&self, object: &ObjectMeta, header: Result<Header, Error>, end: &[u8]) -> Result<Piece, Error> {
        let piece = Piece {
            header: header?,
            bytes: object.size,
            summary: get_summary(&mut end.get(8..).unwrap_or_default())?,
        };
        if piece.header.cluster != self.cluster || self.location(&piece.header) != object.location {
            return Err(Error::Corrupt("it is not what its name says".into()));
        }
        Ok(piece)
    }

    /// Sees to it that these pieces of the folder are there, or later ones, and no more than that takes.
    ///
    /// # Errors
    /// `Io`: they are not, and why.
    pub(crate) async fn hold(&self, folder: &Arc<Folder>, pieces: &[Header]) -> Result<(), Error> {
        let held = async {
            let there = self.pieces().await?;
            for (lsn, ranges) in lacking(pieces, &there) {
                self.leave(folder, lsn, &ranges).await?;
            }
            self.forget().await
        };
        held.await.map_err(|refusal| match refusal {
            Refusal::Here(error) => error,
            Refusal::Silent(reason) | Refusal::Useless(reason) => {
                Error::Io(format!("{}: {reason}", self.url()))
            }
        })
    }

    async fn leave(&self, folder: &Arc<Folder>, lsn: Lsn, ranges: &[PartitionRange]) -> Result<(), Refusal> {
        let held = folder.set(lsn).map_err(Refusal::Here)?.files;
        for held in held.iter().filter(|held| ranges.iter().any(|range| range.same_keys(&held.header.range)))
        {
            self.write(held).await?;
            info!(url = self.url(), position = lsn.0, "the store holds the snapshot");
        }
        Ok(())
    }

    async fn write(&self, held: &Held) -> Result<(), Refusal> {
        let location = self.location(&held.header);
        let name = |error: &std::io::Error| Refusal::Here(named(&held.path, Error::io(error)));
        let file = Arc::new(File::open(&held.path).map_err(|error| name(&error))?);
        let next = async || {
            let file = file.clone();
            let read = machine::spawn_blocking(move || {
                let mut part = Vec::with_capacity(PART_BYTES);
                (&*file).take(PART_BYTES as u64).read_to_end(&mut part).map(|_| part)
            });
            read.await.map_err(|error| Refusal::Silent(error.to_string()))?.map_err(|error| name(&error))
        };
        let first = next().await?;
        if first.len() < PART_BYTES {
            let put = self.place.objects.put(&location, PutPayload::from(first));
            return self.timely(put).await.map(|_| ());
        }
        let mut upload = self.timely(self.place.objects.put_multipart(&location)).await?;
        let sent = async {
            let mut part = first;
            while !part.is_empty() {
                let put = upload.put_part(PutPayload::from(part));
                self.timely(put).await?;
                part = next().await?;
            }
            self.timely(upload.complete()).await
        };
        if let Err(refusal) = sent.await {
            // Parts that are never completed would lie there, and cost.
            if let Err(refusal) = self.timely(upload.abort()).await {
                warn!(url = self.url(), ?refusal, "parts of a snapshot are left in the store");
            }
            return Err(refusal);
        }
        Ok(())
    }

    /// Brings pieces of one position into the folder.
    pub(crate) async fn fetch(&self, folder: &Arc<Folder>, pieces: Vec<Piece>) -> Result<(), Refusal> {
        let headers: Vec<Header> = pieces.iter().map(|piece| piece.header.clone()).collect();
        let mut incoming = folder.receive(pieces).map_err(Refusal::from)?;
        while let Some(Wanted { start, end, offset, .. }) = incoming.wanted().map_err(Refusal::from)? {
            let is_it = |header: &&Header| header.range.start == start && header.range.end == end;
            let header = headers.iter().find(is_it).expect("it is one of those that are to come");
            let range = Some(GetRange::Offset(offset));
            let (location, options) = (self.location(header), GetOptions { range, ..GetOptions::default() });
            let before = incoming.progress().0;
            let mut stream =
                self.timely(self.place.objects.get_opts(&location, options)).await?.into_stream();
            while let Some(chunk) = self.timely(stream.try_next()).await? {
                incoming.take(&chunk).map_err(Refusal::from)?;
            }
            if incoming.progress().0 == before {
                return Err(Refusal::Useless("its snapshot is shorter than it says".into()));
            }
        }
        let finished = machine::spawn_blocking(|| incoming.finish()).await;
        finished.map_err(|error| Refusal::Silent(error.to_string()))?.map_err(Refusal::from)
    }

    /// Removes what is not needed so that of each key the newest two pieces are there.
    async fn forget(&self) -> Result<(), Refusal> {
        let pieces = self.pieces().await?;
        let superfluous =
            Cover::of(pieces.iter().map(|piece| &piece.header)).superfluous(&[PartitionRange::all()]);
        for at in superfluous {
            let location = self.location(&pieces[at].header);
            let deleted = self.place.objects.delete(&location).map(|deleted| match deleted {
                // Somebody else was faster.
                Err(object_store::Error::NotFound { .. }) => Ok(()),
                deleted => deleted,
            });
            self.timely(deleted).await?;
        }
        Ok(())
    }

    async fn range(&self, location: &Path, range: std::ops::Range<u64>) -> Result<Bytes, Refusal> {
        self.timely(self.place.objects.get_range(location, range)).await
    }

    fn location(&self, header: &Header) -> Path {
        let PartitionRange { start, end, .. } = &header.range;
        // Without end it is as with one that no key has.
        let end = end.as_ref().map_or(0, |end| crc32c::crc32c_append(1, end));
        let name = format!("{:08x}{end:08x}.partition", crc32c::crc32c(start));
        self.prefix.clone().join(format!("{:020}", header.lsn.0)).join(name)
    }

    async fn timely<T>(&self, answer: impl Future<Output = object_store::Result<T>>) -> Result<T, Refusal> {
        tokio::select! {
            biased;
            answer = answer => answer.map_err(|error| Refusal::Silent(error.to_string())),
            () = self.clock.until(self.clock.now() + ANSWER_MAX) => {
                Err(Refusal::Silent(format!("it does not answer within {ANSWER_MAX:?}")))
            }
        }
    }
}

fn unusable(url: &str, error: &object_store::Error) -> Error {
    Error::Io(format!("{url} cannot be used for snapshots: {error}"))
}
