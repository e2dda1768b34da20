//! Where a store listens, and how to get there.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::Uri;
use journal::tls::{Connector, Stream};
use tokio::net::TcpStream;

use super::transport::Transport;
use crate::admin::trust::Trust;

/// Large, so that an answer never waits for us to say that there is room: who asked is reading.
const STREAM_WINDOW_BYTES: u32 = 16 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The addresses of a store's methods.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    host: String,
    port: u16,
    /// `None`: without encryption.
    connector: Option<Connector>,
    put: Uri,
    range: Uri,
    txn: Uri,
    watch: Uri,
}

/// What can be called.
#[derive(Debug, Clone, Copy)]
pub(super) enum Method {
    Put,
    Range,
    Txn,
    Watch,
}

impl Endpoint {
    /// Understands host:port, with or without http:// or https:// before it.
    pub(super) fn parse(text: &str, trust: &Trust) -> Result<Self, String> {
        let url = trust.url(text);
        let base: Uri = url.trim_end_matches('/').parse().map_err(|error| format!("{text}: {error}"))?;
        let (scheme, host, port) = (base.scheme_str(), base.host(), base.port_u16());
        let (Some(scheme @ ("http" | "https")), Some(host), Some(port)) = (scheme, host, port) else {
            return Err(format!("{text}: give host:port, or that behind http:// or https://"));
        };
        let connector = match scheme {
            "https" => Some(trust.connector().map_err(|error| error.to_string())?),
            _ => None,
        };
        let uri = |method: &str| {
            let text = format!("{scheme}://{host}:{port}/etcdserverpb.{method}");
            text.parse::<Uri>().map_err(|error| format!("{text}: {error}"))
        };
        Ok(Self {
            host: host.to_owned(),
            port,
            connector,
            put: uri("KV/Put")?,
            range: uri("KV/Range")?,
            txn: uri("KV/Txn")?,
            watch: uri("Watch/Watch")?,
        })
    }

    pub(super) fn uri(&self, method: Method) -> Uri {
        match method {
            Method::Put => self.put.clone(),
            Method::Range => self.range.clone(),
            Method::Txn => self.txn.clone(),
            Method::Watch => self.watch.clone(),
        }
    }

    /// Connects; a task of this runtime then drives the connection until it ends.
    pub(super) async fn connect(&self) -> io::Result<SendRequest<Bytes>> {
        let connecting = async {
            let mut builder = h2::client::Builder::new();
            builder
                .enable_push(false)
                .initial_window_size(STREAM_WINDOW_BYTES)
                .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
            builder.handshake(Transport::new(self.dial().await?)).await.map_err(io::Error::other)
        };
        let (sender, driver) = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await??;
        tokio::spawn(async move {
            // Whoever has a call on it is told, and counts it.
            let _told_to_the_callers = driver.await;
        });
        Ok(sender)
    }

    async fn dial(&self) -> io::Result<Stream> {
        if let Some(connector) = &self.connector {
            return connector.connect(&self.host, self.port).await;
        }
        let host = self.host.trim_matches(['[', ']']);
        let socket = TcpStream::connect((host, self.port)).await?;
        socket.set_nodelay(true)?;
        Ok(Stream::Plain(socket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_host_and_a_port() {
        let parse = |text: &str| Endpoint::parse(text, &Trust::default());
        for text in ["127.0.0.1:2379", "http://127.0.0.1:2379", "http://127.0.0.1:2379/"] {
            let endpoint = parse(text).expect("an endpoint");
            assert_eq!(endpoint.put, "http://127.0.0.1:2379/etcdserverpb.KV/Put", "{text}");
            assert!(endpoint.connector.is_none(), "{text}");
        }
        let secure = parse("https://127.0.0.1:2379").expect("an endpoint");
        assert_eq!(secure.put, "https://127.0.0.1:2379/etcdserverpb.KV/Put");
        assert!(secure.connector.is_some());
        for text in ["", "127.0.0.1", "ftp://127.0.0.1:2379", "a b:1"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
