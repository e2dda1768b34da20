//! An authority for tests, which issues certificates and revokes them, as files.

use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType,
    SerialNumber, date_time_ymd,
};

/// The authority.
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// What a certificate is to say.
#[derive(Clone, Copy, Debug)]
pub struct Leaf<'a> {
    pub common_name: &'a str,
    pub hosts: &'a [&'a str],
    pub uris: &'a [&'a str],
    pub serial: u64,
    pub expired: bool,
    /// True of one that could be an authority's (CA:TRUE).
    pub is_ca: bool,
}

impl<'a> Leaf<'a> {
    /// For the loopback, valid, and for both sides of a connection.
    #[must_use]
    pub fn named(common_name: &'a str) -> Leaf<'a> {
        Leaf {
            common_name,
            hosts: &["127.0.0.1", "localhost"],
            uris: &[],
            serial: 1,
            expired: false,
            is_ca: false,
        }
    }
}

/// A certificate's file and its key's.
#[derive(Clone, Debug)]
pub struct Pair {
    pub cert: PathBuf,
    pub key: PathBuf,
}

fn subject(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

/// Whole or not at all, as whoever rotates certificates does it.
fn replace(path: &Path, text: &[u8]) -> Result<()> {
    let fresh = path.with_extension("fresh");
    std::fs::write(&fresh, text)?;
    std::fs::rename(fresh, path)?;
    Ok(())
}

impl Authority {
    /// # Errors
    /// When there is no chance to make keys from.
    pub fn new(name: &str) -> Result<Authority> {
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Authority { pem, issuer: Issuer::new(params, key) })
    }

    /// Writes the certificates of these authorities into one file.
    ///
    /// # Errors
    /// When there is no room.
    pub fn write(authorities: &[&Authority], path: &Path) -> Result<()> {
        let text: String = authorities.iter().map(|authority| authority.pem.as_str()).collect();
        replace(path, text.as_bytes())
    }

    /// Writes a certificate and its key into `folder`, as `name`.pem and `name`.key.
    ///
    /// # Errors
    /// When there is no room.
    pub fn issue(&self, folder: &Path, name: &str, leaf: &Leaf<'_>) -> Result<Pair> {
        let hosts: Vec<String> = leaf.hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts)?;
        for uri in leaf.uris {
            params.subject_alt_names.push(SanType::URI((*uri).try_into()?));
        }
        params.distinguished_name = subject(leaf.common_name);
        params.serial_number = Some(SerialNumber::from(leaf.serial));
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        if leaf.expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        if leaf.is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let key = KeyPair::generate()?;
        let cert = params.signed_by(&key, &self.issuer)?;
        let pair = Pair { cert: folder.join(format!("{name}.pem")), key: folder.join(format!("{name}.key")) };
        // The key first, for who reads in between.
        replace(&pair.key, key.serialize_pem().as_bytes())?;
        replace(&pair.cert, cert.pem().as_bytes())?;
        Ok(pair)
    }

    /// Writes the list of certificates that count no more, in the form that etcd reads.
    ///
    /// # Errors
    /// When there is no room.
    pub fn revoke(&self, serials: &[u64], path: &Path) -> Result<()> {
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
        replace(path, params.signed_by(&self.issuer)?.der())
    }
}
