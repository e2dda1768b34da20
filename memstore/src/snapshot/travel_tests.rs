//! A set comes from another member as it is there, or not at all.

use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use journal::{Clock, Dialer, Lsn, Revision, Status, SystemClock};
use proto::snapshots::snapshots_server::{Snapshots, SnapshotsServer};
use proto::snapshots::{Chunk, ListAnswer, ListRequest, ReadRequest, WriteAnswer, WriteRequest};
use tokio::sync::watch;
use tokio_stream::Stream;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status as Refused, Streaming};

use super::peer::{Peer, Refusal};
use super::piece::Piece;
use super::{Folder, Header, SnapshotService, wire};
use crate::error::Error;
use crate::key_value::{KeyValue, Version};
use crate::partition_id::PartitionRange;

pub(crate) const CLUSTER: u64 = 0xC0FFEE;
const VALUE_BYTES: usize = 100_000;

fn version(number: u64) -> Version {
    let key = Bytes::from(if number.is_multiple_of(2) { "a" } else { "z" });
    let value = Bytes::from(vec![7; VALUE_BYTES]);
    let kv = KeyValue { value, version: 1, ..KeyValue::deleted(key, Revision(number)) };
    Version { sub: 0, kv: KeyValue { create_revision: Revision(number), ..kv } }
}

/// A folder with a set of two partitions, of some megabytes, at each position.
pub(crate) fn written(directory: &Path, cluster: u64, positions: &[u64]) {
    let folder = Folder::open(directory, cluster).expect("the disk is fine");
    for lsn in positions {
        let header = |range| Header {
            cluster,
            lsn: Lsn(*lsn),
            revision: Revision(*lsn),
            compacted: Revision::ZERO,
            range,
        };
        let ranges = PartitionRange::split(&[Bytes::from("m")]);
        let headers: Vec<_> = ranges.into_iter().map(header).collect();
        let write = folder.write(&headers, |header, sink| {
            let versions = (2..=*lsn).map(version);
            versions.filter(|version| header.range.contains(&version.kv.key)).try_for_each(|one| sink(&one))
        });
        write.expect("the disk is fine");
    }
}

/// What is not as it should be about a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    FlipsBit(usize),
    EndsEarly,
    GoesOn,
    /// The first stream breaks in its middle.
    BreaksOnce,
    BreaksAlways,
    OffersOtherHash,
    OffersTwice,
    OffersTooMuch,
}

/// A member that may lie.
pub(crate) struct Member {
    folder: Folder,
    fault: Fault,
    journal_first: u64,
    pub(crate) offsets: Arc<Mutex<Vec<u64>>>,
}

impl Member {
    pub(crate) fn new(directory: &Path, cluster: u64, fault: Fault) -> Member {
        let folder = Folder::at(directory, cluster);
        Member { folder, fault, journal_first: 1_000, offsets: Arc::default() }
    }

    fn pieces(&self) -> Vec<Piece> {
        let mut pieces = self.folder.pieces().expect("the disk is fine");
        match self.fault {
            Fault::OffersOtherHash => pieces.iter_mut().for_each(|piece| piece.summary.set_hash += 1),
            Fault::OffersTwice => pieces.extend_from_within(..),
            Fault::OffersTooMuch => pieces[0].bytes = u64::MAX / 2,
            _ => {}
        }
        pieces
    }

    fn chunks(&self, mut bytes: Vec<u8>, is_first: bool) -> Vec<Result<Chunk, Refused>> {
        let half = bytes.len() / 2;
        let mut ends = None;
        match self.fault {
            Fault::FlipsBit(at) => {
                let at = at % bytes.len();
                bytes[at] ^= 1;
            }
            Fault::EndsEarly => bytes.truncate(half),
            Fault::GoesOn => bytes.push(0),
            Fault::BreaksOnce if is_first => ends = Some(half),
            Fault::BreaksAlways => ends = Some(0),
            _ => {}
        }
        if let Some(at) = ends {
            bytes.truncate(at);
        }
        let chunk = |data: &[u8]| Ok(Chunk { data: Bytes::copy_from_slice(data) });
        let mut chunks: Vec<_> = bytes.chunks(300_000).map(chunk).collect();
        chunks.extend(ends.map(|_| Err(Refused::unavailable("the line is cut"))));
        chunks
    }
}

#[tonic::async_trait]
impl Snapshots for Member {
    type ReadStream = Pin<Box<dyn Stream<Item = Result<Chunk, Refused>> + Send>>;

    async fn list(&self, _: Request<ListRequest>) -> Result<Response<ListAnswer>, Refused> {
        let pieces = self.pieces().into_iter().map(wire::write).collect();
        Ok(Response::new(ListAnswer { pieces, journal_first: self.journal_first }))
    }

    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<Self::ReadStream>, Refused> {
        use std::io::{Read, Seek, SeekFrom};
        let ReadRequest { lsn, start, offset, end, .. } = request.into_inner();
        let end = end.map(|end| (!end.is_empty()).then_some(end));
        let mut offsets = self.offsets.lock().expect("nobody panics");
        offsets.push(offset);
        let mut file = self
            .folder
            .piece(Lsn(lsn), &start, end.as_ref())
            .expect("the disk is fine")
            .expect("it is there");
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(offset))
            .and_then(|_| file.read_to_end(&mut bytes))
            .expect("it was written");
        let chunks = self.chunks(bytes, offsets.len() == 1);
        Ok(Response::new(Box::pin(tokio_stream::iter(chunks))))
    }

    async fn write(&self, _: Request<Streaming<WriteRequest>>) -> Result<Response<WriteAnswer>, Refused> {
        Err(Refused::unimplemented("it takes nothing"))
    }
}

/// Serves until the runtime ends. Answers the URL.
pub(crate) fn serve<S: Snapshots>(service: SnapshotsServer<S>) -> String {
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let incoming = TcpIncoming::bind(any).expect("a port is free");
    let url = format!("http://{}", incoming.local_addr().expect("it is bound"));
    tokio::spawn(Server::builder().serve_with_incoming(service, incoming));
    url
}

/// The service as members have it.
pub(crate) fn served(directory: &Path, cluster: u64, journal_first: u64) -> String {
    let (_, status) = watch::channel(Status { cluster, first: Lsn(journal_first), ..Status::default() });
    serve(SnapshotService::with(directory, status))
}

fn peer(url: &str) -> Peer {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    Peer::at(url, &Dialer::plain(), CLUSTER, clock).expect("it is an address")
}

pub(crate) fn target(directory: &Path) -> Arc<Folder> {
    Arc::new(Folder::open(directory, CLUSTER).expect("the disk is fine"))
}

/// Whether nothing of what came is left.
pub(crate) fn is_clean(directory: &Path) -> bool {
    let names = std::fs::read_dir(directory).expect("the disk is fine").flatten();
    names.map(|entry| entry.file_name()).all(|name| !name.to_string_lossy().starts_with("fetched"))
}

async fn fetch(url: &str, folder: &Arc<Folder>) -> Result<(), Refusal> {
    let offer = peer(url).offer().await?;
    let newest = offer.pieces.iter().map(|piece| piece.header.lsn).max();
    let pieces = offer.pieces.into_iter().filter(|piece| Some(piece.header.lsn) == newest);
    peer(url).fetch(folder, pieces.collect()).await
}

#[tokio::test]
async fn a_set_comes_as_it_is() {
    let [there, here] = [(); 2].map(|()| tempfile::tempdir().expect("the disk is fine"));
    written(there.path(), CLUSTER, &[40, 50]);
    let url = served(there.path(), CLUSTER, 41);
    let offer = peer(&url).offer().await.expect("it answers");
    assert_eq!(offer.journal_first, Lsn(41));
    assert!(offer.pieces.iter().map(|piece| piece.header.lsn.0).eq([40, 40, 50, 50]));
    let folder = target(here.path());
    fetch(&url, &folder).await.expect("nothing is damaged");
    assert_eq!(folder.sets(), Ok(vec![Lsn(50)]));
    let there = Folder::at(there.path(), CLUSTER);
    assert_eq!(folder.verify(Lsn(50)), there.verify(Lsn(50)));
    assert!(is_clean(here.path()));
}

#[tokio::test]
async fn what_is_damaged_on_the_way_is_refused_and_leaves_nothing() {
    let [there, here] = [(); 2].map(|()| tempfile::tempdir().expect("the disk is fine"));
    written(there.path(), CLUSTER, &[30]);
    let folder = target(here.path());
    let bits = (0..40).map(|part| Fault::FlipsBit(part * 61_803));
    let others =
        [Fault::FlipsBit(0), Fault::EndsEarly, Fault::GoesOn, Fault::OffersOtherHash, Fault::OffersTwice];
    for fault in bits.chain(others) {
        let url = serve(SnapshotsServer::new(Member::new(there.path(), CLUSTER, fault)));
        let refused = fetch(&url, &folder).await;
        assert!(matches!(refused, Err(Refusal::Useless(_))), "{fault:?}: {refused:?}");
        assert!(folder.sets().expect("the disk is fine").is_empty(), "{fault:?}");
        assert!(is_clean(here.path()), "{fault:?}");
    }
}

#[tokio::test]
async fn a_stream_that_breaks_goes_on_where_it_ended() {
    let [there, here] = [(); 2].map(|()| tempfile::tempdir().expect("the disk is fine"));
    written(there.path(), CLUSTER, &[30]);
    let member = Member::new(there.path(), CLUSTER, Fault::BreaksOnce);
    let offsets = member.offsets.clone();
    let folder = target(here.path());
    fetch(&serve(SnapshotsServer::new(member)), &folder).await.expect("all of it comes");
    folder.verify(Lsn(30)).expect("it is whole");
    let offsets = offsets.lock().expect("nobody panics").clone();
    assert!(matches!(offsets[..], [0, more, 0] if more > 0), "{offsets:?}");

    let url = serve(SnapshotsServer::new(Member::new(there.path(), CLUSTER, Fault::BreaksAlways)));
    let refused = fetch(&url, &folder).await;
    assert!(matches!(&refused, Err(Refusal::Silent(reason)) if reason == "the line is cut"), "{refused:?}");
}

#[tokio::test]
async fn what_has_no_room_is_not_begun() {
    let [there, here] = [(); 2].map(|()| tempfile::tempdir().expect("the disk is fine"));
    written(there.path(), CLUSTER, &[3]);
    let url = serve(SnapshotsServer::new(Member::new(there.path(), CLUSTER, Fault::OffersTooMuch)));
    let refused = fetch(&url, &target(here.path())).await;
    let Err(Refusal::Here(Error::Io(reason))) = refused else { panic!("{refused:?}") };
    assert!(reason.contains("make room"), "{reason}");
    assert!(is_clean(here.path()));
}

#[tokio::test]
async fn a_member_of_another_cluster_hands_out_nothing() {
    let there = tempfile::tempdir().expect("the disk is fine");
    written(there.path(), CLUSTER + 1, &[3]);
    let refused = peer(&served(there.path(), CLUSTER + 1, 1)).offer().await;
    let Err(Refusal::Useless(reason)) = refused else { panic!("{refused:?}") };
    assert!(reason.contains("belongs to cluster c0ffef, and you asked for snapshots of c0ffee"), "{reason}");
}

/// Its program says that it is of ours, and its folder holds another's.
#[tokio::test]
async fn a_set_of_another_cluster_is_refused() {
    let [there, here] = [(); 2].map(|()| tempfile::tempdir().expect("the disk is fine"));
    written(there.path(), CLUSTER + 1, &[3]);
    let member = Member::new(there.path(), CLUSTER + 1, Fault::None);
    let refused = fetch(&serve(SnapshotsServer::new(member)), &target(here.path())).await;
    assert!(matches!(refused, Err(Refusal::Useless(_))), "{refused:?}");
}
