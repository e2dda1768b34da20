//! Reading certificates, keys, authorities and revocations.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::{CertificateError, OtherError, RootCertStore};

use super::settings::KeyPair;
use crate::error::{Error, advice};

/// Where systems keep the authorities that everybody believes.
const SYSTEM_CA: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The files are small: what is larger is something else.
const FILE_BYTES_MAX: u64 = 64 << 20;

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let refused = |error: &std::io::Error| {
        Error::Io(format!("cannot read {}: {error}; {}", path.display(), advice(error)))
    };
    let metadata = std::fs::metadata(path).map_err(|error| refused(&error))?;
    if metadata.len() > FILE_BYTES_MAX {
        return Err(unusable(path, "it is too large", "name a file of certificates"));
    }
    std::fs::read(path).map_err(|error| refused(&error))
}

fn unusable(path: &Path, why: &str, next: &str) -> Error {
    Error::Io(format!("{} cannot be used for TLS: {why}; {next}", path.display()))
}

/// The certificates in a file, of which there is at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let text = read(path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let all = all.map_err(|error| unusable(path, &error.to_string(), "it must be PEM"))?;
    match all.is_empty() {
        true => {
            Err(unusable(path, "there is no certificate in it", "it must be PEM, with BEGIN CERTIFICATE"))
        }
        false => Ok(all),
    }
}

/// A certificate with those above it, and its key.
pub(super) fn pair(pair: &KeyPair) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
    let chain = certificates(&pair.cert)?;
    let key = PrivateKeyDer::from_pem_slice(&read(&pair.key)?).map_err(|error| {
        unusable(&pair.key, &error.to_string(), "it must be a private key as PEM, without a password")
    })?;
    Ok((chain, key))
}

/// What a certificate and its key are refused with.
pub(super) fn unusable_pair(pair: &KeyPair, error: &rustls::Error) -> Error {
    let key = pair.key.display();
    let next = match error {
        rustls::Error::InconsistentKeys(_) => format!("check that {key} is its key"),
        _ if is_of_version_1(error) => {
            "it is of version 1, which names no uses: issue it with extensions (openssl x509 -req \
                                        -extfile), which makes it one of version 3"
                .to_owned()
        }
        _ => format!("{key} must be a key of RSA from 2048 bits, P-256, P-384, P-521 or Ed25519"),
    };
    unusable(&pair.cert, &error.to_string(), &next)
}

fn is_of_version_1(error: &rustls::Error) -> bool {
    let rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) = error else {
        return false;
    };
    matches!(cause.downcast_ref::<webpki::Error>(), Some(webpki::Error::UnsupportedCertVersion))
}

/// The authorities of the file at `path`.
pub(super) fn authorities(
    path: &Path,
    certificates: &[CertificateDer<'static>],
) -> Result<Arc<RootCertStore>, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate.clone()).map_err(|error| {
            unusable(path, &error.to_string(), "it must have certificates of authorities, as PEM")
        })?;
    }
    Ok(Arc::new(roots))
}

/// The authorities that everybody on this system believes.
pub(super) fn system_authorities() -> Result<Arc<RootCertStore>, Error> {
    let named = std::env::var_os("SSL_CERT_FILE").map(std::path::PathBuf::from);
    let mut places = named.into_iter().chain(SYSTEM_CA.map(std::path::PathBuf::from));
    let Some(path) = places.find(|path| path.exists()) else {
        let text = "this system has no list of authorities to believe: name one, for peers by --peer-trusted-ca-file";
        return Err(Error::Io(text.to_owned()));
    };
    let mut roots = RootCertStore::empty();
    // Old and odd ones are passed over, as every program does that reads this list.
    roots.add_parsable_certificates(certificates(&path)?);
    Ok(Arc::new(roots))
}

/// Lists of certificates that count no more: any number as PEM, or one as it is, which is all that etcd reads.
pub(super) fn revocations(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, Error> {
    let bytes = read(path)?;
    let is_pem = bytes.windows(PEM.len()).any(|at| at == PEM);
    let lists = match is_pem {
        true => CertificateRevocationListDer::pem_slice_iter(&bytes).collect(),
        false => Ok(vec![CertificateRevocationListDer::from(bytes)]),
    };
    let lists: Vec<_> = lists
        .map_err(|error| unusable(path, &error.to_string(), "it must be a revocation list, PEM or DER"))?;
    match lists.is_empty() {
        true => {
            Err(unusable(path, "there is no revocation list in it", "it must have BEGIN X509 CRL, or be DER"))
        }
        false => Ok(lists),
    }
}

const PEM: &[u8] = b"-----BEGIN ";
