//! Certificates that stand in the file of authorities themselves, and are shown by whoever connects or is dialed.
//!
//! `openssl req -x509` makes such a certificate: signed by itself and an authority's (CA:TRUE). Go takes it from whoever
//! has its key, and clusters are built with one pair for everything. `webpki` refuses an authority's certificate at the
//! end of a chain; where it is one that the operator named, there is no chain to check.

use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::{CertificateError, OtherError};
use webpki::{CertRevocationList, EndEntityCert, OwnedCertRevocationList};

use super::der::{self, Use};
use crate::error::Error;

/// The certificates of a file of authorities.
#[derive(Debug, Default)]
pub(super) struct Pinned {
    certificates: Vec<CertificateDer<'static>>,
    revocations: Vec<OwnedCertRevocationList>,
}

impl Pinned {
    /// # Errors
    /// `Io`: a revocation list that cannot be read.
    pub(super) fn new(
        certificates: Vec<CertificateDer<'static>>,
        revocations: &[CertificateRevocationListDer<'static>],
    ) -> Result<Pinned, Error> {
        let read = |list: &CertificateRevocationListDer<'static>| {
            OwnedCertRevocationList::from_der(list).map_err(|error| {
                Error::Io(format!("the revocation list cannot be used for TLS: {error}; make it anew"))
            })
        };
        Ok(Pinned { certificates, revocations: revocations.iter().map(read).collect::<Result<_, _>>()? })
    }

    /// Judges a certificate that `webpki` has refused with `error`: one that is only too much of an authority is taken,
    /// if it is one of the file's, for that side, and not revoked. Its times were looked at before.
    pub(super) fn judge(
        &self,
        certificate: &CertificateDer<'_>,
        side: Use,
        error: rustls::Error,
    ) -> Result<(), rustls::Error> {
        if !is_too_much_of_an_authority(&error) || !self.certificates.contains(certificate) {
            return Err(error);
        }
        if !der::is_for(certificate, side) {
            return Err(rustls::Error::InvalidCertificate(CertificateError::InvalidPurpose));
        }
        let parsed = EndEntityCert::try_from(certificate);
        let parsed = parsed.map_err(|_| rustls::Error::InvalidCertificate(CertificateError::BadEncoding))?;
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

fn is_too_much_of_an_authority(error: &rustls::Error) -> bool {
    let rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) = error else {
        return false;
    };
    matches!(cause.downcast_ref::<webpki::Error>(), Some(webpki::Error::CaUsedAsEndEntity))
}
