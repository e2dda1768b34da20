//! Which versions of TLS are spoken, and with which ciphers, by the names that Go and etcd have for them.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, SupportedProtocolVersion};

/// Versions and ciphers. The default is what etcd's is: 1.2 and 1.3, with every cipher that is thought safe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    tls12: bool,
    tls13: bool,
    /// Of 1.2; those of 1.3 cannot be chosen, as in Go. `None`: all.
    suites: Option<Vec<CipherSuite>>,
}

impl Default for Protocol {
    fn default() -> Protocol {
        Protocol { tls12: true, tls13: true, suites: None }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Version {
    Tls12,
    Tls13,
}

impl Protocol {
    /// From etcd's flags, where an empty text leaves the choice open. Also answers the ciphers that etcd has and that
    /// are not spoken here.
    ///
    /// # Errors
    /// In etcd's words where it has some.
    pub fn parse(oldest: &str, newest: &str, suites: &[&str]) -> Result<(Protocol, Vec<String>), String> {
        let first = version(oldest)?.unwrap_or(Version::Tls12);
        let last = version(newest)?.unwrap_or(Version::Tls13);
        if first > last {
            return Err(format!("min version ({oldest}) is greater than max version ({newest})"));
        }
        if first == Version::Tls13 && !suites.is_empty() {
            return Err("cipher suites cannot be configured when only TLS1.3 is enabled".to_owned());
        }
        let mut protocol =
            Protocol { tls12: first == Version::Tls12, tls13: last == Version::Tls13, suites: None };
        if suites.is_empty() {
            return Ok((protocol, Vec::new()));
        }
        let (mut chosen, mut missing) = (Vec::new(), Vec::new());
        for name in suites {
            match suite(name) {
                Some(suite) => chosen.push(suite),
                None if NOT_SPOKEN.contains(name) => missing.push((*name).to_owned()),
                None => return Err(format!("unexpected TLS cipher suite {name:?}")),
            }
        }
        // With no cipher of its own left, 1.2 cannot be spoken.
        protocol.tls12 &= chosen.iter().any(|suite| !OF_TLS13.contains(suite));
        if !protocol.tls12 && !protocol.tls13 {
            return Err(format!(
                "none of the cipher suites {} is spoken here, and TLS1.3 is excluded: add {}",
                suites.join(","),
                OF_TLS12[0].0
            ));
        }
        Ok((Protocol { suites: Some(chosen), ..protocol }, missing))
    }

    pub(super) fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        [(self.tls13, &TLS13), (self.tls12, &TLS12)]
            .into_iter()
            .filter_map(|(on, one)| on.then_some(one))
            .collect()
    }

    pub(super) fn provider(&self) -> Arc<CryptoProvider> {
        let mut provider = aws_lc_rs::default_provider();
        if let Some(chosen) = &self.suites {
            provider.cipher_suites.retain(|suite| {
                let suite = suite.suite();
                OF_TLS13.contains(&suite) || chosen.contains(&suite)
            });
        }
        Arc::new(provider)
    }
}

fn version(name: &str) -> Result<Option<Version>, String> {
    match name {
        "" => Ok(None),
        "TLS1.2" => Ok(Some(Version::Tls12)),
        "TLS1.3" => Ok(Some(Version::Tls13)),
        _ => Err(format!("unexpected TLS version {name:?} (must be one of: TLS1.2, TLS1.3)")),
    }
}

fn suite(name: &str) -> Option<CipherSuite> {
    let of_tls13 = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
    let mut all = of_tls13.into_iter().zip(OF_TLS13).chain(OF_TLS12);
    all.find(|(known, _)| *known == name).map(|(_, suite)| suite)
}

const OF_TLS13: [CipherSuite; 3] = [
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS13_AES_256_GCM_SHA384,
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
];

/// Two have a second, older name.
const OF_TLS12: [(&str, CipherSuite); 8] = [
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
];

/// Ciphers that Go has for old clients: without forward secrecy, or in a mode that leaks.
const NOT_SPOKEN: [&str; 15] = [
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_named_as_in_etcd() {
        let check = |oldest: &str, newest: &str, expected: usize| {
            let (protocol, missing) = Protocol::parse(oldest, newest, &[]).expect("they are known");
            assert_eq!((protocol.versions().len(), missing.len()), (expected, 0), "{oldest} {newest}");
        };
        check("", "", 2);
        check("TLS1.2", "TLS1.3", 2);
        check("TLS1.3", "", 1);
        check("TLS1.2", "TLS1.2", 1);
    }

    #[test]
    fn what_cannot_be_is_refused_in_etcds_words() {
        let check = |oldest: &str, newest: &str, suites: &[&str], expected: &str| {
            assert_eq!(Protocol::parse(oldest, newest, suites).expect_err(expected), expected);
        };
        check("TLS1.1", "", &[], "unexpected TLS version \"TLS1.1\" (must be one of: TLS1.2, TLS1.3)");
        check("TLS1.3", "TLS1.2", &[], "min version (TLS1.3) is greater than max version (TLS1.2)");
        let only = "cipher suites cannot be configured when only TLS1.3 is enabled";
        check("TLS1.3", "", &["TLS_AES_128_GCM_SHA256"], only);
        check("", "", &["NOPE"], "unexpected TLS cipher suite \"NOPE\"");
        let none = "none of the cipher suites TLS_RSA_WITH_AES_128_CBC_SHA is spoken here, and TLS1.3 is excluded: \
                    add TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
        check("", "TLS1.2", &["TLS_RSA_WITH_AES_128_CBC_SHA"], none);
    }

    #[test]
    fn ciphers_of_old_clients_are_left_out() {
        let names = ["TLS_RSA_WITH_AES_128_CBC_SHA", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305"];
        let (protocol, missing) = Protocol::parse("TLS1.2", "", &names).expect("one is spoken");
        assert_eq!(missing, names[..1]);
        // Those of 1.3, and the one.
        assert_eq!(protocol.provider().cipher_suites.len(), 4);
        let (protocol, _) = Protocol::parse("TLS1.2", "", &names[..1]).expect("1.3 is spoken");
        assert_eq!(protocol.versions(), [&TLS13]);
    }
}
