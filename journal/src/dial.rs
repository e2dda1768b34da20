//! How a tier reaches another over the network: addresses in, channels out.
//!
//! A channel connects when it is first used and again whenever it has broken. A peer that went silent is found
//! out by HTTP/2 pings within `SILENCE_MAX`, so that a call to it fails instead of waiting for ever.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tonic::codegen::Service;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};

use crate::error::Error;
use crate::network::{Arrivals, Connecting, Connection, Network};
use crate::tls::{Connector, Settings};

/// How long a connection may take to come up.
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// How often a connection is asked for a sign of life, and how long it may take to give one.
const PING_EVERY: Duration = Duration::from_secs(1);
const SILENCE_MAX: Duration = Duration::from_secs(2);
/// Flow control of one connection and of one stream: what may be on its way unread.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// Of a connection for many streams: all that HTTP/2 allows, and of each stream so little that thousands fit.
const MANY_WINDOW_BYTES: u32 = (1 << 31) - 1;
const ONE_OF_MANY_WINDOW_BYTES: u32 = 32 << 10;

/// Makes the channels of one process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Dialer {
    /// For https:// alone.
    connector: Option<Connector>,
    /// Instead of TCP.
    network: Option<Arc<dyn Network>>,
}

impl Dialer {
    /// Without encryption: for loopback, and where it was asked for.
    #[must_use]
    pub fn plain() -> Dialer {
        Dialer::default()
    }

    /// Over `network`, without encryption.
    #[must_use]
    pub fn over(network: Arc<dyn Network>) -> Dialer {
        Dialer { connector: None, network: Some(network) }
    }

    /// With encryption where a URL says so: https://. Whoever is dialed has to prove itself as `settings` say.
    ///
    /// # Errors
    /// `Io`: what is wrong with the files.
    pub fn tls(settings: &Settings) -> Result<Dialer, Error> {
        Ok(Dialer { connector: Some(Connector::new(settings)?), network: None })
    }

    /// Whoever connects to this process at `port`, where that is not over TCP.
    #[must_use]
    pub fn listen(&self, port: u16) -> Option<Arrivals> {
        self.network.as_ref()?.listen(port)
    }

    /// A channel to `url`, such as `http://10.0.0.1:2380`. Nothing is sent before it is used.
    ///
    /// # Errors
    /// `Io`: this is not the URL of a peer.
    pub fn channel(&self, url: &str) -> Result<Channel, Error> {
        Ok(self.connect(self.endpoint(url)?))
    }

    /// A channel for many streams, any of which may stand still for as long as its reader likes, without keeping
    /// the others from being read. What is unread of each is bounded, and so of all.
    ///
    /// # Errors
    /// As `channel`.
    pub fn channel_of_many(&self, url: &str) -> Result<Channel, Error> {
        let endpoint = self.endpoint(url)?;
        let endpoint = endpoint.initial_connection_window_size(MANY_WINDOW_BYTES);
        Ok(self.connect(endpoint.initial_stream_window_size(ONE_OF_MANY_WINDOW_BYTES)))
    }

    /// A connection to `url`, for asking what does not speak as the tiers do.
    ///
    /// # Errors
    /// `Io`: this is not the URL of a peer, or nothing takes the connection.
    pub async fn connection(&self, url: &str) -> Result<Box<dyn Connection>, Error> {
        let endpoint = self.endpoint(url)?;
        let uri = endpoint.uri();
        let (host, port) = (uri.host().unwrap_or_default(), port_of(uri));
        let connecting = match (&self.network, &self.connector) {
            (Some(network), _) => network.connect(host, port),
            (None, Some(connector)) if is_secure(uri) => Network::connect(connector, host, port),
            _ => {
                let host = host.trim_matches(['[', ']']).to_owned();
                Box::pin(async move {
                    let stream = tokio::net::TcpStream::connect((host, port)).await?;
                    Ok(Box::new(stream) as Box<dyn Connection>)
                })
            }
        };
        let connected = tokio::time::timeout(CONNECT_MAX, connecting).await;
        let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        connected.map_err(|error| Error::io(format!("cannot connect to {url}"), &error))
    }

    fn connect(&self, endpoint: Endpoint) -> Channel {
        let network: Arc<dyn Network> = match (&self.network, &self.connector) {
            (Some(network), _) => network.clone(),
            (None, Some(connector)) if is_secure(endpoint.uri()) => Arc::new(connector.clone()),
            _ => return endpoint.connect_lazy(),
        };
        endpoint.connect_with_connector_lazy(Way { network })
    }

    fn endpoint(&self, url: &str) -> Result<Endpoint, Error> {
        let refused = |error: &dyn std::fmt::Display| {
            Error::Io(format!(
                "{url:?} is not the address of a peer ({error}): give one like http://10.0.0.1:2380"
            ))
        };
        let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| refused(&error))?;
        if endpoint.uri().host().is_none() || !matches!(endpoint.uri().scheme_str(), Some("http" | "https")) {
            return Err(refused(&"a scheme of http or https and a host are needed"));
        }
        if is_secure(endpoint.uri()) && self.connector.is_none() {
            return Err(Error::Io(format!(
                "{url:?} cannot be reached without a certificate: name one by --peer-cert-file and --peer-key-file, \
                 and who is believed by --peer-trusted-ca-file"
            )));
        }
        Ok(endpoint
            .connect_timeout(CONNECT_MAX)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(SILENCE_MAX)
            .keep_alive_while_idle(true)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .initial_stream_window_size(STREAM_WINDOW_BYTES))
    }
}

fn port_of(uri: &Uri) -> u16 {
    uri.port_u16().unwrap_or(if is_secure(uri) { HTTPS_PORT } else { HTTP_PORT })
}

fn is_secure(uri: &Uri) -> bool {
    uri.scheme_str() == Some("https")
}

impl Network for Connector {
    fn connect(&self, host: &str, port: u16) -> Connecting {
        let (connector, host) = (self.clone(), host.to_owned());
        Box::pin(async move {
            let stream = connector.connect(&host, port).await?;
            Ok(Box::new(stream) as Box<dyn Connection>)
        })
    }
}

/// A network as a connector that tonic wants.
struct Way {
    network: Arc<dyn Network>,
}

impl Service<Uri> for Way {
    type Response = TokioIo<Box<dyn Connection>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.network.connect(uri.host().unwrap_or_default(), port_of(&uri));
        Box::pin(async move { connecting.await.map(TokioIo::new) })
    }
}

const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_no_address_is_refused_in_a_sentence() {
        for url in ["", "10.0.0.1:2380", "ftp://10.0.0.1:2380", "http://", "http://[::1"] {
            let error = Dialer::plain().channel(url).expect_err(url).to_string();
            assert!(error.contains("give one like http://10.0.0.1:2380"), "{error}");
        }
        assert!(Dialer::plain().channel("http://127.0.0.1:2380").is_ok());
        let error = Dialer::plain().channel("https://127.0.0.1:2380").expect_err("nothing proves itself");
        assert!(error.to_string().contains("name one by --peer-cert-file"), "{error}");
    }
}
