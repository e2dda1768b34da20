//! What is left in a store comes back whole, from a folder and from S3, or is refused.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use journal::{Lsn, SystemClock};
use object_store::aws::AmazonS3Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::peer::Refusal;
use super::piece::Piece;
use super::travel_tests::{CLUSTER, is_clean, target, written};
use super::{Folder, Header, SnapshotStore, Store};
use crate::error::Error;

const BUCKET: &str = "snapshots";
const SECRET: &str = "a secret that both know";

fn folder() -> TempDir {
    tempfile::tempdir().expect("the disk is fine")
}

/// A server that speaks S3 and keeps objects in a folder, until the runtime ends.
async fn serve(objects: &Path) -> SocketAddr {
    std::fs::create_dir_all(objects.join(BUCKET)).expect("the disk is fine");
    let mut service = S3ServiceBuilder::new(FileSystem::new(objects).expect("the disk is fine"));
    service.set_auth(SimpleAuth::from_single("us", SECRET));
    let service = service.build();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = service.clone();
            let server = Builder::new(TokioExecutor::new());
            tokio::spawn(async move { server.serve_connection(TokioIo::new(socket), service).await.is_ok() });
        }
    });
    address
}

/// Who knows the secret.
fn client(address: SocketAddr, secret: &str) -> SnapshotStore {
    let builder = AmazonS3Builder::new()
        .with_endpoint(format!("http://{address}"))
        .with_access_key_id("us")
        .with_secret_access_key(secret);
    SnapshotStore::s3(&format!("s3://{BUCKET}/some/where"), builder).expect("it is a place")
}

/// The same place as a folder, and by S3.
pub(crate) async fn places(objects: [&Path; 2]) -> [SnapshotStore; 2] {
    let folder = SnapshotStore::open(&format!("file://{}", objects[0].display())).expect("it is a place");
    [folder, client(serve(objects[1]).await, SECRET)]
}

fn of(place: SnapshotStore) -> Store {
    place.of(CLUSTER, Arc::new(SystemClock::default()))
}

/// Everything that is there of these positions.
fn at(folder: &Folder, positions: &[u64]) -> Vec<Header> {
    let sets = positions.iter().map(|lsn| folder.set(Lsn(*lsn)).expect("it was written"));
    sets.flat_map(|set| set.files).map(|held| held.header).collect()
}

fn positions(pieces: &[Piece]) -> Vec<u64> {
    let mut positions: Vec<_> = pieces.iter().map(|piece| piece.header.lsn.0).collect();
    positions.sort_unstable();
    positions
}

/// All files in there.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("the disk is fine").flatten().map(|entry| entry.path());
    let (directories, mut files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    files.retain(|path| path.extension().is_some_and(|extension| extension == "partition"));
    files.extend(directories.iter().flat_map(|directory| self::files(directory)));
    files
}

#[tokio::test]
async fn what_is_left_there_comes_back_and_the_newest_two_are_kept() {
    let (here, objects) = (folder(), [folder(), folder()]);
    written(here.path(), CLUSTER, &[30, 160, 170, 180]);
    let here = target(here.path());
    for place in places(objects.each_ref().map(TempDir::path)).await {
        let (store, again) = (of(place.clone()), folder());
        for (lsn, kept) in [(30, vec![30, 30]), (160, vec![30, 30, 160, 160]), (30, vec![30, 30, 160, 160])] {
            store.hold(&here, &at(&here, &[lsn])).await.expect("it is there");
            assert_eq!(positions(&store.pieces().await.expect("it answers")), kept);
        }
        // The one with other keys is not forgotten.
        store.hold(&here, &at(&here, &[170])[..1]).await.expect("it is there");
        assert_eq!(positions(&store.pieces().await.expect("it answers")), [30, 160, 160, 170]);
        store.hold(&here, &at(&here, &[180])).await.expect("it is there");
        let pieces = of(place.clone()).pieces().await.expect("it answers");
        assert_eq!(positions(&pieces), [160, 170, 180, 180], "{place:?}");

        let newest = pieces.into_iter().filter(|piece| piece.header.lsn == Lsn(180)).collect::<Vec<_>>();
        assert!(newest.iter().any(|piece| piece.bytes > 8 << 20), "in several parts");
        let came = target(again.path());
        store.fetch(&came, newest).await.expect("nothing is damaged");
        assert_eq!(came.verify(Lsn(180)), here.verify(Lsn(180)));
        let other = place.of(CLUSTER + 1, Arc::new(SystemClock::default()));
        assert_eq!(other.pieces().await, Ok(vec![]), "another cluster has its own");
    }
}

#[tokio::test]
async fn what_is_damaged_there_is_refused_and_leaves_nothing() {
    let (here, objects) = (folder(), [folder(), folder()]);
    written(here.path(), CLUSTER, &[30]);
    let here = target(here.path());
    for (place, objects) in places(objects.each_ref().map(TempDir::path)).await.into_iter().zip(&objects) {
        let store = of(place.clone());
        store.hold(&here, &at(&here, &[30])).await.expect("it is there");
        let pieces = store.pieces().await.expect("it answers");
        for file in files(objects.path()) {
            let mut bytes = std::fs::read(&file).expect("it was written");
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(file, bytes).expect("the disk is fine");
        }
        let again = folder();
        let came = target(again.path());
        let refused = store.fetch(&came, pieces).await;
        assert!(
            matches!(&refused, Err(Refusal::Useless(reason)) if reason.contains("checksum")),
            "{refused:?}"
        );
        assert_eq!(came.sets(), Ok(vec![]));
        assert!(is_clean(again.path()));

        let found = files(objects.path());
        std::fs::write(&found[0], b"nothing").expect("the disk is fine");
        assert_eq!(of(place).pieces().await.map(|pieces| pieces.len()), Ok(1), "no snapshot at all");
    }
}

#[tokio::test]
async fn who_may_not_or_finds_nobody_says_where_and_why() {
    let (here, objects) = (folder(), folder());
    written(here.path(), CLUSTER, &[3]);
    let here = target(here.path());
    let address = serve(objects.path()).await;
    let refused = of(client(address, "another secret")).hold(&here, &at(&here, &[3])).await;
    let Err(Error::Io(reason)) = refused else { panic!("{refused:?}") };
    assert!(
        reason.starts_with("s3://snapshots/some/where: ") && reason.contains("SignatureDoesNotMatch"),
        "{reason}"
    );
    for wrong in ["s3://", "s3:///prefix", "gs://bucket", "somewhere", ""] {
        let refused =
            SnapshotStore::s3(wrong, AmazonS3Builder::new()).map(|_| ()).expect_err("it is no place");
        assert!(refused.to_string().contains("name s3://bucket/prefix or file:///folder"), "{refused}");
    }
}
