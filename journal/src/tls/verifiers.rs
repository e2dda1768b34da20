//! Whom one believes: the rules for certificates, on both sides of a connection.
//!
//! The chain, the times and the revocations are checked by `webpki`. On top of that come etcd's list of names, and
//! certificates that are trusted themselves.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme};
use webpki::EndEntityCert;

use super::der::Use;
use super::files;
use super::pinned::Pinned;
use super::settings::{Allowed, Settings};
use super::subject;
use crate::error::Error;

/// Of who connects.
pub(super) fn of_clients(
    settings: &Settings,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    let Some(authorities) = &settings.trusted_ca else { return Ok(WebPkiClientVerifier::no_client_auth()) };
    let all = files::certificates(authorities)?;
    let roots = files::authorities(authorities, &all)?;
    let revocations = revocations(settings)?;
    let pinned = Pinned::new(all, &revocations, provider.signature_verification_algorithms)?;
    let mut builder = WebPkiClientVerifier::builder_with_provider(roots, provider);
    if !revocations.is_empty() {
        // A list says nothing of other authorities' certificates.
        builder = builder.with_crls(revocations).allow_unknown_revocation_status();
    }
    let chain = builder.build().map_err(|error| {
        Error::Io(format!("the revocation list cannot be used for TLS: {error}; make it anew"))
    })?;
    Ok(Arc::new(Clients { chain, pinned, allowed: settings.allowed.clone() }))
}

/// Of who is dialed.
pub(super) fn of_servers(
    settings: &Settings,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    if settings.believes_anybody {
        return Ok(Arc::new(Anybody { provider }));
    }
    let (roots, authorities) = match &settings.trusted_ca {
        Some(path) => {
            let all = files::certificates(path)?;
            (files::authorities(path, &all)?, all)
        }
        None => (files::system_authorities()?, Vec::new()),
    };
    let revocations = revocations(settings)?;
    let pinned = Pinned::new(authorities, &revocations, provider.signature_verification_algorithms)?;
    let mut builder = WebPkiServerVerifier::builder_with_provider(roots, provider);
    if !revocations.is_empty() {
        builder = builder.with_crls(revocations).allow_unknown_revocation_status();
    }
    let chain = builder.build().map_err(|error| {
        Error::Io(format!("the revocation list cannot be used for TLS: {error}; make it anew"))
    })?;
    Ok(Arc::new(Servers { chain, pinned, allowed: settings.allowed.clone() }))
}

fn revocations(settings: &Settings) -> Result<Vec<CertificateRevocationListDer<'static>>, Error> {
    settings.crl.as_deref().map_or_else(|| Ok(Vec::new()), files::revocations)
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
    pinned: Pinned,
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
        if let Err(error) = self.chain.verify_client_cert(certificate, intermediates, now) {
            self.pinned.judge(certificate, Use::Client, error)?;
        }
        check(&self.allowed, certificate)?;
        Ok(ClientCertVerified::assertion())
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
    pinned: Pinned,
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
        if let Err(error) = self.chain.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            self.pinned.judge(certificate, Use::Server, error)?;
            let read = EndEntityCert::try_from(certificate);
            let named = read.and_then(|certificate| certificate.verify_is_valid_for_subject_name(name));
            named.map_err(|_| rustls::Error::InvalidCertificate(CertificateError::NotValidForName))?;
        }
        check(&self.allowed, certificate)?;
        Ok(ServerCertVerified::assertion())
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
