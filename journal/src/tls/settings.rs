//! What TLS is made from: names of files, and rules.

use std::path::PathBuf;

use super::protocol::Protocol;

/// A certificate with what stands above it, and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPair {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Who may connect, among those whose certificate is valid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Allowed {
    #[default]
    Anybody,
    /// The subject's common name is one of these.
    CommonNames(Vec<String>),
    /// The certificate is valid for one of these names or addresses.
    Hosts(Vec<String>),
}

/// One side's TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Who listens needs one.
    pub identity: Option<KeyPair>,
    /// What is shown when dialing. `None`: `identity`.
    pub dials_with: Option<KeyPair>,
    /// Whoever connects needs a certificate of one of these authorities. `None`: nobody needs one, and servers that
    /// are dialed need one of the system's authorities.
    pub trusted_ca: Option<PathBuf>,
    /// Certificates that count no more.
    pub crl: Option<PathBuf>,
    pub allowed: Allowed,
    pub protocol: Protocol,
    /// Believe any server: what it says is encrypted, and may come from anybody.
    pub believes_anybody: bool,
}

impl Settings {
    /// What a handshake depends on, besides the rules.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let pairs = self.identity.iter().chain(&self.dials_with);
        let mut files: Vec<PathBuf> = pairs.flat_map(|pair| [pair.cert.clone(), pair.key.clone()]).collect();
        files.extend(self.trusted_ca.iter().chain(&self.crl).cloned());
        files
    }
}
