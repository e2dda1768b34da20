//! Whom one believes: the rules for certificates, on both sides of a connection.
//!
//! The chain, the times and the revocations are checked by `webpki`. On top of that comes etcd's list of names.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme};
use webpki::EndEntityCert;

use super::files;
use super::settings::{Allowed, Settings};
use super::subject;
use crate::error::Error;

/// Of who connects.
pub(super) fn of_clients(
    settings: &Settings,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    let Some(authorities) = &settings.trusted_ca else { return Ok(WebPkiClientVerifier::no_client_auth()) };
    let mut builder = WebPkiClientVerifier::builder_with_provider(files::authorities(authorities)?, provider);
    if let Some(crl) = &settings.crl {
        // A list says nothing of other authorities' certificates.
        builder = builder.with_crls(files::revocations(crl)?).allow_unknown_revocation_status();
    }
    let chain = builder.build().map_err(|error| {
        Error::Io(format!("the revocation list cannot be used for TLS: {error}; make it anew"))
    })?;
    Ok(Arc::new(Clients { chain, allowed: settings.allowed.clone() }))
}

/// Of who is dialed.
pub(super) fn of_servers(
    settings: &Settings,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    if settings.believes_anybody {
        return Ok(Arc::new(Anybody { provider }));
    }
    let authorities = match &settings.trusted_ca {
        Some(path) => files::authorities(path)?,
        None => files::system_authorities()?,
    };
    let mut builder = WebPkiServerVerifier::builder_with_provider(authorities, provider);
    if let Some(crl) = &settings.crl {
        builder = builder.with_crls(files::revocations(crl)?).allow_unknown_revocation_status();
    }
    let chain = builder.build().map_err(|error| {
        Error::Io(format!("the revocation list cannot be used for TLS: {error}; make it anew"))
    })?;
    Ok(Arc::new(Servers { chain, allowed: settings.allowed.clone() }))
}

/// Refuses whom nobody named.
fn check(allowed: &Allowed, certificate: &CertificateDer<'_>) -> Result<(), rustls::Error> {
    let refused = rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
    let read = || EndEntityCert::try_from(certificate);
    let is_allowed = match allowed {
        Allowed::Anybody => true,
        Allowed::CommonNames(names) => {
            let name = read().ok().and_then(|certificate| subject::common_name(certificate.subject()));
            name.is_some_and(|name| names.contains(&name))
        }
        Allowed::Hosts(hosts) => read().is_ok_and(|certificate| {
            let names = hosts.iter().filter_map(|host| ServerName::try_from(host.as_str()).ok());
            names.into_iter().any(|name| certificate.verify_is_valid_for_subject_name(&name).is_ok())
        }),
    };
    if is_allowed { Ok(()) } else { Err(refused) }
}

#[derive(Debug)]
struct Clients {
    chain: Arc<dyn ClientCertVerifier>,
    allowed: Allowed,
}

impl ClientCertVerifier for Clients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.chain.verify_client_cert(certificate, intermediates, now)?;
        check(&self.allowed, certificate)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

#[derive(Debug)]
struct Servers {
    chain: Arc<WebPkiServerVerifier>,
    allowed: Allowed,
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.chain.verify_server_cert(certificate, intermediates, name, ocsp, now)?;
        check(&self.allowed, certificate)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// Encryption without knowing with whom: for certificates that members made for themselves.
#[derive(Debug)]
struct Anybody {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
