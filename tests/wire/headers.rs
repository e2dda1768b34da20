//! How much metadata a call may have.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::clients::Clients;
use harness::server::{Kind, Server};
use proto::etcdserverpb::RangeRequest;
use tonic::metadata::MetadataValue;

use crate::kinds;

#[tokio::test]
async fn a_call_may_have_900_kilobytes_of_metadata() -> Result<()> {
    for kind in [vec![Kind::Etcd36], kinds()].concat() {
        let server = Server::start(kind)?;
        let clients = Clients::new(&server.endpoint())?;
        let mut request = tonic::Request::new(RangeRequest { key: "a".into(), ..RangeRequest::default() });
        let long = MetadataValue::try_from("x".repeat(900_000))?;
        request.metadata_mut().insert("long", long);
        clients.kv.clone().range(request).await.with_context(|| format!("{kind:?}"))?;
    }
    Ok(())
}

/// `SETTINGS_MAX_HEADER_LIST_SIZE`, in the first frame of a connection.
#[test]
fn the_largest_metadata_is_announced() -> Result<()> {
    let server = Server::start(Kind::Mainstem { partitions: 1 })?;
    let mut stream = TcpStream::connect(("127.0.0.1", server.port()))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")?;
    let mut head = [0; 9];
    stream.read_exact(&mut head)?;
    ensure!(head[3] == 4, "the first frame has the settings: {head:?}");
    let mut settings = vec![0; usize::from(head[2])];
    stream.read_exact(&mut settings)?;
    let expected = [&[0, 6][..], &(1_u32 << 20).to_be_bytes()].concat();
    ensure!(settings.chunks(6).any(|setting| setting == expected), "{settings:?}");
    Ok(())
}
