//! Certificates that could be an authority's (CA:TRUE), and are shown by a process that connects or is dialed.
//!
//!     in the file of authorities itself            taken: the operator has named it
//!     signed by an authority of the file           taken: one signature is checked
//!     signed by an authority between the two       refused, as `webpki` refuses it
//!
//! `openssl req -x509` makes a certificate of the first kind, and clusters are built with one pair for everything; some
//! authorities issue nothing else than the second. Go takes all three. `webpki` refuses an authority's certificate at the
//! end of a chain, so the two kinds whose chain has no middle are judged here.

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, SignatureVerificationAlgorithm};
use rustls::{CertificateError, OtherError};
use webpki::{CertRevocationList, EndEntityCert, OwnedCertRevocationList};

use super::der::{self, Use};
use crate::error::Error;

/// The certificates of a file of authorities.
#[derive(Debug)]
pub(super) struct Pinned {
    certificates: Vec<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
    revocations: Vec<OwnedCertRevocationList>,
}

impl Pinned {
    /// # Errors
    /// `Io`: a revocation list that cannot be read.
    pub(super) fn new(
        certificates: Vec<CertificateDer<'static>>,
        revocations: &[CertificateRevocationListDer<'static>],
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Result<Pinned, Error> {
        let read = |list: &CertificateRevocationListDer<'static>| {
            OwnedCertRevocationList::from_der(list).map_err(|error| {
                Error::Io(format!("the revocation list cannot be used for TLS: {error}; make it anew"))
            })
        };
        let revocations = revocations.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Pinned { certificates, algorithms, revocations })
    }

    /// Judges a certificate that `webpki` has refused with `error`: one that is only too much of an authority is taken, if
    /// it is one of the file's or signed by one of these, for that side, and not revoked. Its times were looked at before.
    pub(super) fn judge(
        &self,
        certificate: &CertificateDer<'_>,
        side: Use,
        error: rustls::Error,
    ) -> Result<(), rustls::Error> {
        if !is_too_much_of_an_authority(&error) {
            return Err(error);
        }
        if !der::is_for(certificate, side) {
            return Err(rustls::Error::InvalidCertificate(CertificateError::InvalidPurpose));
        }
        let parsed = EndEntityCert::try_from(certificate);
        let parsed = parsed.map_err(|_| rustls::Error::InvalidCertificate(CertificateError::BadEncoding))?;
        if !self.certificates.contains(certificate) && !self.has_signed(certificate, parsed.issuer()) {
            return Err(error);
        }
        let of_issuer = |list: &&OwnedCertRevocationList| {
            CertRevocationList::from((*list).clone()).issuer() == parsed.issuer()
        };
        for list in self.revocations.iter().filter(of_issuer) {
            let revoked = CertRevocationList::from(list.clone())
                .find_serial(parsed.serial())
                .map(|found| found.is_some());
            if revoked.unwrap_or(true) {
                return Err(rustls::Error::InvalidCertificate(CertificateError::Revoked));
            }
        }
        Ok(())
    }
}

impl Pinned {
    /// Returns true where an authority of the file with this name has signed the certificate. Authorities that may issue
    /// certificates for some names only do not count: `webpki` alone compares those names.
    fn has_signed(&self, certificate: &CertificateDer<'_>, issuer: &[u8]) -> bool {
        let Some(signature) = der::signature(certificate) else { return false };
        self.certificates.iter().any(|authority| {
            let Ok(anchor) = webpki::anchor_from_trusted_cert(authority) else { return false };
            let Some((kind, key)) = der::public_key(&anchor.subject_public_key_info) else { return false };
            let fits = |algorithm: &&&dyn SignatureVerificationAlgorithm| {
                *algorithm.signature_alg_id() == *signature.algorithm
                    && *algorithm.public_key_alg_id() == *kind
            };
            *anchor.subject == *issuer
                && anchor.name_constraints.is_none()
                && self.algorithms.all.iter().filter(fits).any(|algorithm| {
                    algorithm.verify_signature(key, signature.signed, signature.bytes).is_ok()
                })
        })
    }
}

fn is_too_much_of_an_authority(error: &rustls::Error) -> bool {
    let rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) = error else {
        return false;
    };
    matches!(cause.downcast_ref::<webpki::Error>(), Some(webpki::Error::CaUsedAsEndEntity))
}
