//! How events are packed, and what their headers tell.

use anyhow::{Context, Result, ensure};
use harness::clients::Clients;
use harness::server::{Kind, Server};
use proto::etcdserverpb::{PutRequest, WatchCreateRequest};

use crate::kinds;

/// Events that wait come in one response, whose header has the store's revision.
#[tokio::test]
async fn the_past_comes_in_one_response_of_the_present() -> Result<()> {
    for kind in [vec![Kind::Etcd36], kinds()].concat() {
        let server = Server::start(kind)?;
        let clients = Clients::new(&server.endpoint())?;
        for (key, _) in ["a", "c", "l", "z"].into_iter().cycle().zip(0..40) {
            let put = PutRequest { key: key.into(), ..PutRequest::default() };
            clients.kv.clone().put(put).await?;
        }
        let elsewhere = PutRequest { key: "~".into(), ..PutRequest::default() };
        clients.kv.clone().put(elsewhere).await?;
        let create = WatchCreateRequest {
            key: "a".into(),
            range_end: "zz".into(),
            start_revision: 2,
            ..WatchCreateRequest::default()
        };
        let mut stream = clients.watching(create).await?;
        let created = stream.message().await?.context("the stream goes on")?;
        let past = stream.message().await?.context("the stream goes on")?;
        let revision = past.header.as_ref().map(|header| header.revision);
        ensure!(created.created && past.events.len() == 40, "{kind:?}: {} events", past.events.len());
        ensure!(revision == Some(42), "{kind:?}: {revision:?}");
    }
    Ok(())
}
