//! A store with a key that must not be lost, and the shortest way to ask for one.

use anyhow::{Result, ensure};
use proto::etcdserverpb::{PutRequest, RangeRequest};
use tonic::Status;

use crate::clients::Clients;
use crate::server::{Kind, Server};

/// Ours, with one partition.
pub const MAINSTEM: Kind = Kind::Mainstem { partitions: 1 };

/// Ours as processes of their own.
pub const TIERS: Kind = Kind::Tiers { partitions: 5 };

/// # Errors
/// The refusal.
pub async fn put(server: &Server, key: &str, value: Vec<u8>) -> Result<(), Status> {
    put_at(&server.endpoint(), key, value).await
}

/// # Errors
/// The refusal.
///
/// # Panics
/// When the endpoint is no URL.
pub async fn put_at(endpoint: &str, key: &str, value: Vec<u8>) -> Result<(), Status> {
    let mut kv = Clients::new(endpoint).expect("an endpoint is a URL").kv;
    let request = PutRequest { key: key.to_owned().into(), value: value.into(), ..PutRequest::default() };
    kv.put(request).await.map(|_| ())
}

/// # Errors
/// When it is not answered.
pub async fn get(server: &Server, key: &str) -> Result<Option<Vec<u8>>> {
    get_at(&server.endpoint(), key).await
}

/// # Errors
/// When it is not answered.
pub async fn get_at(endpoint: &str, key: &str) -> Result<Option<Vec<u8>>> {
    let mut kv = Clients::new(endpoint)?.kv;
    let request = RangeRequest { key: key.to_owned().into(), ..RangeRequest::default() };
    let answer = kv.range(request).await?.into_inner();
    Ok(answer.kvs.first().map(|kv| kv.value.to_vec()))
}

/// # Errors
/// When the key of `with_a_key` is lost.
pub async fn has_kept(server: &Server) -> Result<()> {
    ensure!(get(server, "kept").await?.as_deref() == Some(b"yes"), "an acknowledged key is lost");
    Ok(())
}

/// A store that has acknowledged a key.
///
/// # Errors
/// When it does not start.
pub async fn with_a_key() -> Result<Server> {
    with_a_key_in(MAINSTEM).await
}

/// The same of another kind.
///
/// # Errors
/// When it does not start.
pub async fn with_a_key_in(kind: Kind) -> Result<Server> {
    let server = Server::start(kind)?;
    put(&server, "kept", b"yes".to_vec()).await?;
    Ok(server)
}
