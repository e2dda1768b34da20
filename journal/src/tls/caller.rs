//! Who is at the other end, by its certificate.

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use super::subject;
use super::tier::Tiers;

/// What a valid certificate says of its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The subject's common name, which etcd takes for the name of a user.
    pub common_name: Option<String>,
    /// What it may ask of other tiers. `None`: it names none.
    pub tiers: Option<Tiers>,
}

impl Caller {
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<Caller> {
        let tiers = Tiers::of(certificate);
        let certificate = EndEntityCert::try_from(certificate).ok()?;
        Some(Caller { common_name: subject::common_name(certificate.subject()), tiers })
    }
}
