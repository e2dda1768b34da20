//! The dialing side: a connection to a server that proves who it is.

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::reloaded::Reloaded;
use super::settings::Settings;
use super::socket::Socket;
use super::stream::Stream;
use super::{files, verifiers};
use crate::error::Error;

/// Makes connections that speak HTTP/2. Cheap to clone.
#[derive(Clone)]
pub struct Connector {
    config: Arc<Reloaded<ClientConfig>>,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connector")
    }
}

impl Connector {
    /// # Errors
    /// `Io`: what is wrong with the files.
    pub fn new(settings: &Settings) -> Result<Connector, Error> {
        let files = settings.files();
        let settings = settings.clone();
        let config = Reloaded::new(files, move || config(&settings))?;
        Ok(Connector { config: Arc::new(config) })
    }

    /// Connects to a server that must prove that it is `host`.
    ///
    /// # Errors
    /// When nobody answers there, or one of both sides does not believe the other.
    pub async fn connect(&self, host: &str, port: u16) -> io::Result<Stream> {
        let host = host.trim_matches(['[', ']']);
        let socket = TcpStream::connect((host, port)).await?;
        socket.set_nodelay(true)?;
        self.over(host, socket).await
    }

    /// Speaks TLS on a socket whose other end must prove that it is `host`.
    ///
    /// # Errors
    /// When one of both sides does not believe the other.
    pub(super) async fn over<S: Socket>(&self, host: &str, socket: S) -> io::Result<Stream> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let connector = TlsConnector::from(self.config.current());
        Ok(S::secure(connector.connect(name, socket).await?.into()))
    }
}

fn config(settings: &Settings) -> Result<ClientConfig, Error> {
    let provider = settings.protocol.provider();
    let verifier = verifiers::of_servers(settings, provider.clone())?;
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_protocol_versions(&settings.protocol.versions());
    let builder = builder.expect("there is a cipher for each version");
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = match settings.dials_with.as_ref().or(settings.identity.as_ref()) {
        None => builder.with_no_client_auth(),
        Some(shown) => {
            let (chain, key) = files::pair(shown)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| files::unusable_pair(shown, &error))?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}
