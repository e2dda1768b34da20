//! A certificate that a process makes for itself, where encryption is wanted and nobody has given it one.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair as Key, KeyUsagePurpose,
};

use super::settings::KeyPair;
use crate::error::Error;

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The pair in `directory`, which is made where it is not there: for `hosts`, from `now` on for so many years.
///
/// # Errors
/// `Io`: the directory refuses.
pub fn self_signed(directory: &Path, hosts: &[String], now: Duration, years: u32) -> Result<KeyPair, Error> {
    let pair = KeyPair { cert: directory.join("cert.pem"), key: directory.join("key.pem") };
    if pair.cert.exists() && pair.key.exists() {
        return Ok(pair);
    }
    let (cert, key) = make(hosts, now, years).map_err(|error| {
        Error::Io(format!("cannot make a certificate for {hosts:?}: {error}; name files of one"))
    })?;
    let refused =
        |error: &std::io::Error| Error::io(format!("cannot write to {}", directory.display()), error);
    std::fs::create_dir_all(directory).map_err(|error| refused(&error))?;
    // The key first: what stands there alone is made anew.
    write(&pair.key, &key).and_then(|()| write(&pair.cert, &cert)).map_err(|error| refused(&error))?;
    tracing::warn!(
        cert = %pair.cert.display(),
        years,
        "made a certificate of its own: clients cannot tell from it whom they reach"
    );
    Ok(pair)
}

fn make(hosts: &[String], now: Duration, years: u32) -> Result<(String, String), rcgen::Error> {
    let mut params = CertificateParams::new(hosts.to_vec())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "mainstem");
    params.not_before = (UNIX_EPOCH + now).into();
    params.not_after = (UNIX_EPOCH + now + YEAR * years).into();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = Key::generate()?;
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

/// Writes a file that only this user can read. It has its name once it is on disk: later starts take it as it is.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let unfinished = path.with_extension("pem.new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(unfinished, path)
}
