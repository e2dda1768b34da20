//! The listening side: from an accepted socket to an encrypted connection.
//!
//! A handshake has a deadline, and there are only so many at once: whoever connects and says nothing, or asks for the
//! expensive part again and again, cannot take more than that.

use std::sync::Arc;
use std::time::Duration;

use rustls::server::NoServerSessionStorage;
use rustls::{CertificateError, OtherError, ServerConfig};
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::reloaded::Reloaded;
use super::settings::Settings;
use super::socket::Socket;
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
    /// The address is one of `http://` as well: who does not begin with TLS is served without.
    takes_plain: bool,
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
    #[error("{}{}", .0, next_step(.0))]
    Handshake(std::io::Error),
}

/// What to do about a certificate that was refused, where the error does not say it.
fn next_step(error: &std::io::Error) -> &'static str {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(cause)))) = cause else {
        return "";
    };
    match cause.downcast_ref::<webpki::Error>() {
        Some(webpki::Error::CaUsedAsEndEntity) => {
            "; the client's certificate could be an authority's, and is signed by an authority between it and those of the file: \
             issue it with CA:FALSE among its basic constraints, or add the authority that signed it to the file"
        }
        Some(webpki::Error::UnsupportedCertVersion) => {
            "; the client's certificate is of version 1, which names no uses: issue it with extensions (openssl x509 -req \
             -extfile), which makes it one of version 3"
        }
        _ => "",
    }
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
        Ok(Acceptor {
            config: Arc::new(config),
            under_way: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
            takes_plain: false,
        })
    }

    /// The acceptor of an address that serves `http://` and `https://` on one port, told apart by the first byte.
    #[must_use]
    pub fn or_plain(self) -> Acceptor {
        Acceptor { takes_plain: true, ..self }
    }

    /// # Errors
    /// Why the other side is not listened to. The connection is closed.
    pub async fn accept(&self, socket: impl Socket) -> Result<Stream, Refused> {
        let Ok(_permit) = self.under_way.try_acquire() else { return Err(Refused::Busy) };
        let shaken = tokio::time::timeout(HANDSHAKE_MAX, self.shake_hands(socket)).await;
        shaken.unwrap_or(Err(Refused::Silent))
    }

    async fn shake_hands<S: Socket>(&self, mut socket: S) -> Result<Stream, Refused> {
        let Ok(Some(first)) = socket.first_byte().await else { return Err(Refused::Silent) };
        if first != HANDSHAKE_RECORD && self.takes_plain {
            return Ok(socket.plain());
        }
        if first != HANDSHAKE_RECORD {
            // What is unread when it closes would take the answer along. It may not listen either.
            socket.drain();
            let _ = socket.write_all(SPEAK_TLS).await;
            return Err(Refused::Plain);
        }
        let acceptor = TlsAcceptor::from(self.config.current());
        match acceptor.accept(socket).await {
            Ok(stream) => Ok(S::secure(stream.into())),
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
