//! How objects are asked for: HTTP/1.1, a connection for each request.
//!
//! Requests are few and large, so nothing is gained by keeping connections. Servers prove who they are to the
//! authorities in the file that `AWS_CA_BUNDLE` names, else to those that browsers trust.

use std::fmt;
use std::io;
use std::sync::Arc;

use http::header::HOST;
use http::{HeaderValue, Uri};
use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::error::Error;

/// Makes requests. Cheap to clone.
#[derive(Clone)]
pub(super) struct Http {
    tls: TlsConnector,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Http")
    }
}

impl Http {
    /// # Errors
    /// `Io`: the file with authorities cannot be used.
    pub(super) fn new() -> Result<Http, Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config =
            versions.expect("the provider has ciphers for them").with_root_certificates(authorities()?);
        Ok(Http { tls: TlsConnector::from(Arc::new(config.with_no_client_auth())) })
    }

    async fn ask(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let is_secure = request.uri().scheme_str() == Some("https");
        let port = request.uri().port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        let name = host.trim_matches(['[', ']']).to_owned();
        let cannot = |error: io::Error| HttpError::new(HttpErrorKind::Connect, error);
        let socket = TcpStream::connect((name.as_str(), port)).await.map_err(cannot)?;
        socket.set_nodelay(true).map_err(cannot)?;
        let request = relative(request)?;
        if !is_secure {
            return exchange(socket, request).await;
        }
        let name = ServerName::try_from(name).map_err(|error| cannot(io::Error::other(error)))?;
        exchange(self.tls.connect(name, socket).await.map_err(cannot)?, request).await
    }
}

impl HttpConnector for Http {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[tonic::async_trait]
impl HttpService for Http {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.ask(request).await
    }
}

/// As it is written on a connection: the path, and the host in a header.
fn relative(request: HttpRequest) -> Result<HttpRequest, HttpError> {
    let (mut parts, body) = request.into_parts();
    let wrong = |error: http::Error| HttpError::new(HttpErrorKind::Unknown, error);
    if let Some(authority) = parts.uri.authority().filter(|_| !parts.headers.contains_key(HOST)) {
        let host = HeaderValue::from_str(authority.as_str()).map_err(|error| wrong(error.into()))?;
        parts.headers.insert(HOST, host);
    }
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = Uri::try_from(path).map_err(|error| wrong(error.into()))?;
    Ok(HttpRequest::from_parts(parts, body))
}

async fn exchange<S>(socket: S, request: HttpRequest) -> Result<HttpResponse, HttpError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let broken = |error: hyper::Error| HttpError::new(HttpErrorKind::Interrupted, error);
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await.map_err(broken)?;
    // It ends with the answer's body, or when nobody wants that any more.
    tokio::spawn(connection);
    let answer = sender.send_request(request).await.map_err(broken)?;
    Ok(answer.map(|body| HttpResponseBody::new(body.map_err(broken))))
}

fn authorities() -> Result<RootCertStore, Error> {
    let Some(path) = std::env::var_os("AWS_CA_BUNDLE") else {
        return Ok(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect());
    };
    let wrong = |reason: &dyn fmt::Display| {
        let path = path.display();
        Error::Io(format!("{path}: {reason}: AWS_CA_BUNDLE has to name a file of PEM certificates"))
    };
    let mut authorities = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&path).map_err(|error| wrong(&error))? {
        let certificate = certificate.map_err(|error| wrong(&error))?;
        authorities.add(certificate).map_err(|error| wrong(&error))?;
    }
    if authorities.is_empty() { Err(wrong(&"it holds none")) } else { Ok(authorities) }
}
