//! An authority that issues and revokes certificates.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SerialNumber, date_time_ymd,
};

pub(super) struct Authority {
    cert: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// What is asked for.
pub(super) struct Leaf {
    pub(super) name: &'static str,
    pub(super) hosts: &'static [&'static str],
    pub(super) expired: bool,
    pub(super) for_clients: bool,
    /// It could be an authority's, as `openssl req -x509` makes them.
    pub(super) is_ca: bool,
    pub(super) serial: u64,
}

impl Leaf {
    pub(super) fn named(name: &'static str) -> Leaf {
        Leaf { name, hosts: &["127.0.0.1"], expired: false, for_clients: true, is_ca: false, serial: 1 }
    }
}

fn subject(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

fn params(leaf: &Leaf) -> CertificateParams {
    let hosts: Vec<String> = leaf.hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).expect("they are names");
    params.distinguished_name = subject(leaf.name);
    params.serial_number = Some(SerialNumber::from(leaf.serial));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    if leaf.for_clients {
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
    }
    if leaf.expired {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    }
    if leaf.is_ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    params
}

impl Authority {
    pub(super) fn new(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("there is chance");
        let cert = params.self_signed(&key).expect("it is a certificate");
        Authority { cert, issuer: Issuer::new(params, key) }
    }

    pub(super) fn pem(&self) -> String {
        self.cert.pem()
    }

    /// A certificate and its key.
    pub(super) fn issue(&self, leaf: &Leaf) -> (String, String) {
        let key = KeyPair::generate().expect("there is chance");
        let cert = params(leaf).signed_by(&key, &self.issuer).expect("it is a certificate");
        (cert.pem(), key.serialize_pem())
    }

    /// One that signs itself, as an authority of its own, and its key.
    pub(super) fn alone(leaf: &Leaf) -> (Authority, String) {
        let key = KeyPair::generate().expect("there is chance");
        let (pem, params) = (key.serialize_pem(), params(leaf));
        let cert = params.self_signed(&key).expect("it is a certificate");
        (Authority { cert, issuer: Issuer::new(params, key) }, pem)
    }

    /// The list of what counts no more.
    pub(super) fn revoke(&self, serials: &[u64]) -> String {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2120, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).expect("it is a list").pem().expect("it is a list")
    }
}
