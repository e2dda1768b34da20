//! The listening side: from an accepted socket to an encrypted connection.
//!
//! A handshake has a deadline, and there are only so many at once: whoever connects and says nothing, or asks for the
//! expensive part again and again, cannot take more than that.

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::NoServerSessionStorage;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::reloaded::Reloaded;
use super::settings::Settings;
use super::stream::Stream;
use super::{files, verifiers};
use crate::error::Error;

/// As in etcd.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Handshakes under way. When there are so many, a connection more is closed.
const HANDSHAKES_MAX: usize = 1_024;
/// The first byte of whoever speaks TLS.
const HANDSHAKE_RECORD: u8 = 22;
/// What Go's servers say.
const SPEAK_TLS: &[u8] = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// Makes connections secure. Cheap to clone.
#[derive(Clone)]
pub struct Acceptor {
    config: Arc<Reloaded<ServerConfig>>,
    under_way: Arc<Semaphore>,
}

/// Why a connection was not made.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Whoever it was left, or never spoke.
    #[error("it closed, or said nothing in time")]
    Silent,
    #[error(
        "the client does not speak TLS: use https:// in its endpoints, or http:// in the URLs to listen on"
    )]
    Plain,
    #[error("there are too many handshakes at once")]
    Busy,
    #[error("{0}")]
    Handshake(std::io::Error),
}

impl Acceptor {
    /// For connections that speak one of `protocols`.
    ///
    /// # Errors
    /// `Io`: what is wrong with the files.
    pub fn new(settings: &Settings, protocols: &'static [&'static [u8]]) -> Result<Acceptor, Error> {
        let files = settings.files();
        let settings = settings.clone();
        let config = Reloaded::new(files, move || config(&settings, protocols))?;
        Ok(Acceptor { config: Arc::new(config), under_way: Arc::new(Semaphore::new(HANDSHAKES_MAX)) })
    }

    /// # Errors
    /// Why the other side is not listened to. The connection is closed.
    pub async fn accept(&self, socket: TcpStream) -> Result<Stream, Refused> {
        let Ok(_permit) = self.under_way.try_acquire() else { return Err(Refused::Busy) };
        let shaken = tokio::time::timeout(HANDSHAKE_MAX, self.shake_hands(socket)).await;
        shaken.unwrap_or(Err(Refused::Silent))
    }

    async fn shake_hands(&self, mut socket: TcpStream) -> Result<Stream, Refused> {
        let mut first = [0];
        match socket.peek(&mut first).await {
            Ok(1) => {}
            _ => return Err(Refused::Silent),
        }
        if first[0] != HANDSHAKE_RECORD {
            // What is unread when it closes would take the answer along. It may not listen either.
            let _ = socket.try_read(&mut [0; 4_096]);
            let _ = socket.write_all(SPEAK_TLS).await;
            return Err(Refused::Plain);
        }
        let acceptor = TlsAcceptor::from(self.config.current());
        match acceptor.accept(socket).await {
            Ok(stream) => Ok(Stream::Secure(Box::new(stream.into()))),
            Err(error) => Err(Refused::Handshake(error)),
        }
    }
}

fn config(settings: &Settings, protocols: &[&[u8]]) -> Result<ServerConfig, Error> {
    let provider = settings.protocol.provider();
    let verifier = verifiers::of_clients(settings, provider.clone())?;
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_protocol_versions(&settings.protocol.versions());
    let builder = builder.expect("there is a cipher for each version").with_client_cert_verifier(verifier);
    let Some(identity) = &settings.identity else {
        return Err(Error::Io("who serves TLS needs a certificate and its key: name them".to_owned()));
    };
    let (chain, key) = files::pair(identity)?;
    let mut config =
        builder.with_single_cert(chain, key).map_err(|error| files::unusable_pair(identity, &error))?;
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}
